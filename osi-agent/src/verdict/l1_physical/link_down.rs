//! A link that was in use has no carrier any more.

use osi_common::layer::Layer;

use super::super::history::LinkMemory;
use super::super::text::{iface, inside, place, quoted};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::link_degraded::LINK_DEGRADED;
use crate::layer::l1_physical::link::{CARRIER_CHANGES, LINK_THROUGHPUT_RX};
use crate::scope::Scope;
use crate::snapshot::{Link, NetnsState};

pub(in crate::verdict) static LINK_DOWN: Cause = Cause {
    id: "link_down",
    layer: Layer::L1,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "An interface that had a route or carried traffic has lost its carrier or was set down.",
    explained_by: &[&[&LINK_DEGRADED]],
    suspects: &[],
    reads: &[&CARRIER_CHANGES, &LINK_THROUGHPUT_RX],
    thresholds: &[Threshold::of("admin_down_windows", 60.0)],
    detect,
    advise,
};

/// Their carrier is that of their members or of the device below, which has a finding of its own;
/// a bridge without members is normal life.
const FOLLOWERS: [&str; 10] = [
    "bridge",
    "bond",
    "team",
    "vrf",
    "dummy",
    "vlan",
    "macvlan",
    "macvtap",
    "ipvlan",
    "openvswitch",
];

/// Their carrier comes and goes with a process or a container: without a route of their own nobody misses them.
const EPHEMERAL: [&str; 3] = ["veth", "tun", "tap"];

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let lost = state
            .links
            .iter()
            .filter(|link| !(link.loopback || link.admin_up && link.carrier));
        found.extend(lost.filter_map(|link| sighting(facts, state, link)));
    }
}

fn sighting(facts: &Facts, state: &NetnsState, link: &Link) -> Option<Sighting> {
    let scope = Scope::iface(&state.netns, link.iface.ifindex, &link.iface.name);
    let memory = facts.history.links.when_up(&scope)?;
    let down_windows = facts.history.windows - memory.last_up;
    // Whoever sets a link down and leaves it so, means it.
    let meant = !link.admin_up && down_windows as f64 > facts.limit("admin_down_windows");
    if meant || !is_missed(facts, link, memory) {
        return None;
    }
    let spared = link.master.and_then(|master| {
        state
            .links
            .iter()
            .find(|other| other.iface.ifindex == master)
    });
    // A bridge or a VRF has its carrier from any member, and no other one takes this one's place.
    let replaces = |kind: &str| ["bond", "team"].contains(&kind);
    let spared = spared.is_some_and(|master| {
        master.admin_up && master.carrier && master.kind.as_deref().is_some_and(replaces)
    });
    let what = if link.admin_up {
        "has no carrier"
    } else {
        "was set down"
    };
    let evidence = vec![
        Evidence::new(
            "carrier",
            0.0,
            "state",
            format!(
                "{} {what}, the other end or the cable is gone",
                link.iface.name
            ),
        ),
        Evidence::new(
            CARRIER_CHANGES.id,
            link.carrier_changes as f64,
            "events",
            "carrier changes since the interface exists",
        ),
    ];
    Some(Sighting {
        onset: Onset::Hard,
        confidence: Confidence::Certain,
        severity: if spared {
            Severity::Warn
        } else {
            Severity::Critical
        },
        evidence,
        impact: Impact {
            connections: 0,
            share_ratio: memory.share,
            peers: 0,
        },
        summary: format!(
            "Link {} {what}{}; it was in use.",
            link.iface.name,
            place(&scope)
        ),
        scope,
    })
}

/// Whether anybody misses the carrier of a link that was like this when it last worked.
pub(super) fn is_missed(facts: &Facts, link: &Link, memory: &LinkMemory) -> bool {
    let is = |kinds: &[&str]| {
        link.kind
            .as_deref()
            .is_some_and(|kind| kinds.contains(&kind))
    };
    // Watched alone, a namespace shows only the upper end of a macvlan.
    let follows = is(&FOLLOWERS)
        && !(facts.window.single_netns
            && link.master.is_none()
            && !is(&["bridge", "bond", "team"]));
    let missed = memory.routed && (!is(&EPHEMERAL) || link.master.is_none())
        || memory.used && !is(&EPHEMERAL);
    missed && !follows
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let word = quoted(name);
    let run = |command: String| inside(&finding.scope, &command);
    vec![Advice {
        text: format!("Check cable, switch port or the other end of {name}; its carrier is off."),
        confirm: run(format!("ip -s link show dev {word}")),
        change: run(format!("ip link set dev {word} up")),
        trade_off: "Setting it up helps only if it was set down here; a missing carrier is mended at the other end.".to_owned(),
    }]
}
