//! Packets come in whose header cannot be right, or whose sender cannot be.

use osi_common::layer::Layer;

use super::super::origin::Origin;
use super::super::text::{inside, share};
use super::super::{
    Advice, Cause, CauseClass, Evidence, Facts, Finding, Onset, Severity, Sighting, Threshold,
};
use crate::layer::l3_network::headers::{IP_MALFORMED, MALFORMED, MARTIAN, MARTIANS};
use crate::layer::l3_network::routes::{IP_RECEIVED, IP6_RECEIVED};
use crate::snapshot::NetnsState;

pub(in crate::verdict) static IP_HEADER_ERRORS: Cause = Cause {
    id: "ip_header_errors",
    layer: Layer::L3,
    class: CauseClass::Loss,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "Packets come in with a damaged IP header or an impossible address and are dropped: something on the way breaks or forges them.",
    explained_by: &[],
    suspects: &[],
    reads: &[&IP_MALFORMED, &MARTIANS],
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
    let (malformed, martians) = (count(&IP_MALFORMED), count(&MARTIANS));
    let dropped = malformed + martians;
    let received = count(&IP_RECEIVED) + count(&IP6_RECEIVED);
    // What is dropped here was counted as received before.
    let lost = share(dropped, received.saturating_sub(dropped));
    if dropped as f64 <= facts.limit("packets") || lost <= facts.limit("ratio") {
        return None;
    }
    let reasons = if malformed >= martians {
        MALFORMED
    } else {
        MARTIAN
    };
    let origin = Origin::of(facts, state, |seen| reasons.contains(&&*seen.reason));
    let mut evidence: Vec<_> = [(&IP_MALFORMED, malformed), (&MARTIANS, martians)]
        .into_iter()
        .filter(|(_, packets)| *packets > 0)
        .map(|(signal, packets)| Evidence::new(signal.id, packets as f64, "packets", signal.help))
        .collect();
    evidence.extend(origin.evidence("senders"));
    let what = if malformed >= martians {
        "a damaged IP header"
    } else {
        "an impossible source or destination"
    };
    let how = format!("with {what}{} and were dropped", origin.from());
    Some(origin.sighting(&format!("{dropped} packets"), &how, lost, evidence))
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let dropped = finding.evidence.first().map_or(0.0, |row| row.value);
    vec![Advice {
        text: format!(
            "{dropped} packets a window are dropped before anything reads them: capture some and see which device on the way damages or forges them."
        ),
        confirm: inside(
            &finding.scope,
            "nstat -asz IpInHdrErrors IpExtInCsumErrors IpExtInTruncatedPkts Ip6InHdrErrors",
        ),
        change: "tcpdump -vv on the interface shows the bad field; replace or reconfigure the device that sends it, such as a tunnel, an offload or a middlebox".to_owned(),
        trade_off: "Nothing on this host mends a packet that arrives damaged; dropping it is right.".to_owned(),
    }]
}
