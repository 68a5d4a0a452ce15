//! Reads what the programs know of requests and of waits for peers.

use std::collections::HashMap;
use std::hash::Hash;

use aya::Pod;
use aya::maps::{HashMap as BpfHashMap, Map, MapData};
use osi_common::exchange::{Dependency, MAX_DEPENDENCIES, Requests};
use osi_common::handshake::PeerKey;
use osi_common::listener::{ListenerKey, MAX_LISTENERS};

use super::quiet;
use crate::snapshot::KernelMaps;

/// The agent's side of these maps.
pub(super) struct Exchanges {
    requests: Rows<ListenerKey, Requests>,
    dependencies: Rows<PeerKey, Dependency>,
}

/// A map with its rows at the last reading, to find the quiet ones when room is short.
pub(super) struct Rows<K, V> {
    map: BpfHashMap<MapData, K, V>,
    last: HashMap<K, V>,
}

impl Exchanges {
    /// Takes the maps, each by its name.
    pub(super) fn take(mut map: impl FnMut(&str) -> anyhow::Result<Map>) -> anyhow::Result<Self> {
        let (requests, dependencies) = (map("REQUESTS")?, map("DEPENDENCIES")?);
        Ok(Self {
            requests: Rows::of(requests)?,
            dependencies: Rows::of(dependencies)?,
        })
    }

    /// Reads both.
    pub(super) fn read(&mut self, maps: &mut KernelMaps) {
        // What waits ends on the row where it began.
        let waits = |_: &ListenerKey, requests: &Requests| {
            requests.dwell.in_flight() > 0 || requests.response.in_flight() > 0
        };
        maps.requests = self.requests.read(MAX_LISTENERS, waits);
        maps.dependencies = self
            .dependencies
            .read(MAX_DEPENDENCIES, |_, peer| peer.answers.in_flight() > 0);
        maps.fill.extend([
            ("requests", maps.requests.len() as u64, MAX_LISTENERS.into()),
            (
                "dependencies",
                maps.dependencies.len() as u64,
                MAX_DEPENDENCIES.into(),
            ),
        ]);
    }
}

impl<K: Pod + Eq + Hash, V: Pod + PartialEq> Rows<K, V> {
    pub(super) fn of(map: Map) -> anyhow::Result<Self> {
        Ok(Self {
            map: map.try_into()?,
            last: HashMap::new(),
        })
    }

    /// Where room is short, the quiet ones go; what something `waits` in is quiet for a reason.
    pub(super) fn read(&mut self, capacity: u32, waits: impl Fn(&K, &V) -> bool) -> HashMap<K, V> {
        let mut rows: HashMap<K, V> = self.map.iter().flatten().collect();
        for key in quiet(&rows, &self.last, capacity) {
            if rows.get(&key).is_some_and(|row| waits(&key, row)) {
                continue;
            }
            // Already gone is as good.
            let _gone = self.map.remove(&key);
            rows.remove(&key);
        }
        self.last.clone_from(&rows);
        rows
    }
}
