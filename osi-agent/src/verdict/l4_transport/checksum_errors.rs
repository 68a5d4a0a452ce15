//! Segments, datagrams and ICMP messages arrive damaged.

use osi_common::layer::Layer;

use super::super::origin::Origin;
use super::super::text::{inside, share};
use super::super::{
    Advice, Cause, CauseClass, Evidence, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use crate::layer::l4_transport::checksums::{
    BAD_CHECKSUMS, DATAGRAMS_RECEIVED, ICMP_RECEIVED, KINDS, Kind, REASONS,
};
use crate::layer::l4_transport::retransmit::SEGMENTS_RECEIVED;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static CHECKSUM_ERRORS: Cause = Cause {
    id: "checksum_errors",
    layer: Layer::L4,
    class: CauseClass::Loss,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Segments, datagrams or ICMP messages arrive with a wrong checksum and are dropped: something on the way damages them.",
    explained_by: &[],
    suspects: &[],
    reads: &[&BAD_CHECKSUMS],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.0001),
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
    let count = |signal| facts.count_in(signal, &state.netns);
    let bad = count(&BAD_CHECKSUMS);
    let received = count(&SEGMENTS_RECEIVED) + count(&DATAGRAMS_RECEIVED) + count(&ICMP_RECEIVED);
    let by_counter = |kind: Kind| (kind, facts.window.mib_in(&state.netns, kind.mib));
    let moved: Vec<_> = KINDS
        .map(by_counter)
        .into_iter()
        .filter(|(_, bad)| *bad > 0)
        .collect();
    let among = moved.iter().filter(|(kind, _)| kind.received);
    let among: u64 = among.map(|(_, bad)| bad).sum();
    let lost = share(bad, received.saturating_sub(among));
    if bad as f64 <= facts.limit("packets") || lost <= facts.limit("ratio") {
        return None;
    }
    let origin = Origin::of(facts, state, |seen| REASONS.contains(&&*seen.reason));
    let mut evidence = vec![Evidence::new(
        BAD_CHECKSUMS.id,
        bad as f64,
        "packets",
        BAD_CHECKSUMS.help,
    )];
    evidence.extend(moved.iter().map(|(kind, bad)| {
        let why = format!("{} among them", kind.what);
        Evidence::new(kind.name, *bad as f64, "packets", why)
    }));
    evidence.extend(origin.evidence("senders"));
    let how = format!("with a wrong checksum{} and were dropped", origin.from());
    Some(origin.sighting(&format!("{bad} packets"), &how, lost, evidence))
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let bad = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{bad} packets a window arrive damaged: see whether they already are on the wire, then which device on the way does it."
        ),
        confirm: inside(
            &finding.scope,
            "nstat -asz TcpInCsumErrors UdpInCsumErrors Udp6InCsumErrors IcmpInCsumErrors Icmp6InCsumErrors",
        ),
        change: "tcpdump -vv on the interface shows the wrong sums; replace memory, cable or device that damages them, or turn a broken offload off (ethtool -K IFACE rx off)".to_owned(),
        trade_off: "Without the offload the CPU checks every packet.".to_owned(),
    }]
}
