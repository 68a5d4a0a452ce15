//! Reads what the programs know of handshakes of TLS and of QUIC, and takes those out that do not end.

use std::collections::{HashMap, HashSet};

use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError};
use osi_common::occurrence::Kind;
use osi_common::quic::{self, PENDING_SLOTS, pending_slot};
use osi_common::tls::{
    BY_SERVER, Endpoint, Handshake, Handshakes, MAX_ENDPOINTS, MAX_HANDSHAKES, NO_ANSWER, Stage,
    UNANSWERED_NS, UNFINISHED,
};
use osi_common::wire::{Ends, Role, UDP};

use super::exchanges::Rows;
use super::unanswered::Unanswered;
use crate::snapshot::KernelMaps;

/// The agent's side of these maps.
pub(super) struct Tls {
    in_flight: BpfHashMap<MapData, Ends, Handshake>,
    quic_in_flight: BpfHashMap<MapData, Ends, Handshake>,
    quic_clients: Clients,
    endpoints: Rows<Endpoint, Handshakes>,
    /// Handshakes that were taken out, by server or port as long as that has a row.
    taken: HashMap<Endpoint, Taken>,
    /// Those of them that had no answer.
    pub(super) unanswered: Unanswered,
    /// Those of QUIC that had one, and which the client never ended: with TCP the connection's end tells why.
    pub(super) unfinished: Unanswered,
    given_up: GivenUp,
}

/// What the programs are told of QUIC's handshakes that were taken out, by the slot of the client's port.
struct GivenUp {
    map: Array<MapData, u64>,
    counts: Vec<u64>,
}

impl GivenUp {
    fn note(&mut self, ends: &Ends, handshake: &Handshake) {
        // As the key has them, whoever asks.
        let is_asking = handshake.role == Role::Asking as u32;
        let port = if is_asking {
            ends.client_port
        } else {
            ends.server.port
        };
        let slot = pending_slot(port, is_asking);
        let Some(count) = self.counts.get_mut(slot as usize) else {
            return;
        };
        *count += 1;
        // A refusal can only mean that the maps are gone, and then nothing runs that could care.
        if let Err(error) = self.map.set(slot, *count, 0) {
            log::warn!("map of handshakes that were given up: {error}");
        }
    }
}

/// The id of a client of QUIC, and when its handshake began.
type Client = ([u8; 8], u64);

/// Those that the programs remember.
struct Clients {
    map: BpfHashMap<MapData, [u8; 8], u64>,
    /// Those whose handshake was over at the last reading.
    over: HashSet<Client>,
}

impl Clients {
    /// Forgets those whose handshake is over for the second time: the server may say something once more that comes late, and one
    /// that begins just now is not among those `in_flight`, which are told by their beginning. How many there were.
    fn forget(&mut self, in_flight: &HashSet<u64>) -> u64 {
        let listed = self.map.iter().flatten();
        let listed: HashSet<_> = listed.take(2 * quic::MAX_CLIENTS as usize).collect();
        let count = listed.len() as u64;
        let (over, gone) = over(listed, in_flight, &self.over);
        for (id, _) in gone {
            // Already gone is as good.
            let _gone = self.map.remove(&id);
        }
        self.over = over;
        count
    }
}

/// Those whose handshake is not in flight: for the first time, and also at the last reading.
fn over(
    listed: HashSet<Client>,
    in_flight: &HashSet<u64>,
    before: &HashSet<Client>,
) -> (HashSet<Client>, HashSet<Client>) {
    let is_over = |(_, begun_ns): &Client| !in_flight.contains(begun_ns);
    let all = listed.into_iter().filter(is_over);
    all.partition(|client| !before.contains(client))
}

/// Handshakes at one server or port that were taken out.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// To which the server said nothing.
    unanswered: u64,
    /// Of which neither the end nor that of their connection was seen.
    unfinished: u64,
}

impl Taken {
    const fn all(&self) -> u64 {
        self.unanswered + self.unfinished
    }
}

impl Tls {
    /// Takes the maps, each by its name.
    pub(super) fn take(mut map: impl FnMut(&str) -> anyhow::Result<Map>) -> anyhow::Result<Self> {
        Ok(Self {
            in_flight: map("TLS_IN_FLIGHT")?.try_into()?,
            quic_in_flight: map("QUIC_IN_FLIGHT")?.try_into()?,
            quic_clients: Clients {
                map: map("QUIC_CLIENTS")?.try_into()?,
                over: HashSet::new(),
            },
            endpoints: Rows::of(map("ENDPOINTS")?)?,
            taken: HashMap::new(),
            unanswered: Unanswered::new(Kind::TlsFailed, NO_ANSWER | BY_SERVER),
            unfinished: Unanswered::new(Kind::TlsFailed, UNFINISHED),
            given_up: GivenUp {
                map: map("QUIC_GIVEN_UP")?.try_into()?,
                counts: vec![0; PENDING_SLOTS as usize],
            },
        })
    }

    /// Reads both, as of `now_ns` (boot time). What is taken out here counts as if the programs had counted it.
    pub(super) fn read(&mut self, now_ns: u64, maps: &mut KernelMaps) {
        // What was taken out here does not wait any more, although the programs do not know.
        let taken = |key: &Endpoint| self.taken.get(key).map_or(0, Taken::all);
        let waits = |key: &Endpoint, row: &Handshakes| row.times.in_flight() > taken(key);
        maps.endpoints = self.endpoints.read(MAX_ENDPOINTS, waits);
        let (listed, quic_listed, clients) = self.sweep(now_ns, maps);
        self.taken
            .retain(|endpoint, _| maps.endpoints.contains_key(endpoint));
        for (endpoint, taken) in &self.taken {
            if let Some(row) = maps.endpoints.get_mut(endpoint) {
                row.outcomes.no_answer += taken.unanswered;
                row.outcomes.unfinished += taken.unfinished;
                row.times.ended += taken.all();
            }
        }
        self.unanswered.add_to(&mut maps.occurrences);
        self.unfinished.add_to(&mut maps.occurrences);
        maps.fill.extend([
            ("tls_in_flight", listed, MAX_HANDSHAKES.into()),
            ("quic_in_flight", quic_listed, quic::MAX_HANDSHAKES.into()),
            ("quic_clients", clients, quic::MAX_CLIENTS.into()),
            (
                "tls_endpoints",
                maps.endpoints.len() as u64,
                MAX_ENDPOINTS.into(),
            ),
        ]);
    }

    /// The kernel may begin the list anew while it is read, so that it is bounded and each handshake is noted once. How many
    /// there are of TLS, those included that only wait for what the server says of the client's certificate, and of QUIC, and how
    /// many of its clients are remembered.
    fn sweep(&mut self, now_ns: u64, maps: &mut KernelMaps) -> (u64, u64, u64) {
        let all = |map: &BpfHashMap<_, _, _>, most: u32| -> HashMap<Ends, Handshake> {
            map.iter().flatten().take(2 * most as usize).collect()
        };
        let of_tls = all(&self.in_flight, MAX_HANDSHAKES);
        let of_quic = all(&self.quic_in_flight, quic::MAX_HANDSHAKES);
        let begun = of_quic.values().map(|handshake| handshake.begun_ns);
        let clients = self.quic_clients.forget(&begun.collect());
        let counts = (of_tls.len() as u64, of_quic.len() as u64, clients);
        for (ends, handshake) in of_tls.into_iter().chain(of_quic) {
            let is_quic = ends.transport == UDP;
            let has_ended = handshake.stage == Stage::Certified as u32;
            let age_ns = now_ns.saturating_sub(handshake.begun_ns);
            if age_ns < UNANSWERED_NS {
                if !has_ended {
                    let waiting = if is_quic {
                        &mut maps.quic_waiting
                    } else {
                        &mut maps.tls_waiting
                    };
                    *waiting = (waiting.0 + 1, waiting.1.max(age_ns));
                }
                // Over UDP it tells that something comes back at all, and a Retry does.
                let answer = if is_quic {
                    Stage::Retried
                } else {
                    Stage::Answered
                };
                if handshake.stage < answer as u32 {
                    let silent = maps
                        .tls_silent
                        .entry(endpoint(&ends, &handshake))
                        .or_default();
                    *silent = (silent.0 + 1, silent.1.max(age_ns));
                }
            } else if self.take_out(&ends).is_ok() && !has_ended {
                // Whose removal succeeds counts it: the end may come at this very moment.
                if is_quic {
                    self.given_up.note(&ends, &handshake);
                }
                let at_ns = handshake.begun_ns + UNANSWERED_NS;
                let taken = self.taken.entry(endpoint(&ends, &handshake)).or_default();
                if handshake.stage == Stage::Answered as u32 {
                    taken.unfinished += 1;
                    if is_quic {
                        self.unfinished.note(&ends, at_ns, handshake.name);
                    }
                } else {
                    taken.unanswered += 1;
                    self.unanswered.note(&ends, at_ns, handshake.name);
                }
            }
        }
        counts
    }

    fn take_out(&mut self, ends: &Ends) -> Result<(), MapError> {
        if ends.transport == UDP {
            self.quic_in_flight.remove(ends)
        } else {
            self.in_flight.remove(ends)
        }
    }
}

/// Where the programs count a handshake.
const fn endpoint(ends: &Ends, handshake: &Handshake) -> Endpoint {
    Endpoint::of(
        ends.transport,
        handshake.role,
        ends.server,
        ends.client_port,
    )
}

#[cfg(test)]
mod tests {
    use osi_common::handshake::PeerKey;
    use osi_common::wire::{NAME_BYTES, Role, TCP};

    use super::*;

    #[test]
    fn a_client_is_forgotten_when_its_handshake_is_over_for_two_readings() {
        let [going, ended, again] = [([1; 8], 1), ([2; 8], 2), ([2; 8], 3)];
        let in_flight = HashSet::from([1]);
        let read = |listed: &[_], before: &HashSet<_>| {
            over(listed.iter().copied().collect(), &in_flight, before)
        };
        let (first, gone) = read(&[going, ended], &HashSet::new());
        assert_eq!((&first, gone.len()), (&HashSet::from([ended]), 0));
        let (second, gone) = read(&[going, ended], &first);
        assert_eq!((second.len(), &gone), (0, &HashSet::from([ended])));
        // It began another one, whose record was not there yet.
        let (second, gone) = read(&[again], &first);
        assert_eq!((&second, gone.len()), (&HashSet::from([again]), 0));
    }

    #[test]
    fn a_port_of_this_host_has_no_address() {
        let ends = Ends {
            server: PeerKey {
                netns: 7,
                family: 2,
                port: 40_000,
                address: [1; 16],
            },
            client: [2; 16],
            client_port: 443,
            transport: TCP,
            role: Role::Asking as u8,
        };
        let of = |role: Role| Handshake {
            begun_ns: 0,
            stage: 0,
            role: role as u32,
            version: 0,
            resumed: 0,
            client_next: 0,
            server_next: 0,
            name: [0; NAME_BYTES],
        };
        assert_eq!(endpoint(&ends, &of(Role::Asking)).server, ends.server);
        let own = endpoint(&ends, &of(Role::Serving));
        let named = (own.server.netns, own.server.port, own.server.address);
        assert_eq!(named, (7, 443, [0; 16]));
    }
}
