//! A CPU's receive backlog is full: packets are dropped before the stack has seen them.

use osi_common::layer::Layer;

use super::super::l3_network::packet_processing_saturated::PACKET_PROCESSING_SATURATED;
use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l1_physical::softnet::{SOFTNET_DROPPED, SOFTNET_PROCESSED, by_cpu};
use crate::scope::Scope;

pub(in crate::verdict) static RX_BACKLOG_OVERFLOW: Cause = Cause {
    id: "rx_backlog_overflow",
    layer: Layer::L1,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Critical,
    help: "Packets reach a CPU faster than it takes them off its receive backlog, and those that find it full are dropped.",
    explained_by: &[&[&PACKET_PROCESSING_SATURATED]],
    suspects: &[],
    reads: &[&SOFTNET_DROPPED],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
        Threshold::of("skew_ratio", 0.9),
    ],
    detect,
    advise,
};

/// The drop reason of packets that find the backlog full.
pub(in crate::verdict) const REASON: &str = "CPU_BACKLOG";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let host = Scope::host();
    let (dropped, processed) = (
        facts.map.count(&SOFTNET_DROPPED, &host),
        facts.map.count(&SOFTNET_PROCESSED, &host),
    );
    let lost = share(dropped, processed);
    if dropped as f64 <= facts.limit("packets") || lost <= facts.limit("ratio") {
        return;
    }
    let own = facts.packets_dropped(&[REASON]);
    let Some(scope) = facts.host_or_watched(own) else {
        return;
    };
    let mut evidence = vec![Evidence::new(
        SOFTNET_DROPPED.id,
        dropped as f64,
        "packets",
        format!(
            "{} of the packets for all CPUs found the backlog full",
            percent(lost)
        ),
    )];
    let worst = by_cpu(facts.window, |cpu| cpu.dropped).max_by_key(|(_, dropped)| *dropped);
    let skewed = worst.filter(|(_, most)| {
        facts.window.host().softnet.len() > 1
            && *most as f64 >= facts.limit("skew_ratio") * dropped as f64
    });
    evidence.extend(skewed.map(|(cpu, most)| {
        let why = format!("of them on CPU {cpu}");
        Evidence::new("cpu", most as f64, "packets", why)
    }));
    if own > 0 {
        let why = "packets of the watched namespaces among them";
        evidence.push(Evidence::new(REASON, own as f64, "packets", why));
    }
    let where_to = skewed.map_or_else(
        || "of the CPUs".to_owned(),
        |(cpu, _)| format!("of CPU {cpu}"),
    );
    found.push(Sighting {
        summary: format!(
            "The receive backlog {where_to}{} is full: {dropped} packets were dropped, {} of all received.",
            place(&scope),
            percent(lost)
        ),
        scope,
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Critical,
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: lost,
            peers: 0,
        },
    });
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    let cpu = finding.evidence.iter().find(|row| row.signal == "cpu");
    let text = cpu.map_or_else(
        || format!("{dropped} packets a window find a full backlog: let it be longer, or spread the work over more CPUs."),
        |row| format!("{dropped} packets a window find a full backlog, {} {}: spread the receive queues over more CPUs.", row.value, row.why),
    );
    vec![Advice {
        text,
        confirm: inside(&finding.scope, "cat /proc/net/softnet_stat"),
        change: "sysctl -w net.core.netdev_max_backlog=N; or spread the work: ethtool -L IFACE combined N, or a wider /sys/class/net/IFACE/queues/rx-*/rps_cpus".to_owned(),
        trade_off: "A longer backlog takes bursts and adds delay; it does not help a CPU that is too slow for the mean.".to_owned(),
    }]
}
