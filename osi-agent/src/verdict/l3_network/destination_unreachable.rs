//! Somebody on the way, or the destination itself, answers that packets can not or may not arrive.

use core::net::IpAddr;

use osi_common::icmp;
use osi_common::layer::Layer;

use super::super::text::{inside, place};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::icmp::{ICMP_NOT_REACHED, is_not_reached};
use crate::layer::l3_network::routes::{IP_SENT, IP6_SENT};
use crate::scope::{Netns, Scope};
use crate::verdict::facts::{by_destination, of_all};
use crate::verdict::history::Answer;

pub(in crate::verdict) static DESTINATION_UNREACHABLE: Cause = Cause {
    id: "destination_unreachable",
    layer: Layer::L3,
    class: CauseClass::Peer,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "A router or host answers by ICMP that a destination can not or may not be reached.",
    explained_by: &[],
    suspects: &[],
    reads: &[&ICMP_NOT_REACHED],
    thresholds: &[
        Threshold::of("packets", 3.0),
        Threshold::of("ratio", 0.001),
        Threshold::of("connect_ratio", 0.05),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let netns = &state.netns;
        let taken = facts.count_in(&ICMP_NOT_REACHED, netns);
        let samples = facts.answered(netns, is_not_reached);
        let now = by_destination(&samples);
        for (destination, examples, answer) in facts.history.answers.within(netns) {
            let seen = now.get(&destination).map_or(0, Vec::len);
            let packets = of_all(taken, seen, samples.len());
            let of = Answered {
                netns,
                destination,
                answer,
                packets,
                lately: packets.max(examples),
            };
            found.extend(sighting(facts, &of));
        }
    }
}

/// What was answered about one destination.
struct Answered<'a> {
    netns: &'a Netns,
    destination: IpAddr,
    answer: Answer,
    /// In this window.
    packets: u64,
    /// In the last windows.
    lately: u64,
}

fn sighting(facts: &Facts, of: &Answered) -> Option<Sighting> {
    let Answered {
        netns,
        destination,
        answer,
        packets,
        lately,
    } = *of;
    let says = icmp::message(answer.number)?.name;
    let scope = Scope::peer(netns, destination, None);
    let connects = facts.history.peers.towards(netns, destination);
    // Who refuses has been reached.
    let reached = connects.connected + connects.refused;
    // Between two tries of a handshake nothing is sent that could be answered, and not every try is.
    let (peers, windows) = (&facts.history.peers, facts.history.windows);
    if packets == 0 && !peers.in_vain(netns, destination, windows) {
        return None;
    }
    let failing = connects.attempts.saturating_sub(reached);
    let many = |count: u64| count as f64 > facts.limit("packets");
    if !(many(lately) || reached == 0 && many(failing)) {
        return None;
    }
    let of_connects = failing as f64 / facts.history.peers.attempts_in(netns).max(1) as f64;
    let sent = [&IP_SENT, &IP6_SENT].map(|signal| facts.count_in(signal, netns));
    let of_packets = packets as f64 / sent.iter().sum::<u64>().max(packets) as f64;
    // Who talks to very many, such as a crawler, always finds some of them gone.
    if of_packets <= facts.limit("ratio") && of_connects <= facts.limit("connect_ratio") {
        return None;
    }
    let sender = answer.sender;
    let mut evidence = vec![Evidence::new(
        ICMP_NOT_REACHED.id,
        lately as f64,
        "packets",
        format!("came back in the last windows: {says}, says {sender}"),
    )];
    if failing > 0 {
        let why = format!(
            "of {} connects to it in the last windows did not reach it",
            connects.attempts
        );
        evidence.push(Evidence::new(
            "connect_failures",
            failing as f64,
            "connections",
            why,
        ));
    }
    let who = if sender == destination {
        "it answers itself:".to_owned()
    } else {
        format!("{sender} on the way answers:")
    };
    Some(Sighting {
        onset: Onset::Hard,
        confidence: Confidence::Certain,
        severity: if reached == 0 && many(failing) {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: failing,
            share_ratio: of_connects,
            peers: 1,
        },
        summary: format!(
            "{destination}{} can not be reached{}, {who} {says}; {lately} packets came back.",
            about(&answer),
            place(&scope)
        ),
        scope,
    })
}

/// What the packet was that is answered; nothing for a later fragment, which has no port.
fn about(answer: &Answer) -> String {
    match (answer.protocol, answer.port) {
        (TCP, 1..) => format!(" (TCP port {})", answer.port),
        (UDP, 1..) => format!(" (UDP port {})", answer.port),
        _ => String::new(),
    }
}

const TCP: u32 = 6;
const UDP: u32 = 17;

fn advise(finding: &Finding) -> Vec<Advice> {
    let (Some(address), Some(answer)) = (finding.scope.remote, finding.evidence.first()) else {
        return Vec::new();
    };
    vec![Advice {
        text: format!(
            "{} packets to {address} {}: ask whoever runs the sender of the answer for its route to {address}, or for its rule.",
            answer.value, answer.why
        ),
        confirm: inside(&finding.scope, &format!("ip route get {address}")),
        change: format!(
            "mend the route to {address} or lift the rule where the answer comes from; or, from here: {}",
            inside(
                &finding.scope,
                &format!("ip route add {address} via OTHER_ROUTER")
            )
        ),
        trade_off: "A filter may forbid it on purpose, and a way around it is then no mending."
            .to_owned(),
    }]
}
