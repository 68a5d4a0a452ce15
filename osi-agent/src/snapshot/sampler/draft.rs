//! Puts the readings of a pass together, and says what is missing.

use std::collections::BTreeMap;

use osi_common::layer::Layer;

use super::{HostSample, NAMESPACES, Pass};
use crate::host::namespaces::Handle;
use crate::scope::Netns;
use crate::snapshot::host::readers::{Filling, Group, READERS, Read, Reader};
use crate::snapshot::{Blind, HostState, NetnsState};

/// Layers that are read per namespace.
pub(super) const LAYERS: [Layer; 5] = [Layer::L1, Layer::L2, Layer::L3, Layer::L4, Layer::L5];

/// Namespaces that a sentence names before it counts the rest.
const NAMED_IN_REASONS: usize = 3;

/// A sample in the making.
pub(super) struct Draft<'a> {
    handles: &'a [Handle],
    states: Vec<NetnsState>,
    gone: Vec<bool>,
    host: HostState,
    /// Readers that have answered, per namespace and for the host: positions in [`READERS`].
    answered: Vec<[bool; MOST]>,
    /// Rows of `answered` by what failed there and why.
    failed: BTreeMap<(Failed, String), Vec<usize>>,
}

/// What failed: a reader, by its position in [`READERS`], the rows of it beyond its bound, or the way into a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Failed {
    Reader(usize),
    Rest(usize),
    Entry,
}

/// The most readers that there may be.
const MOST: usize = 32;

const _: () = assert!(READERS.len() <= MOST);

impl<'a> Draft<'a> {
    /// An empty sample of these namespaces.
    pub(super) fn new(handles: &'a [Handle]) -> Self {
        Self {
            handles,
            states: handles
                .iter()
                .map(|handle| NetnsState::unread(&handle.netns))
                .collect(),
            gone: vec![false; handles.len()],
            host: HostState::default(),
            answered: vec![[false; MOST]; handles.len() + 1],
            failed: BTreeMap::new(),
        }
    }

    /// Takes a reading of the namespace at `place`, begun at `read_ns`.
    pub(super) fn namespace(
        &mut self,
        place: usize,
        reader: &Reader,
        read_ns: u64,
        result: Result<Filling<NetnsState>, String>,
    ) {
        let omitted = result.map(|found| found.apply(&mut self.states[place], read_ns));
        self.note(place, reader, omitted);
    }

    /// Takes a reading of the host, begun at `read_ns`.
    pub(super) fn host(
        &mut self,
        reader: &Reader,
        read_ns: u64,
        result: Result<Filling<HostState>, String>,
    ) {
        let omitted = result.map(|found| found.apply(&mut self.host, read_ns));
        // The host's row is the one after those of the namespaces.
        self.note(self.handles.len(), reader, omitted);
    }

    /// Notes that a reader has answered: how many rows were beyond its bound, or why it could not read.
    fn note(&mut self, row: usize, reader: &Reader, omitted: Result<u64, String>) {
        let position = READERS
            .iter()
            .position(|other| std::ptr::eq(other, reader))
            .unwrap_or_default();
        self.answered[row][position] = true;
        match omitted {
            Ok(0) => {}
            Ok(omitted) => {
                let why = format!("{omitted} rows or more are beyond what is kept");
                self.fail(Failed::Rest(position), why, row);
            }
            Err(why) => self.fail(Failed::Reader(position), why, row),
        }
    }

    fn fail(&mut self, what: Failed, why: String, row: usize) {
        let rows = self.failed.entry((what, why)).or_default();
        if !rows.contains(&row) {
            rows.push(row);
        }
    }

    /// Notes that the namespace at `place` could not be entered: gone, or why.
    pub(super) fn not_entered(&mut self, place: usize, group: Group, why: Option<String>) {
        for (position, _) in READERS
            .iter()
            .enumerate()
            .filter(|(_, reader)| reader.group == group)
        {
            self.answered[place][position] = true;
        }
        match why {
            Some(why) => self.fail(Failed::Entry, why, place),
            None => self.gone[place] = true,
        }
    }

    /// Namespaces that are not there any more.
    pub(super) fn gone(&self) -> impl Iterator<Item = &'a Netns> {
        let handles = self.handles;
        self.gone
            .iter()
            .zip(handles)
            .filter(|(gone, _)| **gone)
            .map(|(_, handle)| &handle.netns)
    }

    /// The sample, with everything blind that has not answered.
    pub(super) fn finish(mut self, pass: &Pass) -> HostSample {
        self.miss(pass);
        let live = self.gone.iter().filter(|gone| !**gone).count();
        let mut blind = Vec::new();
        for ((what, why), rows) in &self.failed {
            let namespaces: Vec<_> = rows
                .iter()
                .filter(|row| self.gone.get(**row) == Some(&false))
                .collect();
            let namespaces: Vec<_> = namespaces
                .into_iter()
                .map(|row| &self.handles[*row])
                .collect();
            let of_host = rows.contains(&self.handles.len());
            if namespaces.is_empty() && !of_host {
                continue;
            }
            let (layers, what) = match *what {
                Failed::Entry => (
                    LAYERS.as_slice(),
                    format!("{NAMESPACES}: {}", names(&namespaces)),
                ),
                Failed::Rest(position) => (
                    READERS[position].layers,
                    format!("rest of {} in {}", READERS[position].id, names(&namespaces)),
                ),
                // By its bare id a reader is blind as a whole.
                Failed::Reader(position) if of_host || namespaces.len() == live => {
                    (READERS[position].layers, READERS[position].id.to_owned())
                }
                Failed::Reader(position) => (
                    READERS[position].layers,
                    format!("{} in {}", READERS[position].id, names(&namespaces)),
                ),
            };
            blind.extend(layers.iter().map(|layer| Blind {
                layer: *layer,
                what: what.clone(),
                why: why.clone(),
            }));
        }
        if live == 0 {
            let why = "the network namespace that is watched does not exist any more";
            blind.extend(LAYERS.map(|layer| Blind {
                layer,
                what: NAMESPACES.to_owned(),
                why: why.to_owned(),
            }));
        }
        self.note_missed();
        let mut gone = self.gone.into_iter();
        self.states.retain(|_| !gone.next().unwrap_or(false));
        HostSample {
            namespaces: self.states,
            host: self.host,
            blind,
            holders: None,
        }
    }

    /// Tells each namespace what was not read of it.
    fn note_missed(&mut self) {
        let is_of_namespaces = |reader: &&Reader| matches!(reader.read, Read::Namespace { .. });
        for ((what, _), rows) in &self.failed {
            let readers = match *what {
                Failed::Reader(position) => &READERS[position..=position],
                Failed::Entry => READERS,
                Failed::Rest(_) => continue,
            };
            for row in rows {
                if let Some(state) = self.states.get_mut(*row) {
                    let readers = readers.iter().filter(is_of_namespaces);
                    state
                        .missed
                        .extend(readers.map(|reader| reader.id.to_owned()));
                }
            }
        }
    }

    /// Notes every reader that has not answered in time.
    fn miss(&mut self, pass: &Pass) {
        for (position, reader) in READERS.iter().enumerate() {
            let stuck = pass
                .stuck
                .iter()
                .find(|(group, _)| *group == reader.group)
                .map(|(_, why)| why.clone());
            let why =
                stuck.unwrap_or_else(|| format!("timed out: no answer within {:?}", pass.length));
            let rows = match reader.read {
                Read::Host { .. } => self.handles.len()..=self.handles.len(),
                Read::Namespace { .. } if self.handles.is_empty() => continue,
                Read::Namespace { .. } => 0..=self.handles.len() - 1,
            };
            for row in rows {
                let gone = self.gone.get(row).copied().unwrap_or(false);
                if !gone && !self.answered[row][position] {
                    self.fail(Failed::Reader(position), why.clone(), row);
                }
            }
        }
    }
}

/// `red, blue and 3 more`.
fn names(namespaces: &[&Handle]) -> String {
    let name = |handle: &&Handle| {
        let netns = &handle.netns;
        netns
            .name
            .clone()
            .unwrap_or_else(|| format!("net:[{}]", netns.inode))
    };
    let text = namespaces
        .iter()
        .take(NAMED_IN_REASONS)
        .map(name)
        .collect::<Vec<_>>()
        .join(", ");
    match namespaces.len().saturating_sub(NAMED_IN_REASONS) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
