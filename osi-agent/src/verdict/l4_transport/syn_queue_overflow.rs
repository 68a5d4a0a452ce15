//! A listener has more unfinished handshakes than it may hold.

use osi_common::layer::Layer;

use super::super::text::{inside, local, place, share, ss_port};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::accept_queue_overflow::{ACCEPT_QUEUE_OVERFLOW, HALF};
use crate::layer::Meter;
use crate::layer::l4_transport::handshake::ACCEPTED;
use crate::layer::l4_transport::queues::{
    LISTEN_DROPS, SYN_QUEUE, SYN_QUEUE_DROPS, SYNCOOKIES_SENT,
};
use crate::scope::{Netns, Scope};
use crate::snapshot::{ALWAYS_COOKIES, NetnsState};

pub(in crate::verdict) static SYN_QUEUE_OVERFLOW: Cause = Cause {
    id: "syn_queue_overflow",
    layer: Layer::L4,
    class: CauseClass::Capacity,
    onset: Onset::Hard,
    severity: Severity::Critical,
    help: "A listener's queue of unfinished handshakes is full: further SYNs are dropped, or answered by SYN cookies where these are on.",
    explained_by: &[&[&ACCEPT_QUEUE_OVERFLOW]],
    suspects: &[],
    reads: &[&SYN_QUEUE_DROPS, &SYNCOOKIES_SENT],
    thresholds: &[
        Threshold::of("dropped", 3.0),
        // A burst that the cookies carry is what they are for.
        Threshold::of("cookies", 10.0),
        Threshold::of("ratio", 0.001),
    ],
    detect,
    advise,
};

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    for state in &facts.window.now.namespaces {
        let netns = &state.netns;
        let fullest = fullest(facts, netns);
        let accepted = facts.count_in(&ACCEPTED, netns);
        let dropped = dropped(facts, netns, fullest);
        if dropped as f64 > facts.limit("dropped")
            && share(dropped, accepted) > facts.limit("ratio")
        {
            found.push(sighting(netns, fullest, dropped, 0, accepted));
            continue;
        }
        let cookies = cookies(facts, state);
        if cookies as f64 > facts.limit("cookies")
            && share(cookies, accepted) > facts.limit("ratio")
        {
            found.push(sighting(netns, fullest, 0, cookies, accepted));
        }
    }
}

/// The queue that may be the one that was full. Rows come worst first.
fn fullest<'a>(facts: &Facts<'a>, netns: &Netns) -> Option<&'a Meter> {
    let mut rows = facts.map.meters(&SYN_QUEUE);
    rows.find(|row| row.reading.scope.netns.as_ref() == Some(netns))
        .filter(|row| row.ratio.is_some_and(|ratio| ratio >= HALF))
}

/// SYNs dropped for a full queue. What the kernel keeps for peers that it knows (`tcp_max_syn_backlog` without cookies) it counts
/// among all drops of listeners only: those are the queue's where the queue is full.
fn dropped(facts: &Facts, netns: &Netns, fullest: Option<&Meter>) -> u64 {
    let named = facts.count_in(&SYN_QUEUE_DROPS, netns);
    let is_full = fullest.is_some_and(|row| row.ratio.is_some_and(|ratio| ratio >= 1.0));
    if is_full && cookies_are_off(facts, netns) {
        return facts.count_in(&LISTEN_DROPS, netns).max(named);
    }
    named
}

fn cookies_are_off(facts: &Facts, netns: &Netns) -> bool {
    facts.count_in(&SYNCOOKIES_SENT, netns) == 0
}

fn cookies(facts: &Facts, state: &NetnsState) -> u64 {
    if state.syn_cookies == Some(ALWAYS_COOKIES) {
        return 0;
    }
    facts.count_in(&SYNCOOKIES_SENT, &state.netns)
}

fn sighting(
    netns: &Netns,
    fullest: Option<&Meter>,
    dropped: u64,
    cookies: u64,
    accepted: u64,
) -> Sighting {
    let scope = fullest.map_or_else(|| Scope::netns(netns), |row| row.reading.scope.clone());
    let whose = fullest.map_or_else(|| "a listener".to_owned(), |_| local(&scope));
    let mut evidence = Vec::new();
    if dropped > 0 {
        evidence.push(Evidence::new(
            SYN_QUEUE_DROPS.id,
            dropped as f64,
            "packets",
            "SYNs dropped because a queue of unfinished handshakes was full",
        ));
    }
    if cookies > 0 {
        evidence.push(Evidence::new(
            SYNCOOKIES_SENT.id,
            cookies as f64,
            "packets",
            "SYN cookies sent because such a queue was full",
        ));
    }
    evidence.extend(fullest.map(queue));
    let what = if dropped > 0 {
        format!("{dropped} SYNs dropped")
    } else {
        format!("{cookies} SYN cookies sent")
    };
    Sighting {
        // With cookies whoever answers still gets in: it must go on to be worth a word.
        onset: if dropped > 0 {
            Onset::Hard
        } else {
            Onset::Statistical
        },
        confidence: match fullest {
            None => Confidence::Possible,
            Some(_) if dropped > 0 => Confidence::Certain,
            Some(_) => Confidence::Likely,
        },
        severity: if dropped > 0 {
            Severity::Critical
        } else {
            Severity::Warn
        },
        evidence,
        impact: Impact {
            connections: dropped + cookies,
            share_ratio: share(dropped, accepted),
            peers: 0,
        },
        summary: format!("The SYN queue of {whose}{} is full: {what}.", place(&scope)),
        scope,
    }
}

fn queue(meter: &Meter) -> Evidence {
    let why = format!(
        "handshakes of this listener are not finished; {} is full",
        meter.reading.capacity.unwrap_or_default()
    );
    Evidence::new(SYN_QUEUE.id, meter.reading.used, "connections", why)
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let port = ss_port(&finding.scope);
    let row = finding.row(&SYN_QUEUE);
    let now = row.map_or_else(String::new, |row| format!(" ({} are open now)", row.value));
    let settings = "sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog net.core.somaxconn";
    vec![
        Advice {
            text: format!("Look who begins handshakes and does not finish them{now}: many addresses that never answer are a flood, few that do are a path that loses SYN-ACKs."),
            confirm: inside(&finding.scope, &format!("ss -Htn state syn-recv{port}")),
            change: "filter the senders in front of this host, or mend the path back to them".to_owned(),
            trade_off: "Forged source addresses make a filter by address useless.".to_owned(),
        },
        Advice {
            text: "Let SYN cookies answer what finds the queue full, or make the queue longer: it is as long as listen()'s backlog.".to_owned(),
            confirm: inside(&finding.scope, settings),
            change: inside(&finding.scope, "sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=4096"),
            trade_off: "Connections made by a cookie have no window scaling or SACK without timestamps; a longer queue holds more memory, and the server must listen again to use it.".to_owned(),
        },
    ]
}
