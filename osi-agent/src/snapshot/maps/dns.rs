//! Reads what the programs know of DNS queries, and takes those out that nobody answers.

use std::collections::HashMap;

use aya::maps::{HashMap as BpfHashMap, Map, MapData};
use osi_common::dns::{
    MAX_QUERIES, MAX_RESOLVERS, NO_ANSWER, Query, QueryKey, Resolver, UNANSWERED_NS,
};
use osi_common::handshake::PeerKey;
use osi_common::occurrence::Kind;
use osi_common::wire::TCP;

use super::exchanges::Rows;
use super::unanswered::Unanswered;
use crate::snapshot::KernelMaps;

/// The agent's side of these maps.
pub(super) struct Dns {
    queries: BpfHashMap<MapData, QueryKey, Query>,
    resolvers: Rows<PeerKey, Resolver>,
    /// Queries that were taken out, by resolver as long as that has a row.
    taken: HashMap<PeerKey, Taken>,
    /// Those of them that had no answer.
    pub(super) unanswered: Unanswered,
    /// And those that may have had one.
    unmeasured: u64,
}

/// Queries to one resolver that were taken out.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// That had no answer.
    unanswered: u64,
    /// All of them.
    all: u64,
}

impl Dns {
    /// Takes the maps, each by its name.
    pub(super) fn take(mut map: impl FnMut(&str) -> anyhow::Result<Map>) -> anyhow::Result<Self> {
        Ok(Self {
            queries: map("QUERIES")?.try_into()?,
            resolvers: Rows::of(map("RESOLVERS")?)?,
            taken: HashMap::new(),
            unanswered: Unanswered::new(Kind::DnsFailed, NO_ANSWER),
            unmeasured: 0,
        })
    }

    /// Reads both, as of `now_ns` (boot time). What is taken out here counts as if the programs had counted it.
    pub(super) fn read(&mut self, now_ns: u64, maps: &mut KernelMaps) {
        // What was taken out here does not wait any more, although the programs do not know.
        let taken = |key: &PeerKey| self.taken.get(key).map_or(0, |taken| taken.all);
        let waits = |key: &PeerKey, row: &Resolver| row.answers.in_flight() > taken(key);
        maps.resolvers = self.resolvers.read(MAX_RESOLVERS, waits);
        self.sweep(now_ns, maps);
        self.taken
            .retain(|resolver, _| maps.resolvers.contains_key(resolver));
        for (resolver, taken) in &self.taken {
            if let Some(row) = maps.resolvers.get_mut(resolver) {
                row.outcomes.no_answer += taken.unanswered;
                row.answers.ended += taken.all;
            }
        }
        maps.queries_unmeasured = self.unmeasured;
        self.unanswered.add_to(&mut maps.occurrences);
        maps.fill.extend([
            ("queries", maps.queries_in_flight, MAX_QUERIES.into()),
            (
                "resolvers",
                maps.resolvers.len() as u64,
                MAX_RESOLVERS.into(),
            ),
        ]);
    }

    /// The kernel may begin the list anew while it is read, so that it is bounded and each query is noted once.
    fn sweep(&mut self, now_ns: u64, maps: &mut KernelMaps) {
        let listed = self.queries.iter().flatten();
        let listed: HashMap<QueryKey, Query> = listed.take(2 * MAX_QUERIES as usize).collect();
        for (key, query) in listed {
            let age_ns = now_ns.saturating_sub(query.asked_ns);
            if age_ns < UNANSWERED_NS {
                maps.queries_in_flight += 1;
                maps.oldest_query_ns = maps.oldest_query_ns.max(age_ns);
            } else if self.queries.remove(&key).is_ok() {
                // Whose removal succeeds counts it: the answer may come at this very moment.
                let resolver = key.ends.server;
                self.taken.entry(resolver).or_default().all += 1;
                if may_be_answered(key.ends.transport, &query, maps.resolvers.get(&resolver)) {
                    self.unmeasured += 1;
                } else {
                    self.give_up(&key, &query);
                }
            }
        }
    }

    fn give_up(&mut self, key: &QueryKey, query: &Query) {
        let resolver = key.ends.server;
        self.taken.entry(resolver).or_default().unanswered += 1;
        let at_ns = query.asked_ns + UNANSWERED_NS;
        self.unanswered.note(&key.ends, at_ns, query.name);
    }
}

/// Whether a query of long ago may have had its answer: over TCP one that begins in the middle of a segment is not seen. Where
/// the resolver has answered nothing at all since then, it had none.
fn may_be_answered(transport: u8, query: &Query, resolver: Option<&Resolver>) -> bool {
    let is_silent = resolver
        .is_none_or(|row| row.answers.since_passed() > 0 && row.answers.since_ns <= query.asked_ns);
    transport == TCP && !is_silent
}

#[cfg(test)]
mod tests {
    use osi_common::exchange::Span;
    use osi_common::wire::{NAME_BYTES, UDP};

    use super::*;

    #[test]
    fn over_tcp_silence_is_silence_where_nothing_else_came() {
        let query = Query {
            asked_ns: 100,
            name: [0; NAME_BYTES],
        };
        let waiting_since = |since_ns| Resolver {
            answers: Span {
                begun: 5,
                passed: 3,
                since_ns,
                ..Span::ZERO
            },
            ..Resolver::ZERO
        };
        let (before, later) = (waiting_since(90), waiting_since(110));
        assert!(!may_be_answered(TCP, &query, Some(&before)));
        assert!(!may_be_answered(TCP, &query, None));
        assert!(may_be_answered(TCP, &query, Some(&later)));
        assert!(may_be_answered(TCP, &query, Some(&Resolver::ZERO)));
        assert!(!may_be_answered(UDP, &query, Some(&later)));
    }
}
