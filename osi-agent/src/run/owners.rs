//! Who owns which socket: what the programs saw at `listen()`, and what a walk through descriptors found.
//!
//! A walk costs a link per descriptor of the host, so it is asked for only when there is a question: once about listeners
//! that were there first, and again while connections wait in a queue or a finding is open, because workers come and go. Who
//! serves a listener is asked for only while a finding is open on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use osi_common::opener::Opener;

use crate::host::boot::start_time;
use crate::host::cgroups::Cgroups;
use crate::host::holders::{Held, SocketHolder};
use crate::host::processes::describe;
use crate::host::workload::Workload;
use crate::layer::l4_transport::buffers;
use crate::scope::{Process, Scope, ScopeKind};
use crate::snapshot::{Holders, NetnsState, Owner, Owners, Wanted};
use crate::verdict::FaultMap;
use crate::verdict::text::name;

/// A walk is not asked for more often.
const PAUSE_NS: u64 = 5_000_000_000;

/// Openers that are looked up in one window; those of the others follow.
const LOOKED_UP: usize = 256;

/// A socket that may be asked about.
#[derive(Debug)]
struct Socket {
    inode: u32,
    /// It takes connections; others take datagrams.
    listens: bool,
    /// Half full: somebody may be about to ask who does not accept, or read.
    is_filling: bool,
    /// A finding is open on it.
    is_disputed: bool,
}

/// What is known of owners, from window to window.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: Owners,
    /// Inodes that a walk was asked about.
    asked: HashSet<u32>,
    /// When the last walk was asked for.
    asked_ns: Option<u64>,
    /// What the next walk is to look for.
    wanted: Wanted,
    /// What open findings are about.
    disputed: HashSet<Scope>,
}

impl Registry {
    /// What the next pass of the helper is to find the holders of.
    pub(super) fn take_wanted(&mut self) -> Wanted {
        std::mem::take(&mut self.wanted)
    }

    /// Notes which sockets findings are open on, after a window.
    pub(super) fn note_findings(&mut self, map: &FaultMap) {
        let scopes = map.open.iter().map(|finding| &finding.scope);
        let of_sockets = scopes.filter(|scope| scope.kind == ScopeKind::Listener);
        self.disputed = of_sockets.cloned().collect();
    }

    /// Brings what is known up to the sockets that there are now.
    pub(super) fn follow(
        &mut self,
        namespaces: &[NetnsState],
        openers: &HashMap<u32, Opener>,
        holders: Option<Holders>,
        now_ns: u64,
        cgroups: &mut Cgroups,
    ) -> Owners {
        let sockets: Vec<Socket> = namespaces
            .iter()
            .flat_map(|state| self.sockets(state))
            .collect();
        let present: HashSet<u32> = sockets.iter().map(|socket| socket.inode).collect();
        // Where a reader was late, what is known still holds.
        if namespaces.iter().all(|state| state.listeners.is_read()) {
            self.known.of.retain(|inode, _| present.contains(inode));
            self.asked.retain(|inode| present.contains(inode));
        }
        let new = openers
            .iter()
            .filter(|(inode, _)| present.contains(inode))
            .filter(|(inode, opener)| !self.is_opened_by(**inode, opener))
            .take(LOOKED_UP);
        let new: Vec<_> = new
            .map(|(inode, opener)| (*inode, process(opener, cgroups)))
            .collect();
        for (inode, process) in new {
            self.owner(inode).opened_by = Some(process);
        }
        if let Some(Holders {
            held,
            served,
            unread,
        }) = holders
        {
            self.known.unread = unread;
            // Where nobody was found it stays as it was.
            let is_told =
                |(inode, held): &(u32, Held)| present.contains(inode) && held.processes > 0;
            for (inode, held) in held.into_iter().filter(is_told) {
                let owner = self.owner(inode);
                (owner.held_by, owner.processes) = named(held);
            }
            for (inode, held) in served.into_iter().filter(is_told) {
                let owner = self.owner(inode);
                (owner.served_by, owner.servers) = named(held);
            }
        }
        self.ask(&sockets, now_ns);
        self.known.clone()
    }

    fn owner(&mut self, inode: u32) -> &mut Owner {
        Arc::make_mut(self.known.of.entry(inode).or_default())
    }

    fn sockets(&self, state: &NetnsState) -> impl Iterator<Item = Socket> {
        let is_disputed = |scope: &dyn Fn() -> Scope| {
            // A finding may be about a port, whatever its addresses.
            !self.disputed.is_empty() && {
                let scope = scope();
                self.disputed.iter().any(|open| open.covers(&scope))
            }
        };
        let listeners = state.listeners.iter().map(move |listener| Socket {
            inode: listener.inode,
            listens: true,
            is_filling: listener.queued > 0 && listener.queued >= listener.backlog / 2,
            is_disputed: is_disputed(&|| {
                Scope::listener(&state.netns, listener.address, listener.port)
            }),
        });
        let datagrams = state.datagram_sockets.iter().map(move |socket| Socket {
            inode: socket.inode,
            listens: false,
            is_filling: socket.queued_bytes >= socket.buffer_bytes / 2,
            is_disputed: is_disputed(&|| buffers::scope(&state.netns, socket)),
        });
        listeners.chain(datagrams)
    }

    fn is_opened_by(&self, inode: u32, opener: &Opener) -> bool {
        let known = self.known.of.get(&inode);
        let process = known.and_then(|owner| owner.opened_by.as_ref());
        process.is_some_and(|process| process.pid == opener.pid)
    }

    fn ask(&mut self, sockets: &[Socket], now_ns: u64) {
        let early = |at| now_ns.saturating_sub(at) < PAUSE_NS;
        if self.asked_ns.is_some_and(early) {
            return;
        }
        let has_question = |socket: &&Socket| {
            let inode = socket.inode;
            let nameless = !self.known.of.contains_key(&inode) && !self.asked.contains(&inode);
            // Of sockets that take datagrams, most are nobody's concern.
            let is_new = nameless && (socket.listens || socket.is_filling);
            is_new || (socket.listens && socket.is_filling) || socket.is_disputed
        };
        let asked: Vec<&Socket> = sockets.iter().filter(has_question).collect();
        let served = asked
            .iter()
            .filter(|socket| socket.listens && socket.is_disputed);
        let wanted = Wanted {
            served: served.map(|socket| socket.inode).collect(),
            held: asked.iter().map(|socket| socket.inode).collect(),
        };
        if !wanted.held.is_empty() {
            self.asked_ns = Some(now_ns);
            self.asked.extend(&wanted.held);
            self.wanted = wanted;
        }
    }
}

/// Those that a walk named, in the order of their ids, and how many there are.
fn named(held: Held) -> (Vec<Process>, Option<u32>) {
    let Held {
        holders, processes, ..
    } = held;
    let mut named: Vec<_> = holders
        .into_iter()
        .map(|SocketHolder { process, .. }| process)
        .collect();
    named.sort_by_key(|process| process.pid);
    (named, Some(processes))
}

/// The opener in words: as it is now if it still runs, else as the program saw it.
fn process(opener: &Opener, cgroups: &mut Cgroups) -> Process {
    let start_time = start_time(opener.started_ns).unwrap_or(0);
    let now = describe(opener.pid).filter(|process| process.start_time == start_time);
    now.unwrap_or_else(|| {
        let cgroup = cgroups.path(opener.cgroup);
        Process {
            pid: opener.pid,
            start_time,
            comm: name(&opener.comm),
            workload: cgroup.as_deref().map(Workload::of).unwrap_or_default(),
            cgroup,
        }
    })
}

#[cfg(test)]
mod tests;
