//! Reads what happened, and gives drops their names.

use std::collections::{HashMap, HashSet};

use osi_common::failure::{Failure, Killer};
use osi_common::occurrence::{Count, Key, Kind, MAX_KEYS};

use super::{Maps, quiet};
use crate::probe::Names;
use crate::snapshot::{DropKey, KernelMaps};

impl Maps {
    pub(super) fn read_occurrences(&mut self, names: &Names, maps: &mut KernelMaps) {
        let mut keys: HashMap<Key, Count> = HashMap::new();
        for (key, shares) in self.occurrences.iter().flatten() {
            let mut total = Count::default();
            shares.iter().for_each(|share| total.merge(share));
            keys.insert(key, total);
        }
        let name = |key: &Key| {
            let function = names.function(key.location);
            DropKey {
                reason: names.drop_reason(key.code, &function),
                function,
                netns: key.netns,
            }
        };
        let mut quiet = quiet(&keys, &self.last_keys, MAX_KEYS);
        // Several keys may be one row by name: a row goes as a whole, or its total would go backwards.
        let moving: HashSet<DropKey> = if quiet.is_empty() {
            HashSet::new()
        } else {
            let going: HashSet<Key> = quiet.iter().copied().collect();
            keys.keys()
                .filter(|key| is_drop(key) && !going.contains(*key))
                .map(name)
                .collect()
        };
        quiet
            .retain(|key| key.code != Key::OTHER && !(is_drop(key) && moving.contains(&name(key))));
        for key in &quiet {
            // Already gone is as good.
            let _gone = self.occurrences.remove(key);
            keys.remove(key);
        }
        for (key, total) in &keys {
            if is_drop(key) {
                let row = name(key);
                maps.reasons.insert(
                    (key.code, key.location),
                    (row.reason.clone(), row.function.clone()),
                );
                maps.drops.entry(row).or_default().merge(total);
                continue;
            }
            if let Some(dropped) = drop_of(key) {
                let DropKey {
                    reason, function, ..
                } = name(&dropped);
                maps.reasons
                    .insert((dropped.code, dropped.location), (reason, function));
            }
            maps.occurrences.insert(*key, *total);
        }
        self.last_keys = keys;
    }
}

fn is_drop(key: &Key) -> bool {
    key.kind == Kind::Drop as u32
}

/// The drop that ended a connect, as drops are keyed.
fn drop_of(key: &Key) -> Option<Key> {
    let failure = Failure::of(key.code);
    let is_it = key.kind == Kind::ConnectFailed as u32 && failure.killer == Killer::Dropped;
    is_it.then_some(Key {
        code: failure.reason,
        ..*key
    })
}
