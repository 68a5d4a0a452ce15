//! Queries to resolvers that leave this host, its own or those of its containers, and what comes back.

use osi_common::dns::{Outcomes, Resolver};
use osi_common::handshake::PeerKey;
use osi_common::latency::Latency;
use osi_common::layer::Layer;

use super::exchange::Waits;
use crate::layer::{Amount, Read, Source, Unit, Window, address, rows};
use crate::scope::{Scope, ScopeKind};

rows! { Layer::L7;
    DNS_TIME: "Time from a DNS query to its answer, over UDP and TCP; from the last sending on, where it was sent again." {
        id: "dns_time",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Latency(Latency::Dns),
    }
    DNS_ANSWERS: "Answers to DNS queries, whatever they say." {
        id: "dns_answers",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Resolver,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, answers)),
    }
    DNS_NO_SUCH_NAME: "Answers to DNS queries that say there is no such name (NXDOMAIN): normal life, up to what is usual." {
        id: "dns_nxdomain",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Resolver,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.nxdomain)),
    }
    DNS_ERRORS: "Answers to DNS queries with another error: SERVFAIL, REFUSED, FORMERR, NOTIMP and further ones." {
        id: "dns_errors",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Resolver,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, errors)),
    }
    DNS_NO_ANSWER: "DNS queries that had no answer within five seconds, or were sent again before one came." {
        id: "dns_no_answer",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Resolver,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.no_answer)),
    }
    DNS_TRUNCATED: "Answers over UDP that were cut to fit (TC): the client asks again over TCP." {
        id: "dns_truncated",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Resolver,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.truncated)),
    }
    DNS_OVER_TCP: "DNS queries over TCP." {
        id: "dns_over_tcp",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Resolver,
        fed_by: &["tc", "dns"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.over_tcp)),
    }
}

/// What became of the queries to one resolver in the window.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Address and port of the resolver.
    pub scope: Scope,
    /// How those ended that did.
    pub outcomes: Outcomes,
    /// How long answers took, and what waits.
    pub waits: Waits,
    /// Queries that were sent since the last answer came, whatever became of them.
    pub in_a_row: u64,
    /// How long ago the first of these was sent; 0 where there is none.
    pub in_a_row_ns: u64,
}

impl Resolved {
    /// Queries that ended, with an answer or without.
    pub const fn ended(&self) -> u64 {
        answers(&self.outcomes) + self.outcomes.no_answer
    }
}

/// Answers of all kinds.
pub const fn answers(outcomes: &Outcomes) -> u64 {
    outcomes.noerror + outcomes.nxdomain + errors(outcomes)
}

/// Answers with an error, those for names that do not exist left out.
pub const fn errors(outcomes: &Outcomes) -> u64 {
    outcomes.formerr + outcomes.servfail + outcomes.notimp + outcomes.refused + outcomes.other
}

/// The window's queries by resolver, in the order of their keys; resolvers that nobody asked are left out.
pub fn resolved(window: &Window) -> Vec<Resolved> {
    let (now_ns, before) = (window.now.boot_ns, &window.previous.kernel.resolvers);
    let mut rows: Vec<(&PeerKey, &Resolver)> = window.now.kernel.resolvers.iter().collect();
    rows.sort_by_key(|(key, _)| **key);
    let of_resolver = |(key, now): (&PeerKey, &Resolver)| {
        let before = before.get(key).unwrap_or(&Resolver::ZERO);
        let outcomes = now.outcomes.since(&before.outcomes);
        let waits = Waits::new(&now.answers, Some(&before.answers), now_ns);
        if outcomes == Outcomes::ZERO && waits.is_empty() {
            return None;
        }
        let remote = address(key.family, &key.address);
        Some(Resolved {
            scope: Scope::resolver(window.netns(key.netns)?, remote, key.port),
            outcomes,
            waits,
            in_a_row: now.answers.since_passed(),
            in_a_row_ns: now.answers.since_passed_ns(now_ns),
        })
    };
    rows.into_iter().filter_map(of_resolver).collect()
}

fn amounts(window: &Window, rows: &mut Vec<Amount>, count: fn(&Outcomes) -> u64) {
    rows.extend(resolved(window).into_iter().map(|row| Amount {
        delta: count(&row.outcomes),
        scope: row.scope,
    }));
}
