//! The connection tracking table takes no further connection.

use osi_common::layer::Layer;

use super::super::text::{inside, percent, place, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::netfilter::NETFILTER_DROPS;
use crate::layer::l4_transport::conntrack::{
    CONNTRACK, CONNTRACK_CHAINS_FULL, CONNTRACK_DROPS, CONNTRACK_EVICTIONS,
};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static CONNTRACK_TABLE_FULL: Cause = Cause {
    id: "conntrack_table_full",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "The connection tracking table holds all that it may, so that packets of new connections are dropped.",
    explained_by: &[],
    suspects: &[],
    reads: &[&CONNTRACK, &CONNTRACK_DROPS],
    thresholds: &[
        Threshold::of("full_ratio", 0.95),
        Threshold::of("packets", 3.0),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        found.extend(sighting(facts, state));
    }
}

fn sighting(facts: &Facts, state: &NetnsState) -> Option<Sighting> {
    let scope = Scope::netns(&state.netns);
    let dropped = facts.map.count(&CONNTRACK_DROPS, &scope);
    let evicted = facts.map.count(&CONNTRACK_EVICTIONS, &scope);
    let meter = facts.meter(&CONNTRACK, &scope);
    let ratio = meter.and_then(|meter| meter.ratio).unwrap_or(0.0);
    let is_full = ratio >= facts.limit("full_ratio");
    // Without the counters of connection tracking: any hook's verdict may end there, but few have a full table beside it.
    let unseen = if is_full && facts.map.is_blind(&CONNTRACK_DROPS) {
        facts.map.count(&NETFILTER_DROPS, &scope)
    } else {
        0
    };
    // What had no room though the table is not full found no memory: a few of that are no fault of the table.
    let lost = dropped > 0 && (is_full || evicted > 0 || dropped as f64 > facts.limit("packets"));
    let lost_unseen = unseen as f64 > facts.limit("packets");
    let chains = facts.map.count(&CONNTRACK_CHAINS_FULL, &scope);
    let crowded = chains as f64 > facts.limit("packets");
    if !lost && !lost_unseen && !crowded && !is_full && evicted == 0 {
        return None;
    }
    let mut evidence = Vec::new();
    let mut tell = |signal: &str, value: u64, unit: &str, why: &str| {
        if value > 0 {
            evidence.push(Evidence::new(signal, value as f64, unit, why));
        }
    };
    tell(CONNTRACK_DROPS.id, dropped, "packets", CONNTRACK_DROPS.help);
    tell(
        CONNTRACK_CHAINS_FULL.id,
        chains,
        "packets",
        CONNTRACK_CHAINS_FULL.help,
    );
    tell(
        NETFILTER_DROPS.id,
        unseen,
        "packets",
        "dropped by hooks of the packet filter while the table was full; who did it is not told here",
    );
    tell(
        CONNTRACK_EVICTIONS.id,
        evicted,
        "connections",
        CONNTRACK_EVICTIONS.help,
    );
    evidence.extend(meter.map(|meter| {
        let limit = meter.reading.capacity.unwrap_or_default();
        let why = format!("entries at the window's end, of {limit} that the table takes");
        Evidence::new(CONNTRACK.id, meter.reading.used, "entries", why)
    }));
    let hurts = lost || lost_unseen || crowded;
    let packets = dropped.max(unseen) + chains;
    let what = if chains > dropped {
        format!(
            "{packets} packets of new connections were dropped, as its hash table has too few buckets"
        )
    } else if hurts {
        format!("{packets} packets of new connections were dropped")
    } else {
        "no packet was dropped yet".to_owned()
    };
    let used = meter.map_or(0, |meter| meter.reading.used as u64);
    Some(Sighting {
        summary: format!(
            "The connection tracking table{} is {} full: {what}.",
            place(&scope),
            percent(ratio)
        ),
        scope,
        onset: Onset::Hard,
        // A table is as full as it says; packets without room in one that is not are another matter.
        confidence: if hurts && !crowded && !(lost && is_full) {
            Confidence::Likely
        } else {
            Confidence::Certain
        },
        severity: if hurts {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: packets,
            share_ratio: if hurts { share(packets, used) } else { 0.0 },
            peers: 0,
        },
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let row = finding.row(&CONNTRACK);
    let now = row.map_or_else(String::new, |row| format!(" ({} {})", row.value, row.why));
    let confirm = inside(
        &finding.scope,
        "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
    );
    vec![
        Advice {
            text: format!("Let the table take more connections{now}."),
            confirm,
            // The limit is one number for the host, each namespace is held against it by itself.
            change: "sysctl -w net.netfilter.nf_conntrack_max=N in the initial namespace, and net.netfilter.nf_conntrack_buckets=N/4, without which a larger table drops what finds its bucket crowded".to_owned(),
            trade_off: "Each entry holds about 300 bytes of the kernel's memory; whoever floods this host fills any table.".to_owned(),
        },
        Advice {
            text: "Keep out of the table what needs no tracking, and forget sooner what is over: see what fills it.".to_owned(),
            confirm: inside(
                &finding.scope,
                "sysctl net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_tcp_timeout_time_wait net.netfilter.nf_conntrack_udp_timeout",
            ),
            change: "a notrack rule for traffic that no rule looks at by its state, or shorter time-outs; conntrack -L lists the entries".to_owned(),
            trade_off: "What is not tracked is not translated; an idle connection that is forgotten hangs.".to_owned(),
        },
    ]
}
