//! The queue in front of an interface drops packets.

use osi_common::layer::Layer;

use super::super::l1_physical::{link_microburst::LINK_MICROBURST, link_saturated::LINK_SATURATED};
use super::super::text::{iface, inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l2_data_link::qdisc::{
    QDISC_BACKLOG, QDISC_BACKLOG_BYTES, QDISC_DROPS, QDISC_PACKETS,
};
use crate::scope::Scope;

pub(in crate::verdict) static EGRESS_QUEUE_OVERFLOW: Cause = Cause {
    id: "egress_queue_overflow",
    layer: Layer::L2,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "The queueing discipline of an interface drops packets that were to be sent.",
    explained_by: &[&[&LINK_SATURATED, &LINK_MICROBURST]],
    suspects: &[],
    reads: &[&QDISC_DROPS],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
        Threshold::of("managed_ratio", 0.05),
    ],
    detect,
    advise,
};

/// Disciplines that drop to tell TCP how much the link carries, long before they are full.
const ACTIVE: [&str; 7] = ["fq_codel", "codel", "fq_pie", "pie", "cake", "red", "sfb"];

/// Evidence that such a discipline dropped.
const MANAGED: &str = "active_queue_management";

/// The discipline on an interface that manages its queue, if there is one.
fn managed<'a>(facts: &Facts<'a>, scope: &Scope) -> Option<&'a str> {
    let here = facts.window.qdiscs().filter(|row| {
        Scope::iface(row.netns, row.now.iface.ifindex, &row.now.iface.name) == *scope
    });
    here.map(|row| row.now.kind.as_str())
        .find(|kind| ACTIVE.contains(kind))
}

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for row in facts.map.counters(&QDISC_DROPS) {
        let (scope, dropped) = (&row.scope, row.delta);
        let lost = share(dropped, facts.map.count(&QDISC_PACKETS, scope));
        let managed = managed(facts, scope);
        let usual = managed.map_or("ratio", |_| "managed_ratio");
        if dropped as f64 <= facts.limit("packets") || lost <= facts.limit(usual) {
            continue;
        }
        let why = format!(
            "{} of the packets for {} were dropped by its queue",
            percent(lost),
            iface(scope)
        );
        let mut evidence = vec![Evidence::new(
            QDISC_DROPS.id,
            dropped as f64,
            "packets",
            why,
        )];
        evidence.extend(managed.map(|kind| {
            let why = format!("{kind} drops before it is full, to keep the delay short");
            Evidence::new(MANAGED, lost, "ratio", why)
        }));
        for signal in [&QDISC_BACKLOG, &QDISC_BACKLOG_BYTES] {
            evidence.extend(facts.meter(signal, scope).map(|meter| {
                let limit = meter.reading.capacity.unwrap_or_default();
                let why = format!("waiting at the window's end, of {limit} that the queue takes");
                Evidence::new(signal.id, meter.reading.used, signal.unit.name(), why)
            }));
        }
        found.push(Sighting {
            scope: scope.clone(),
            onset: Onset::Statistical,
            confidence: Confidence::Certain,
            severity: Severity::Warn,
            evidence,
            impact: Impact {
                connections: 0,
                share_ratio: lost,
                peers: 0,
            },
            summary: format!(
                "The queue of {}{} dropped {dropped} packets, {} of those to be sent.",
                iface(scope),
                place(scope),
                percent(lost)
            ),
        });
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    let show = format!("tc -s qdisc show dev {}", quoted(name));
    if finding.evidence.iter().any(|row| row.signal == MANAGED) {
        return vec![Advice {
            text: format!("The queue of {name} drops {dropped} packets a window to keep the delay short: more is sent than the link carries."),
            confirm: inside(&finding.scope, &show),
            change: "send less over this link, or give it more capacity; ECN lets the queue mark instead of drop".to_owned(),
            trade_off: "A longer queue would not help: it would only add delay.".to_owned(),
        }];
    }
    vec![Advice {
        text: format!(
            "The queue of {name} drops {dropped} packets a window: it is too short for the bursts, or the link too slow."
        ),
        confirm: inside(&finding.scope, &show),
        change: inside(
            &finding.scope,
            &format!("tc qdisc change dev {} root … limit N", quoted(name)),
        ),
        trade_off: "A longer queue drops less and delays more; fq_codel keeps the delay short."
            .to_owned(),
    }]
}
