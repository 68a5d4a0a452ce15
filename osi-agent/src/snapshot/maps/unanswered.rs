//! Exchanges that the agent takes out because nobody answers them: counted and shown as the programs count and show failures.

use std::collections::HashMap;

use osi_common::occurrence::{Count, Key, Kind, SAMPLES_PER_EPOCH, Sample};
use osi_common::wire::{Ends, NAME_BYTES};

/// Those of one protocol.
pub(super) struct Unanswered {
    kind: Kind,
    code: u32,
    /// In all, by namespace.
    counts: HashMap<Key, u64>,
    /// Examples since they were last fetched.
    pub(super) examples: Vec<Sample>,
}

impl Unanswered {
    /// None yet; they are counted under this kind and code.
    pub(super) fn new(kind: Kind, code: u32) -> Self {
        Self {
            kind,
            code,
            counts: HashMap::new(),
            examples: Vec::new(),
        }
    }

    /// One more, which was given up at this moment (boot time).
    pub(super) fn note(&mut self, ends: &Ends, at_ns: u64, name: [u8; NAME_BYTES]) {
        let key = Key {
            kind: self.kind as u32,
            code: self.code,
            netns: ends.server.netns,
            ifindex: 0,
            location: 0,
        };
        *self.counts.entry(key).or_default() += 1;
        if (self.examples.len() as u64) < SAMPLES_PER_EPOCH {
            self.examples.push(Sample {
                at_ns,
                key,
                cgroup: 0,
                started_ns: 0,
                pid: 0,
                ethertype: 0,
                family: ends.server.family,
                local: ends.client,
                remote: ends.server.address,
                sender: [0; 16],
                local_port: ends.client_port,
                remote_port: ends.server.port,
                protocol: ends.transport.into(),
                established: 0,
                comm: [0; 16],
                name,
            });
        }
    }

    /// Adds them to what the programs counted, under the same keys where they do.
    pub(super) fn add_to(&self, occurrences: &mut HashMap<Key, Count>) {
        for (key, count) in &self.counts {
            occurrences.entry(*key).or_default().count += count;
        }
    }
}
