//! A link works worse than it could: it flaps, it runs in a lesser mode than both ends support, or a bond lacks a member.

use osi_common::layer::Layer;

use super::super::history::{FLAP_SPAN_NS, LinkMemory};
use super::super::text::{bits, iface, inside, place, quoted};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::link_down::is_missed;
use crate::layer::l1_physical::link::CARRIER_CHANGES;
use crate::scope::Scope;
use crate::snapshot::{Link, NetnsState};

pub(in crate::verdict) static LINK_DEGRADED: Cause = Cause {
    id: "link_degraded",
    layer: Layer::L1,
    class: CauseClass::Config,
    onset: Onset::Hard,
    severity: Severity::Warn,
    help: "A link flaps, runs slower or in half duplex although both ends can do better, or a bond works without one of its members.",
    explained_by: &[],
    suspects: &[],
    reads: &[&CARRIER_CHANGES],
    thresholds: &[Threshold::of("changes", 4.0)],
    detect,
    advise,
};

/// Evidence of a mode that is worse than it could be.
const SPEED: &str = "link_speed";
/// The same, of a link that both ends could use in both directions at once.
const DUPLEX: &str = "half_duplex";
/// Evidence of a bond that lacks a member.
const BOND: &str = "bond_member";

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        for link in state.links.iter().filter(|link| !link.loopback) {
            let scope = Scope::iface(&state.netns, link.iface.ifindex, &link.iface.name);
            let memory = facts.history.links.when_up(&scope);
            let worse = memory
                .and_then(|memory| flapping(facts, link, memory, &scope))
                .or_else(|| lacking(state, link, &scope))
                .or_else(|| slow(link, memory?, &scope));
            found.extend(worse.map(|(evidence, summary)| Sighting {
                scope,
                onset: Onset::Hard,
                confidence: Confidence::Certain,
                severity: Severity::Warn,
                evidence: vec![evidence],
                impact: Impact {
                    connections: 0,
                    share_ratio: memory.map_or(0.0, |memory| memory.share),
                    peers: 0,
                },
                summary,
            }));
        }
    }
}

/// One loss of the carrier is a reboot at the other end. So many changes that they come every few seconds are none, and it is
/// over when they stay away for longer than that.
fn flapping(
    facts: &Facts,
    link: &Link,
    memory: &LinkMemory,
    scope: &Scope,
) -> Option<(Evidence, String)> {
    let limit = facts.limit("changes");
    let (count, last) = memory.carrier_changes()?;
    let since = facts.window.now.boot_ns.saturating_sub(last);
    let goes_on = since as f64 <= FLAP_SPAN_NS as f64 / limit;
    if (count as f64) < limit || !goes_on || !is_missed(facts, link, memory) {
        return None;
    }
    let seconds = FLAP_SPAN_NS / 1_000_000_000;
    let why = format!("times the carrier came or went within {seconds} s");
    let summary = format!(
        "Link {}{} flaps: its carrier came or went {count} times within {seconds} s.",
        iface(scope),
        place(scope)
    );
    let evidence = Evidence::new(CARRIER_CHANGES.id, count as f64, "events", why);
    Some((evidence, summary))
}

/// A member without a carrier, while the bond itself goes on without it. One that was set down is meant to be.
fn lacking(state: &NetnsState, link: &Link, scope: &Scope) -> Option<(Evidence, String)> {
    let master = link.master?;
    let bond = state
        .links
        .iter()
        .find(|other| other.iface.ifindex == master)?;
    let works = bond.kind.as_deref() == Some("bond") && bond.admin_up && bond.carrier;
    if !works || !link.admin_up || link.carrier {
        return None;
    }
    let summary = format!(
        "Bond {}{} works without its member {}, which has no carrier.",
        bond.iface.name,
        place(scope),
        iface(scope)
    );
    let why = format!("carrier of a member of {}", bond.iface.name);
    Some((Evidence::new(BOND, 0.0, "state", why), summary))
}

/// A mode below the best one that both ends support; what the other end cannot do is nobody's fault.
fn slow(link: &Link, memory: &LinkMemory, scope: &Scope) -> Option<(Evidence, String)> {
    let (now, best) = (link.speed_bits_per_s?, link.best?);
    let full = link.full_duplex.unwrap_or(best.full_duplex);
    let wanted = memory.routed || memory.used;
    let works = link.admin_up && link.carrier && wanted;
    if !works || (now, full) >= (best.bits_per_s, best.full_duplex) {
        return None;
    }
    let (now, could) = (now as f64, bits(best.bits_per_s as f64));
    let why = if best.advertised {
        format!("of {could} that both ends support and offer")
    } else {
        format!("of {could} that both ends support; this end does not offer it")
    };
    let (name, at) = (iface(scope), place(scope));
    Some(if now < best.bits_per_s as f64 {
        let summary = format!("Link {name}{at} runs at {} {why}.", bits(now));
        (Evidence::new(SPEED, now, "bits_per_s", why), summary)
    } else {
        let summary = format!(
            "Link {name}{at} runs in half duplex at {}, and both ends support full duplex.",
            bits(now)
        );
        (Evidence::new(DUPLEX, now, "bits_per_s", why), summary)
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let name = iface(&finding.scope);
    let word = quoted(name);
    let run = |command: String| inside(&finding.scope, &command);
    let first = finding.evidence.first();
    let signal = first.map_or("", |row| row.signal.as_str());
    vec![match signal {
        SPEED | DUPLEX => Advice {
            text: format!(
                "Check the cable of {name}, all its pairs, and let both ends agree on the mode by themselves."
            ),
            confirm: format!("cat /sys/class/net/{word}/speed /sys/class/net/{word}/duplex"),
            change: format!(
                "ethtool -s {word} autoneg on; if this end offers too little, add advertise MASK"
            ),
            trade_off: "Agreeing anew takes the link down for some seconds.".to_owned(),
        },
        BOND => Advice {
            text: format!(
                "Check cable, switch port or the other end of {name}: its bond has no reserve without it."
            ),
            confirm: run(format!("ip -s link show dev {word}")),
            change: format!("mend the link of {name}; the bond takes it back by itself"),
            trade_off: "Until then the bond has less capacity, and the next failure takes it down."
                .to_owned(),
        },
        _ => Advice {
            text: format!(
                "Check cable, transceiver and port at both ends of {name}: its carrier does not stay."
            ),
            confirm: run(format!("ip -s -s link show dev {word}")),
            change: format!(
                "move {name} to another cable or port; in a bond, take it out until it is mended"
            ),
            trade_off: "Without it the traffic has one link less.".to_owned(),
        },
    }]
}
