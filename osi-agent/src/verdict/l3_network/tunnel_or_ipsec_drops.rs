//! Packets that a tunnel cannot carry, or that IPsec refuses: the two ends are not set up alike.

use osi_common::layer::Layer;

use super::super::text::{iface, inside, percent, place, quoted, share};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use crate::layer::l3_network::routes::{IP_RECEIVED, IP_SENT, IP6_RECEIVED, IP6_SENT};
use crate::layer::l3_network::tunnels::{Faults, TUNNEL_ERRORS, by_tunnel};
use crate::layer::l3_network::xfrm::{COUNTERS, IPSEC_RECEIVED, IPSEC_SENT, moved};
use crate::scope::Scope;
use crate::snapshot::NetnsState;

pub(in crate::verdict) static TUNNEL_OR_IPSEC_DROPS: Cause = Cause {
    id: "tunnel_or_ipsec_drops",
    layer: Layer::L3,
    class: CauseClass::Config,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "IPsec refuses packets, or a tunnel cannot carry them: the keys, policies or addresses of the two ends do not fit.",
    explained_by: &[],
    suspects: &[],
    reads: &[&IPSEC_RECEIVED, &IPSEC_SENT, &TUNNEL_ERRORS],
    thresholds: &[
        Threshold::of("packets", 10.0),
        Threshold::of("ratio", 0.001),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let namespaces = facts.window.namespaces();
    found.extend(namespaces.filter_map(|(now, before)| ipsec(facts, now, before?)));
    found.extend(by_tunnel(facts.window).filter_map(|faults| tunnel(facts, &faults)));
}

/// A few packets are refused whenever keys change, and strangers send some, too.
fn is_fault(facts: &Facts, lost: u64, ratio: f64) -> bool {
    lost as f64 > facts.limit("packets") && ratio > facts.limit("ratio")
}

fn ipsec(facts: &Facts, state: &NetnsState, before: &NetnsState) -> Option<Sighting> {
    let counters = moved(state, before);
    let (most, _) = *counters.first()?;
    let count = |signal| facts.count_in(signal, &state.netns);
    let (received, sent) = (count(&IPSEC_RECEIVED), count(&IPSEC_SENT));
    let all = count(&IP_RECEIVED) + count(&IP6_RECEIVED) + count(&IP_SENT) + count(&IP6_SENT);
    let lost = received + sent;
    // What is refused on the way in was counted as received before.
    let ratio = share(lost, all.saturating_sub(received));
    if !is_fault(facts, lost, ratio) {
        return None;
    }
    let evidence = counters.iter().map(|(counter, packets)| {
        Evidence::new(
            counter.mib.key(),
            *packets as f64,
            "packets",
            counter.meaning,
        )
    });
    let scope = Scope::netns(&state.netns);
    Some(Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence: evidence.collect(),
        impact: Impact {
            connections: 0,
            share_ratio: ratio,
            peers: 0,
        },
        summary: format!(
            "IPsec{} refused {lost} packets, {} of all; of most, {} ({}).",
            place(&scope),
            percent(ratio),
            most.meaning,
            most.mib.key()
        ),
        scope,
    })
}

fn tunnel(facts: &Facts, faults: &Faults) -> Option<Sighting> {
    let lost = faults.received + faults.sent;
    let ratio = share(lost, faults.carried);
    if !is_fault(facts, lost, ratio) {
        return None;
    }
    let kind = faults.link.kind.as_deref().unwrap_or_default();
    let why = format!(
        "{} could not be sent and {} not be taken out, beside {} that it carried",
        faults.sent, faults.received, faults.carried
    );
    Some(Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence: vec![Evidence::new(TUNNEL_ERRORS.id, lost as f64, "packets", why)],
        impact: Impact {
            connections: 0,
            share_ratio: ratio,
            peers: 0,
        },
        summary: format!(
            "The {kind} tunnel {}{} lost {lost} packets, beside {} that it carried.",
            iface(&faults.scope),
            place(&faults.scope),
            faults.carried
        ),
        scope: faults.scope.clone(),
    })
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let scope = &finding.scope;
    let first = finding.evidence.first();
    let lost = first.map_or(0.0, |row| row.value);
    if scope.iface.is_some() {
        let (name, word) = (iface(scope), quoted(iface(scope)));
        return vec![Advice {
            text: format!(
                "{lost} packets a window are lost in {name}: see that there is a route to its far end, that the far end is up, and that keys, numbers and allowed addresses are the same at both."
            ),
            confirm: inside(scope, &format!("ip -s -s -d link show dev {word}")),
            change: "correct the far end's address or route, its key or network number, or the addresses that a peer may use".to_owned(),
            trade_off: "While a tunnel is set up anew, everything in it waits.".to_owned(),
        }];
    }
    let known = first.and_then(|row| {
        let mut counters = COUNTERS.iter();
        counters.find(|counter| counter.mib.key() == row.signal)
    });
    let advice = known.map_or("Compare both ends.", |counter| counter.advice);
    vec![Advice {
        text: format!("{lost} packets a window are refused by IPsec. {advice}"),
        confirm: inside(scope, "cat /proc/net/xfrm_stat"),
        change: inside(scope, "ip -s xfrm policy, and ip -s xfrm state; change what the key daemon is told, not its rows"),
        trade_off: "What IPsec refuses would otherwise pass without protection: open a policy only for what may be read by all.".to_owned(),
    }]
}
