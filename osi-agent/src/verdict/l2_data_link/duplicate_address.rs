//! Two hosts on one link have the same IP address: whoever spoke last gets the packets.
//!
//! Seen from a third host, whose neighbour entry goes back and forth, and for IPv6 from the host whose detection of
//! duplicates failed. Of IPv4 addresses the kernel detects none: neither of the two hosts can tell.

use osi_common::layer::Layer;

use super::super::history::MOVE_SPAN_NS;
use super::super::text::{iface, inside, place, quoted};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l2_data_link::addresses::{DAD_FAILED, NEIGHBOUR_MOVES};
use crate::scope::{Netns, Scope};
use crate::snapshot::OwnAddress;

pub(in crate::verdict) static DUPLICATE_ADDRESS: Cause = Cause {
    id: "duplicate_address",
    layer: Layer::L2,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "Two hosts on one link have the same address, so that packets for one reach the other.",
    explained_by: &[],
    suspects: &[],
    reads: &[&NEIGHBOUR_MOVES, &DAD_FAILED],
    thresholds: &[Threshold::of("returns", 2.0)],
    detect,
    advise,
};

/// Evidence of an address that two hosts claim in turn.
const RETURNS: &str = "neighbour_returns";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    claimed(facts, found);
    for state in &facts.window.now.namespaces {
        let failed = state.refused_addresses();
        found.extend(failed.map(|address| refused(&state.netns, address)));
    }
}

/// A fail-over moves an address once, and back once it is mended. Who has it in turn, several times within a minute, has it
/// at the same time. It is over when the changes stay away for longer than they usually do.
fn claimed(facts: &Facts, found: &mut Vec<Sighting>) {
    let limit = facts.limit("returns");
    for (scope, moved) in facts.history.moves.iter() {
        let (Some((last, [one, other])), Some(address)) = (moved.last(), scope.remote) else {
            continue;
        };
        let (count, returns) = (moved.count(), moved.returns());
        let since = facts.window.now.boot_ns.saturating_sub(last);
        let goes_on = since as f64 <= MOVE_SPAN_NS as f64 / limit;
        if (returns as f64) < limit || !goes_on {
            continue;
        }
        let seconds = MOVE_SPAN_NS / 1_000_000_000;
        let moves = format!("times its hardware address changed within {seconds} s");
        let back = "of them back to one that it had before: a fail-over does that once at most";
        found.push(Sighting {
            onset: Onset::Hard,
            // Two interfaces of one host look the same.
            confidence: Confidence::Likely,
            severity: Severity::Critical,
            evidence: vec![
                Evidence::new(NEIGHBOUR_MOVES.id, count as f64, "events", moves),
                Evidence::new(RETURNS, returns as f64, "events", back),
            ],
            impact: Impact {
                connections: 0,
                share_ratio: 0.0,
                peers: 1,
            },
            summary: format!(
                "Two hosts on {}{} have the address {address}: {one} and {other} answered for it in turn, with {count} changes within {seconds} s.",
                iface(scope),
                place(scope)
            ),
            scope: scope.clone(),
        });
    }
}

/// The kernel asked for the address before using it, and somebody has it (RFC 4862, 5.4).
fn refused(netns: &Netns, own: &OwnAddress) -> Sighting {
    let scope = Scope::own_address(netns, &own.iface, own.address);
    let why = "own addresses that somebody else on the link has, and that are not used here";
    Sighting {
        onset: Onset::Hard,
        confidence: Confidence::Certain,
        severity: Severity::Critical,
        evidence: vec![Evidence::new(DAD_FAILED.id, 1.0, "entries", why)],
        impact: Impact::default(),
        summary: format!(
            "The address {} of {}{} is not used, because another host on the link has it.",
            own.address,
            iface(&scope),
            place(&scope)
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let word = quoted(name);
    let run = |command: String| inside(&finding.scope, &command);
    match (finding.scope.remote, finding.scope.local) {
        (Some(address), _) => vec![Advice {
            text: format!(
                "{address} on {name} changes between hardware addresses: find both in the switch and give one host another address. A bond of mode balance-alb and a host with two interfaces on this network look alike."
            ),
            confirm: run(format!("ip neigh show to {address} dev {word}")),
            change: format!("take {address} off one of the two hosts; of a pair that takes over from one another, mend what lets both be active"),
            trade_off: "The host that loses the address loses its connections; a static entry (ip neigh replace) only chooses one of the two for this host."
                .to_owned(),
        }],
        (None, Some(address)) => vec![Advice {
            text: format!(
                "{address} is set on {name} and another host has it: the kernel's log names that host's hardware address."
            ),
            confirm: run(format!("ip -6 addr show dev {word} dadfailed")),
            change: run(format!("ip -6 addr del {address} dev {word}, and add one that is free; or take it off the other host and set it here anew")),
            trade_off: "Setting it with nodad uses the address all the same, and then both hosts lose packets."
                .to_owned(),
        }],
        (None, None) => Vec::new(),
    }
}
