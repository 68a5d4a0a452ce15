//! Reads what the programs know of HTTP exchanges, and takes those connections out that are idle or wait in vain.

use std::collections::HashMap;

use aya::maps::{HashMap as BpfHashMap, Map, MapData};
use osi_common::http::{
    Came, Connection, IDLE_NS, MAX_CONNECTIONS, MAX_SERVERS, NO_ANSWER, Server, ServerKey,
    UNANSWERED_NS,
};
use osi_common::occurrence::Kind;
use osi_common::wire::Ends;

use super::exchanges::Rows;
use super::unanswered::Unanswered;
use crate::snapshot::KernelMaps;

/// The agent's side of these maps.
pub(super) struct Http {
    connections: BpfHashMap<MapData, Ends, Connection>,
    servers: Rows<ServerKey, Server>,
    /// Requests on connections that were taken out, by server as long as that has a row.
    taken: HashMap<ServerKey, Taken>,
    /// Those of them that had no answer.
    pub(super) unanswered: Unanswered,
}

/// Requests to one server that were taken out.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// That had no answer.
    unanswered: u64,
    /// That may have had one.
    unseen: u64,
    /// What the server's `passed` was when the first of them was that had none.
    passed: u64,
}

impl Taken {
    const fn all(&self) -> u64 {
        self.unanswered + self.unseen
    }

    /// Whether the server has answered others since a request of it was taken out, whose `passed` is so much now: it let that one
    /// wait on purpose, as for a message or a change.
    const fn is_patient(&self, passed: u64) -> bool {
        self.unanswered > 0 && passed > self.passed
    }
}

impl Http {
    /// Takes the maps, each by its name.
    pub(super) fn take(mut map: impl FnMut(&str) -> anyhow::Result<Map>) -> anyhow::Result<Self> {
        Ok(Self {
            connections: map("HTTP_CONNECTIONS")?.try_into()?,
            servers: Rows::of(map("HTTP_SERVERS")?)?,
            taken: HashMap::new(),
            unanswered: Unanswered::new(Kind::HttpFailed, NO_ANSWER),
        })
    }

    /// Reads both, as of `now_ns` (boot time). What is taken out here counts as if the programs had counted it.
    pub(super) fn read(&mut self, now_ns: u64, maps: &mut KernelMaps) {
        // What was taken out here does not wait any more, although the programs do not know.
        let taken = |key: &ServerKey| self.taken.get(key).map_or(0, Taken::all);
        let waits = |key: &ServerKey, row: &Server| row.answers.in_flight() > taken(key);
        maps.http_servers = self.servers.read(MAX_SERVERS, waits);
        let followed = self.sweep(now_ns, maps);
        self.taken
            .retain(|server, _| maps.http_servers.contains_key(server));
        for (server, taken) in &self.taken {
            if let Some(row) = maps.http_servers.get_mut(server) {
                if taken.is_patient(row.answers.passed) {
                    maps.http_patient.insert(*server);
                }
                row.outcomes.no_answer += taken.unanswered;
                row.outcomes.unseen += taken.unseen;
                row.answers.ended += taken.all();
            }
        }
        self.unanswered.add_to(&mut maps.occurrences);
        maps.fill.extend([
            ("http_connections", followed, MAX_CONNECTIONS.into()),
            (
                "http_servers",
                maps.http_servers.len() as u64,
                MAX_SERVERS.into(),
            ),
        ]);
    }

    /// The kernel may begin the list anew while it is read, so that it is bounded and each connection is noted once. Returns how
    /// many there are.
    fn sweep(&mut self, now_ns: u64, maps: &mut KernelMaps) -> u64 {
        let listed = self.connections.iter().flatten();
        let listed: HashMap<Ends, Connection> = listed.take(2 * MAX_CONNECTIONS as usize).collect();
        let followed = listed.len() as u64;
        for (ends, connection) in listed {
            let age_ns = now_ns.saturating_sub(connection.since_ns);
            let waiting = u64::from(connection.waiting);
            if !is_over(waiting, age_ns) {
                maps.requests_in_flight += waiting;
                let oldest_ns = if waiting > 0 { age_ns } else { 0 };
                maps.oldest_request_ns = maps.oldest_request_ns.max(oldest_ns);
            } else if self.is_unchanged(&ends, &connection)
                && self.connections.remove(&ends).is_ok()
                && waiting > 0
            {
                self.give_up(&ends, &connection, maps);
            }
        }
        followed
    }

    /// Something may have come on it since it was listed.
    fn is_unchanged(&self, ends: &Ends, connection: &Connection) -> bool {
        self.connections
            .get(ends, 0)
            .is_ok_and(|now| now == *connection)
    }

    fn give_up(&mut self, ends: &Ends, connection: &Connection, maps: &KernelMaps) {
        let key = ServerKey {
            server: ends.server,
            role: ends.role.into(),
        };
        let taken = self.taken.entry(key).or_default();
        let waiting = u64::from(connection.waiting);
        if connection.came != Came::Nothing as u32 {
            taken.unseen += waiting;
            return;
        }
        if taken.unanswered == 0 {
            let row = maps.http_servers.get(&key);
            taken.passed = row.map_or(0, |row| row.answers.passed);
        }
        taken.unanswered += waiting;
        let at_ns = connection.since_ns + UNANSWERED_NS;
        self.unanswered.note(ends, at_ns, connection.name);
    }
}

/// Whether a connection on which something has waited for so long, or nothing has been asked, is worth no place any more.
fn is_over(waiting: u64, age_ns: u64) -> bool {
    let patience_ns = if waiting > 0 { UNANSWERED_NS } else { IDLE_NS };
    age_ns >= patience_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_kept_longer_than_what_is_idle() {
        assert!(!is_over(0, IDLE_NS - 1) && is_over(0, IDLE_NS));
        assert!(!is_over(1, UNANSWERED_NS - 1) && is_over(1, UNANSWERED_NS));
    }

    #[test]
    fn who_answers_others_later_lets_a_request_wait_on_purpose() {
        let taken = Taken {
            unanswered: 1,
            passed: 7,
            ..Taken::default()
        };
        assert!(!taken.is_patient(7), "it answers nobody");
        assert!(taken.is_patient(8));
        assert!(!Taken::default().is_patient(8), "nothing was taken out");
    }
}
