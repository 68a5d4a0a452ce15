//! Two snapshots and the time between them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use osi_common::handshake::{Peer, PeerKey, PeerRecord};
use osi_common::histogram::Coarse;
use osi_common::listener::{ListenerKey, ListenerRecord};
use osi_common::occurrence::{Count, Key, Kind};

use super::Amount;
use super::drops::without_socket;
use crate::scope::{Netns, Scope};
use crate::snapshot::{
    Driver, Holder, HostState, InterfaceMaps, Link, Mib, NetnsState, Qdisc, Snapshot, Table,
};

/// Two snapshots and the time between them. Counters that went backwards (a reset, a reused index) count as not moved.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The window's start.
    pub previous: &'a Snapshot,
    /// The window's end.
    pub now: &'a Snapshot,
    /// Only one namespace is watched (`--netns NAME`): what belongs to the whole host is shown but is nobody's fault.
    pub single_netns: bool,
}

/// A row of a table that was read in the window, and what it was when its table was read before.
#[derive(Debug)]
pub struct Row<'a, T> {
    /// Its namespace.
    pub netns: &'a Netns,
    /// As it is.
    pub now: &'a T,
    /// As it was.
    pub before: &'a T,
    /// Time between the two readings, at least 1: longer than the window where a reader was late.
    pub elapsed_ns: u64,
}

impl<T> Row<'_, T> {
    /// A growth between the two readings as a rate per second.
    pub fn per_second(&self, delta: u64) -> f64 {
        per_second(delta, self.elapsed_ns)
    }
}

fn per_second(delta: u64, elapsed_ns: u64) -> f64 {
    delta as f64 * 1e9 / elapsed_ns as f64
}

/// What became of the connects to one peer in the window.
#[derive(Clone, Debug)]
pub struct PeerDelta {
    /// Namespace of the connecting side.
    pub netns: Netns,
    /// Destination address.
    pub address: IpAddr,
    /// Destination port.
    pub port: u16,
    /// Growth in the window. What a drop on this host ended as if the peer had refused (a rule that rejects) is among the other
    /// errors: it never came there.
    pub delta: Peer,
    /// Connects that wait at its end.
    pub waiting: u64,
    /// How long handshakes took that completed in it.
    pub times: Coarse,
}

/// What happened at one listening port in the window.
#[derive(Clone, Debug)]
pub struct ListenerDelta {
    /// Its namespace.
    pub netns: Netns,
    /// Local port.
    pub port: u16,
    /// SYNs that found no socket.
    pub refused: u64,
    /// Accepted connections that their clients reset while something was going on.
    pub sessions_reset: u64,
    /// Accepted connections that timed out.
    pub sessions_timed_out: u64,
    /// How long handshakes took that completed.
    pub times: Coarse,
}

impl<'a> Window<'a> {
    /// Length in nanoseconds, at least 1.
    pub fn elapsed_ns(&self) -> u64 {
        self.now
            .boot_ns
            .saturating_sub(self.previous.boot_ns)
            .max(1)
    }

    /// A growth in the window as a rate per second.
    pub fn per_second(&self, delta: u64) -> f64 {
        per_second(delta, self.elapsed_ns())
    }

    /// Every namespace with its state at the window's start, where it existed then.
    pub fn namespaces(
        &self,
    ) -> impl Iterator<Item = (&'a NetnsState, Option<&'a NetnsState>)> + use<'a> {
        let previous = &self.previous.namespaces;
        let all = self.now.namespaces.iter().enumerate();
        all.map(move |(at, now)| (now, same(previous, at, |old| old.netns == now.netns)))
    }

    /// The namespace with this inode, if it is in scope.
    pub fn netns(&self, inode: u32) -> Option<&'a Netns> {
        self.now
            .namespaces
            .iter()
            .map(|state| &state.netns)
            .find(|netns| netns.inode == inode)
    }

    /// The namespaces' links with their state when they were read before.
    pub fn links(&self) -> impl Iterator<Item = Row<'a, Link>> + use<'a> {
        self.rows(
            |state| &state.links,
            |before, link| before.iface == link.iface && before.iface.name == link.iface.name,
        )
    }

    /// The namespaces' drivers with their counters when they were read before.
    pub fn drivers(&self) -> impl Iterator<Item = Row<'a, Driver>> + use<'a> {
        self.rows(
            |state| &state.drivers,
            |before, driver| before.iface == driver.iface && before.name == driver.name,
        )
    }

    /// The namespaces' queueing disciplines with their state when they were read before.
    pub fn qdiscs(&self) -> impl Iterator<Item = Row<'a, Qdisc>> + use<'a> {
        self.rows(
            |state| &state.qdiscs,
            |before, qdisc| {
                let place = (before.handle, before.parent) == (qdisc.handle, qdisc.parent);
                place && before.iface == qdisc.iface && before.kind == qdisc.kind
            },
        )
    }

    /// The namespaces' neighbours that have answered, with who answered for them when they were read before.
    pub fn holders(&self) -> impl Iterator<Item = Row<'a, Holder>> + use<'a> {
        self.rows(
            |state| &state.holders,
            |before, holder| before.iface == holder.iface && before.address == holder.address,
        )
    }

    /// The rows of the tables that were read in this window, with what they were before, where they were there.
    fn rows<T: 'a>(
        &self,
        of: fn(&NetnsState) -> &Table<T>,
        is_same: fn(&T, &T) -> bool,
    ) -> impl Iterator<Item = Row<'a, T>> + use<'a, T> {
        self.namespaces()
            .filter_map(|(now, old)| old.map(|old| (now, old)))
            .flat_map(move |(state, old)| {
                let (table, old) = (of(state), of(old));
                let elapsed_ns = table.read_ns.saturating_sub(old.read_ns);
                // A table that no reader brought anew is the old one: it tells of no window.
                let new = table.iter().enumerate().filter(move |_| elapsed_ns > 0);
                new.filter_map(move |(at, now)| {
                    let before = same(old, at, |before| is_same(before, now))?;
                    Some(Row {
                        netns: &state.netns,
                        now,
                        before,
                        elapsed_ns,
                    })
                })
            })
    }

    /// Growth of an SNMP counter per namespace that has it.
    pub fn mib(&self, mib: Mib) -> impl Iterator<Item = (&'a Netns, u64)> + use<'a> {
        self.namespaces().filter_map(move |(now, old)| {
            let delta = now.mibs.get(mib)?.saturating_sub(old?.mibs.get(mib)?);
            Some((&now.netns, delta))
        })
    }

    /// Growth of an SNMP counter in one namespace; 0 when it is not kept or not known yet.
    pub fn mib_in(&self, netns: &Netns, mib: Mib) -> u64 {
        self.mib(mib)
            .find(|(found, _)| *found == netns)
            .map_or(0, |(_, delta)| delta)
    }

    /// Growth of every occurrence key of one kind, in namespaces in scope.
    pub fn occurrences(
        &self,
        kind: Kind,
    ) -> impl Iterator<Item = (&'a Netns, &'a Key, Count)> + use<'a> {
        let (previous, window) = (self.previous, *self);
        self.now
            .kernel
            .occurrences
            .iter()
            .filter(move |(key, _)| key.kind == kind as u32)
            .filter_map(move |(key, count)| {
                let netns = window.netns(key.netns)?;
                let before = previous
                    .kernel
                    .occurrences
                    .get(key)
                    .copied()
                    .unwrap_or_default();
                let delta = Count {
                    count: count.count.saturating_sub(before.count),
                    segments: count.segments.saturating_sub(before.segments),
                    sampled: 0,
                };
                (delta.count > 0).then_some((netns, key, delta))
            })
    }

    /// An SNMP counter as the rows of a signal.
    pub fn mib_rows(&self, mib: Mib) -> impl Iterator<Item = Amount> + use<'a> {
        self.mib(mib).map(|(netns, delta)| Amount {
            scope: Scope::netns(netns),
            delta,
        })
    }

    /// Several SNMP counters added up as the rows of a signal: one per namespace that has any of them.
    pub fn mib_sums(&self, mibs: &[Mib]) -> impl Iterator<Item = Amount> + use<'a> {
        let mut rows: BTreeMap<Netns, u64> = BTreeMap::new();
        for (netns, delta) in mibs.iter().flat_map(|mib| self.mib(*mib)) {
            *rows.entry(netns.clone()).or_default() += delta;
        }
        rows.into_iter().map(|(netns, delta)| Amount {
            scope: Scope::netns(&netns),
            delta,
        })
    }

    /// Occurrences of one kind with the wanted codes as the rows of a signal: one per namespace.
    pub fn occurrence_rows(
        &self,
        kind: Kind,
        wanted: fn(u32) -> bool,
    ) -> impl Iterator<Item = Amount> + use<'a> {
        let mut rows: BTreeMap<u32, Amount> = BTreeMap::new();
        for (netns, _, count) in self
            .occurrences(kind)
            .filter(|(_, key, _)| wanted(key.code))
        {
            let row = rows.entry(netns.inode).or_insert_with(|| Amount {
                scope: Scope::netns(netns),
                delta: 0,
            });
            row.delta += count.count;
        }
        rows.into_values()
    }

    /// How often something of this kind happened in one namespace.
    pub fn occurred_in(&self, netns: &Netns, kind: Kind) -> u64 {
        self.occurred_as(netns, kind, |_| true)
    }

    /// The same for some codes of the kind.
    pub fn occurred_as(&self, netns: &Netns, kind: Kind, wanted: fn(u32) -> bool) -> u64 {
        self.occurrences(kind)
            .filter(|(found, key, _)| *found == netns && wanted(key.code))
            .map(|(_, _, count)| count.count)
            .sum()
    }

    /// Growth of every peer's connect outcomes that moved, in the order of their keys.
    pub fn peers(&self) -> Vec<PeerDelta> {
        let before = &self.previous.kernel.peers;
        let before = |key| before.get(key).copied().unwrap_or_default();
        let rows = self.now.kernel.peers.iter();
        let mut moved: Vec<_> = rows
            .map(|(key, now)| (key, now, before(key)))
            .filter(|(_, now, before)| now.outcomes != before.outcomes)
            .collect();
        moved.sort_by_key(|(key, ..)| **key);
        let of_peer = |(key, now, before): (&PeerKey, &PeerRecord, PeerRecord)| {
            let mut delta = now.outcomes.since(&before.outcomes);
            let rejected = now.killed.since(&before.killed).dropped;
            let rejected = rejected.min(delta.refused);
            delta.refused -= rejected;
            delta.other += rejected;
            Some(PeerDelta {
                netns: self.netns(key.netns)?.clone(),
                address: peer_address(key),
                port: key.port,
                delta,
                waiting: now.outcomes.waiting(),
                times: now.times.since(&before.times),
            })
        };
        let moved = moved.into_iter().filter_map(of_peer);
        moved.filter(|peer| peer.delta != Peer::default()).collect()
    }

    /// Growth of every listening port's counts that moved, in the order of their keys.
    pub fn listeners(&self) -> Vec<ListenerDelta> {
        let before = &self.previous.kernel.listeners;
        let mut moved: Vec<_> = self
            .now
            .kernel
            .listeners
            .iter()
            .map(|(key, now)| {
                let before = before.get(key).copied().unwrap_or_default();
                (key, now.since(&before))
            })
            .filter(|(_, delta)| *delta != ListenerRecord::ZERO)
            .collect();
        moved.sort_by_key(|(key, _)| **key);
        let of_scope = |(key, delta): (&ListenerKey, ListenerRecord)| {
            Some(ListenerDelta {
                netns: self.netns(key.netns)?.clone(),
                port: u16::try_from(key.port).ok()?,
                refused: self.refused(key.netns, delta.refused),
                sessions_reset: delta.sessions_reset,
                sessions_timed_out: delta.sessions_timed_out,
                times: delta.times,
            })
        };
        moved.into_iter().filter_map(of_scope).collect()
    }

    /// SYNs that really found no socket. Before 5.17 the programs can not tell them from those that a packet filter dropped:
    /// there the function that looks for the socket must have dropped some, too. The two counts are read one after the other,
    /// so that they are not held against one another.
    fn refused(&self, inode: u32, counted: u64) -> u64 {
        let told = counted == 0 || !self.now.kernel.nameless;
        if told || without_socket(self, inode) > 0 {
            counted
        } else {
            0
        }
    }

    /// Whether a reader gave no answer in this window.
    pub fn is_unread(&self, reader: &str) -> bool {
        self.now.blind.iter().any(|row| row.what == reader)
    }

    /// Programs' counters per interface, with the window's start.
    pub fn interfaces(
        &self,
    ) -> impl Iterator<Item = (&'a InterfaceMaps, &'a InterfaceMaps)> + use<'a> {
        let previous = self.previous;
        self.now.kernel.interfaces.iter().filter_map(move |now| {
            let before = previous
                .kernel
                .interfaces
                .iter()
                .find(|old| old.netns == now.netns && old.attachment == now.attachment)?;
            Some((now, before))
        })
    }

    /// Host-wide resources at the window's end.
    pub fn host(&self) -> &'a HostState {
        &self.now.host
    }
}

/// The element that was `at` this place before, or wherever it is now: lists seldom change between windows.
fn same<T>(previous: &[T], at: usize, is_it: impl Fn(&T) -> bool) -> Option<&T> {
    previous
        .get(at)
        .filter(|old| is_it(old))
        .or_else(|| previous.iter().find(|old| is_it(old)))
}

/// `AF_INET6`, the same on every architecture.
const AF_INET6: u16 = 10;

/// The address in a peer key.
fn peer_address(key: &PeerKey) -> IpAddr {
    address(key.family, &key.address)
}

/// An address as the programs store it: IPv4 in the first four bytes.
pub fn address(family: u16, bytes: &[u8; 16]) -> IpAddr {
    if family == AF_INET6 {
        IpAddr::V6(Ipv6Addr::from(*bytes))
    } else {
        let [a, b, c, d, ..] = *bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}
