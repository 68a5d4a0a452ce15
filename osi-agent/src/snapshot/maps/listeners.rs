//! Tells the programs which ports are listened on.

use std::collections::{HashMap, HashSet};

use osi_common::listener::{ListenerKey, ListenerRecord, MAX_LISTENERS};

use super::Maps;
use crate::snapshot::NetnsState;

/// `BPF_NOEXIST`: make an element, replace none.
const BPF_NOEXIST: u64 = 1;

impl Maps {
    /// What happened at every port that is or was listened on.
    pub fn listeners(&self) -> HashMap<ListenerKey, ListenerRecord> {
        self.listeners.iter().flatten().collect()
    }

    /// Makes a row for every port that is listened on, so that the programs need make none for ports that are not. Where there
    /// is no room for all, ports of the past go first; what still finds none is counted by the programs.
    pub fn know_listeners(&mut self, namespaces: &[NetnsState]) {
        let now: HashSet<ListenerKey> = namespaces
            .iter()
            .flat_map(|state| {
                state.listeners.iter().map(|listener| ListenerKey {
                    netns: state.netns.inode,
                    port: listener.port.into(),
                })
            })
            .collect();
        let known: HashSet<ListenerKey> = self.listeners.keys().flatten().collect();
        let new: Vec<_> = now.difference(&known).collect();
        if known.len() + new.len() > MAX_LISTENERS as usize {
            for key in known.difference(&now) {
                // Already gone is as good.
                let _gone = self.listeners.remove(key);
            }
        }
        for key in new {
            // Somebody accepted meanwhile, or there is no room: either way nothing more can be done.
            let _refused = self
                .listeners
                .insert(key, ListenerRecord::ZERO, BPF_NOEXIST);
        }
    }
}
