//! Who owns which listener: what the programs saw at `listen()`, and what a walk through descriptors found.
//!
//! A walk costs a link per descriptor of the host, so it is asked for only when there is a question: once about listeners
//! that were there first, and again while connections wait in a queue, because workers come and go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use osi_common::opener::Opener;

use crate::host::cgroups::Cgroups;
use crate::host::holders::Holders;
use crate::host::processes::describe;
use crate::host::workload::Workload;
use crate::scope::Process;
use crate::snapshot::{Listener, Owners};
use crate::verdict::text::name;

/// A walk is not asked for more often.
const PAUSE_NS: u64 = 5_000_000_000;

/// Openers that are looked up in one window; those of the others follow.
const LOOKED_UP: usize = 256;

/// What is known of listeners, from window to window.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: Owners,
    /// Inodes that a walk was asked about.
    asked: HashSet<u32>,
    /// When the last walk was asked for.
    asked_ns: Option<u64>,
    /// Inodes that the next walk is to look for.
    wanted: Vec<u32>,
}

impl Registry {
    /// What the next pass of the helper is to find the holders of.
    pub(super) fn take_wanted(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.wanted)
    }

    /// Brings what is known up to the sockets that listen now.
    pub(super) fn follow<'a>(
        &mut self,
        listeners: impl Iterator<Item = &'a Listener>,
        openers: &HashMap<u32, Opener>,
        holders: Option<Holders>,
        now_ns: u64,
        cgroups: &mut Cgroups,
    ) -> Owners {
        let listeners: Vec<&Listener> = listeners.collect();
        let present: HashSet<u32> = listeners.iter().map(|listener| listener.inode).collect();
        // None at all: the reader was late, and what is known still holds.
        if !present.is_empty() {
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
            let owner = Arc::make_mut(self.known.of.entry(inode).or_default());
            owner.opened_by = Some(process);
        }
        if let Some(Holders { of, unread }) = holders {
            self.known.unread = unread;
            for (inode, held) in of.into_iter().filter(|(inode, _)| present.contains(inode)) {
                let owner = Arc::make_mut(self.known.of.entry(inode).or_default());
                (owner.held_by, owner.processes) = (held.processes, Some(held.count));
            }
        }
        self.ask(&listeners, now_ns);
        self.known.clone()
    }

    fn is_opened_by(&self, inode: u32, opener: &Opener) -> bool {
        let known = self.known.of.get(&inode);
        let process = known.and_then(|owner| owner.opened_by.as_ref());
        process.is_some_and(|process| process.pid == opener.pid)
    }

    fn ask(&mut self, listeners: &[&Listener], now_ns: u64) {
        let early = |at| now_ns.saturating_sub(at) < PAUSE_NS;
        if self.asked_ns.is_some_and(early) {
            return;
        }
        let has_question = |listener: &&&Listener| {
            let known = self.known.of.get(&listener.inode);
            let nameless = known.is_none() && !self.asked.contains(&listener.inode);
            // Half full: somebody may be about to ask who does not accept.
            nameless || (listener.queued > 0 && listener.queued >= listener.backlog / 2)
        };
        let wanted: Vec<u32> = listeners
            .iter()
            .filter(has_question)
            .map(|listener| listener.inode)
            .collect();
        if !wanted.is_empty() {
            self.asked_ns = Some(now_ns);
            self.asked.extend(&wanted);
            self.wanted = wanted;
        }
    }
}

/// The opener in words: as it is now if it still runs, else as the program saw it.
fn process(opener: &Opener, cgroups: &mut Cgroups) -> Process {
    let start_time = ticks(opener.started_ns);
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

/// A start time as `/proc/PID/stat` shows it.
fn ticks(started_ns: u64) -> u64 {
    let per_second = rustix::param::clock_ticks_per_second();
    (u128::from(started_ns) * u128::from(per_second) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::host::holders::Held;

    const SECOND: u64 = 1_000_000_000;

    fn listener(inode: u32, queued: u32) -> Listener {
        Listener {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 80,
            queued,
            backlog: 8,
            inode,
            uid: 0,
        }
    }

    fn opener(pid: u32) -> Opener {
        let mut comm = [0; 16];
        comm[..3].copy_from_slice(b"web");
        Opener {
            inode: 1,
            started_ns: 70_000_000,
            cgroup: 1,
            netns: 1,
            pid,
            comm,
        }
    }

    /// One window: what is known after it, and what is asked for.
    fn step(
        registry: &mut Registry,
        listeners: &[Listener],
        openers: &[(u32, u32)],
        holders: Option<Holders>,
        second: u64,
    ) -> (Owners, Vec<u32>) {
        let openers = openers.iter().map(|(inode, pid)| (*inode, opener(*pid)));
        let known = registry.follow(
            listeners.iter(),
            &openers.collect(),
            holders,
            second * SECOND,
            &mut Cgroups::new(None),
        );
        (known, registry.take_wanted())
    }

    #[test]
    fn an_opener_that_has_ended_stays_named_as_it_was() {
        let mut registry = Registry::default();
        let pid = u32::MAX - 1;
        let (known, wanted) = step(&mut registry, &[listener(1, 0)], &[(1, pid)], None, 1);
        let opened_by = known.of[&1].opened_by.as_ref().expect("an opener");
        assert_eq!((opened_by.pid, opened_by.comm.as_str()), (pid, "web"));
        assert!(opened_by.start_time > 0);
        assert!(wanted.is_empty(), "nobody asks for what is known");
    }

    #[test]
    fn another_process_with_its_id_is_not_taken_for_it() {
        let own = std::process::id();
        let (known, _) = step(
            &mut Registry::default(),
            &[listener(1, 0)],
            &[(1, own)],
            None,
            1,
        );
        let opened_by = known.of[&1].opened_by.as_ref().expect("an opener");
        // This process did not start 70 ms after boot.
        assert_eq!(
            (opened_by.start_time, opened_by.comm.as_str()),
            (ticks(70_000_000), "web")
        );
    }

    #[test]
    fn a_nameless_listener_is_asked_about_once() {
        let mut registry = Registry::default();
        let one = [listener(1, 0)];
        assert_eq!(step(&mut registry, &one, &[], None, 1).1, [1]);
        assert!(
            step(&mut registry, &one, &[], Some(Holders::default()), 2)
                .1
                .is_empty()
        );
        assert!(step(&mut registry, &one, &[], None, 60).1.is_empty());
        let two = [listener(1, 0), listener(2, 0)];
        assert_eq!(step(&mut registry, &two, &[], None, 61).1, [2]);
        let three = [listener(3, 0)];
        assert!(
            step(&mut registry, &three, &[], None, 62).1.is_empty(),
            "too soon"
        );
        assert_eq!(step(&mut registry, &three, &[], None, 66).1, [3]);
    }

    #[test]
    fn while_connections_wait_it_is_asked_again() {
        let mut registry = Registry::default();
        let full = [listener(1, 4)];
        assert_eq!(step(&mut registry, &full, &[(1, 7)], None, 1).1, [1]);
        let held = Held {
            processes: Vec::new(),
            count: 5,
        };
        let found = Holders {
            of: HashMap::from([(1, held.clone()), (9, held)]),
            unread: 3,
        };
        let (known, wanted) = step(&mut registry, &full, &[(1, 7)], Some(found), 2);
        assert_eq!((known.of[&1].processes, known.unread), (Some(5), 3));
        assert!(wanted.is_empty() && known.of.len() == 1);
        assert_eq!(step(&mut registry, &full, &[(1, 7)], None, 6).1, [1]);
        let quiet = [listener(1, 3)];
        assert!(
            step(&mut registry, &quiet, &[(1, 7)], None, 20)
                .1
                .is_empty()
        );
        let (known, _) = step(&mut registry, &[], &[(1, 7)], None, 21);
        assert_eq!(known.of.len(), 1, "a late reader makes nobody forget");
        let (known, _) = step(&mut registry, &[listener(2, 0)], &[(1, 7)], None, 22);
        assert!(known.of.is_empty(), "who is gone is forgotten");
    }
}
