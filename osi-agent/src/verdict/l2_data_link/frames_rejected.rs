//! Frames arrive that nothing on this host takes.

use std::collections::BTreeMap;

use osi_common::layer::Layer;

use super::super::origin::Origin;
use super::super::text::{iface, inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Evidence, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use crate::layer::l2_data_link::rejected::{
    FRAMES_RECEIVED, FRAMES_REJECTED as REJECTED, REASONS, UNKNOWN_PROTOCOL, WRONG_ADDRESS,
    is_rejected,
};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static FRAMES_REJECTED: Cause = Cause {
    id: "frames_rejected",
    layer: Layer::L2,
    class: CauseClass::Config,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Frames reach an interface that nothing on this host takes: of an unknown protocol, for another address or VLAN, or broken.",
    explained_by: &[],
    suspects: &[],
    reads: &[&REJECTED],
    thresholds: &[
        Threshold::of("frames_per_second", 10.0),
        Threshold::of("ratio", 0.01),
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
    let rejected = facts.count_in(&REJECTED, &state.netns);
    let received = facts.count_in(&FRAMES_RECEIVED, &state.netns);
    let lost = share(rejected, received.saturating_sub(rejected));
    // By rate: a long window holds more of the discovery protocols that a quiet network is never without.
    if facts.window.per_second(rejected) <= facts.limit("frames_per_second")
        || lost <= facts.limit("ratio")
    {
        return None;
    }
    let origin = Origin::of(facts, state, |seen| {
        is_rejected(&seen.reason, &seen.function)
    });
    let mut evidence = vec![Evidence::new(
        REJECTED.id,
        rejected as f64,
        "packets",
        format!(
            "{} of the frames received{}",
            percent(lost),
            place(&Scope::netns(&state.netns))
        ),
    )];
    let by_reason = by_reason(facts, state);
    evidence.extend(by_reason.iter().map(|(reason, packets)| {
        Evidence::new(
            reason,
            *packets as f64,
            "packets",
            "of them for this reason",
        )
    }));
    let (most, _) = by_reason
        .iter()
        .max_by_key(|(_, packets)| **packets)
        .unzip();
    let what = match most.copied() {
        Some(UNKNOWN_PROTOCOL) | None => unknown_protocol(&origin),
        Some(WRONG_ADDRESS) => "are for another address or VLAN".to_owned(),
        Some(reason) => format!("were refused as {reason}"),
    };
    let came = format!("{rejected} frames");
    Some(origin.sighting(&came, &format!("that {what}"), lost, evidence))
}

fn by_reason<'a>(facts: &Facts<'a>, state: &NetnsState) -> BTreeMap<&'a str, u64> {
    let here = facts
        .map
        .drops()
        .filter(|row| row.scope.netns.as_ref() == Some(&state.netns))
        .filter(|row| REASONS.contains(&&*row.reason));
    let mut packets = BTreeMap::new();
    for row in here {
        *packets.entry(&*row.reason).or_default() += row.packets;
    }
    packets
}

/// With its number, where an example tells it.
fn unknown_protocol(origin: &Origin) -> String {
    origin.ethertype.map_or_else(
        || "carry a protocol which nothing here handles".to_owned(),
        |number| format!("carry protocol {number:#06x}, which nothing here handles"),
    )
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let rejected = finding.evidence.first().map_or(0.0, |row| row.value);
    let (on, show) = match &finding.scope.iface {
        Some(_) => {
            let name = iface(&finding.scope);
            (
                name.to_owned(),
                format!("ip -s -d link show dev {}", quoted(name)),
            )
        }
        None => ("an interface".to_owned(), "ip -s -d link show".to_owned()),
    };
    vec![Advice {
        text: format!(
            "{rejected} frames a window reach {on} for nobody: wrong VLAN or switch port, a protocol whose module is not loaded, or a switch that floods."
        ),
        confirm: inside(&finding.scope, &show),
        change: format!("tcpdump -e -n -i {} shows their addresses, VLAN and protocol; set up that VLAN or protocol here, or keep the frames away at the switch", quoted(&on)),
        trade_off: "Frames that are refused cost interrupts and little more; the fault is that somebody waits for an answer to them.".to_owned(),
    }]
}
