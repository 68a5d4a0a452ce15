//! A small world: one or two namespaces whose counters the tests move window by window.

use core::net::IpAddr;
use std::sync::Arc;

use osi_common::exchange::{Dependency, Requests, Span};
use osi_common::handshake::{Peer, PeerKey, PeerRecord};
use osi_common::listener::{ListenerKey, ListenerRecord};
use osi_common::occurrence::{Count, Key, Kind, Sample};
use osi_common::wire::NAME_BYTES;

use crate::layer::{Window, fold};
use crate::snapshot::{Mib, NetnsState, Snapshot};
use crate::verdict::{Circumstances, FaultMap, Finding, FindingState, History, judge};

pub(super) use super::rows::*;

/// A history and the snapshot that its last window ended with.
pub(super) struct World {
    pub(super) now: Snapshot,
    pub(super) history: History,
    pub(super) seq: u64,
    /// Readers and probes that do not work.
    pub(super) blind: Vec<&'static str>,
    pub(super) single_netns: bool,
    /// (cause, limit, value) of a configuration file.
    pub(super) limits: Vec<(&'static str, &'static str, f64)>,
}

pub(super) const CLIENT: u32 = 1;
pub(super) const SERVER: u32 = 2;
pub(super) const SECOND: u64 = 1_000_000_000;

impl World {
    /// A client namespace with one link, an on-link network and a default route, after one quiet window.
    pub(super) fn new() -> Self {
        let mut now = Snapshot {
            boot_ns: 100 * SECOND,
            ..Snapshot::default()
        };
        now.namespaces.push(namespace(CLIENT, "client"));
        let (history, blind, limits) = (History::default(), Vec::new(), Vec::new());
        let mut world = Self {
            now,
            history,
            seq: 0,
            blind,
            single_netns: false,
            limits,
        };
        world.window(|_| {});
        world
    }

    /// The next window: the change is what happens in it.
    pub(super) fn window(&mut self, change: impl FnOnce(&mut Snapshot)) -> FaultMap {
        let previous = self.now.clone();
        self.now.boot_ns += SECOND;
        self.now.samples.clear();
        stamp(&mut self.now);
        change(&mut self.now);
        self.seq += 1;
        let window = Window {
            previous: &previous,
            now: &self.now,
            single_netns: self.single_netns,
        };
        let blind = &self.blind;
        let map = fold(&window, &|feeder| {
            blind
                .contains(&feeder)
                .then(|| "not on this kernel".to_owned())
        });
        let at = format!("2026-01-01T00:{:02}:{:02}Z", self.seq / 60, self.seq % 60);
        let limits = |cause: &str, name: &str| {
            self.limits
                .iter()
                .find(|row| (row.0, row.1) == (cause, name))
                .map(|row| row.2)
        };
        let now = Circumstances {
            boot_id: "boot",
            seq: self.seq,
            at: &at,
            limits: &limits,
        };
        judge(&window, &map, &mut self.history, &now)
    }

    /// So many windows of the same; the last one's fault map.
    pub(super) fn windows(&mut self, count: u64, change: impl Fn(&mut Snapshot)) -> FaultMap {
        let mut last = self.window(&change);
        for _ in 1..count {
            last = self.window(&change);
        }
        last
    }

    /// Quiet windows until nothing is open, at most 30; how many it took.
    pub(super) fn until_calm(&mut self, change: impl Fn(&mut Snapshot)) -> u64 {
        (1..=30)
            .find(|_| self.window(&change).open.is_empty())
            .expect("calm within 30 windows")
    }
}

/// Every table is read anew.
fn stamp(snapshot: &mut Snapshot) {
    for state in &mut snapshot.namespaces {
        state.links.read_ns = snapshot.boot_ns;
        state.drivers.read_ns = snapshot.boot_ns;
        state.qdiscs.read_ns = snapshot.boot_ns;
        state.routes.read_ns = snapshot.boot_ns;
        state.holders.read_ns = snapshot.boot_ns;
        state.addresses.read_ns = snapshot.boot_ns;
        state.listeners.read_ns = snapshot.boot_ns;
    }
}

/// Causes of the open findings, sorted.
pub(super) fn open(map: &FaultMap) -> Vec<&str> {
    let mut causes: Vec<_> = map
        .open
        .iter()
        .map(|finding| finding.cause.as_str())
        .collect();
    causes.sort_unstable();
    causes
}

/// The open finding of a cause.
pub(super) fn finding<'a>(map: &'a FaultMap, cause: &str) -> &'a Finding {
    map.open
        .iter()
        .find(|finding| finding.cause == cause)
        .expect(cause)
}

/// The verdict's cause.
pub(super) fn root(map: &FaultMap) -> &str {
    map.verdict.cause.as_deref().unwrap_or("none")
}

/// Causes of the findings that were resolved in this window.
pub(super) fn resolved(map: &FaultMap) -> Vec<&str> {
    let over = map
        .changes
        .iter()
        .filter(|finding| finding.state == FindingState::Resolved);
    over.map(|finding| finding.cause.as_str()).collect()
}

pub(super) fn state(snapshot: &mut Snapshot, inode: u32) -> &mut NetnsState {
    snapshot
        .namespaces
        .iter_mut()
        .find(|state| state.netns.inode == inode)
        .expect("namespace")
}

/// Adds to an SNMP counter.
pub(super) fn mib(snapshot: &mut Snapshot, inode: u32, mib: Mib, more: u64) {
    let mibs = &mut state(snapshot, inode).mibs;
    mibs.set(mib, mibs.get(mib).unwrap_or(0) + more);
}

/// Adds packets of payload size to a link and its root queue, both directions.
pub(super) fn traffic(snapshot: &mut Snapshot, inode: u32, packets: u64) {
    let state = state(snapshot, inode);
    let (stats, queue) = (&mut state.links[0].stats, &mut state.qdiscs[0]);
    stats.rx_packets += packets;
    stats.tx_packets += packets;
    stats.rx_bytes += packets * 1000;
    stats.tx_bytes += packets * 1000;
    queue.packets += packets;
    queue.bytes += packets * 1000;
    for counter in [
        Mib::TcpOutSegs,
        Mib::TcpInSegs,
        Mib::IpInReceives,
        Mib::IpOutRequests,
    ] {
        mib(snapshot, inode, counter, packets);
    }
}

/// The connect outcomes of one peer.
pub(super) fn peer(snapshot: &mut Snapshot, inode: u32, address: IpAddr, port: u16) -> &mut Peer {
    &mut peer_record(snapshot, inode, address, port).outcomes
}

/// The same with the times of handshakes.
pub(super) fn peer_record(
    snapshot: &mut Snapshot,
    inode: u32,
    address: IpAddr,
    port: u16,
) -> &mut PeerRecord {
    let (family, bytes) = bytes(address);
    let key = PeerKey {
        netns: inode,
        family,
        port,
        address: bytes,
    };
    snapshot.kernel.peers.entry(key).or_default()
}

/// What happened at a listening port.
pub(super) fn listener_record(
    snapshot: &mut Snapshot,
    inode: u32,
    port: u16,
) -> &mut ListenerRecord {
    let port = u32::from(port);
    let key = ListenerKey { netns: inode, port };
    snapshot.kernel.listeners.entry(key).or_default()
}

/// What became of the requests at a listening port.
pub(super) fn requests(snapshot: &mut Snapshot, inode: u32, port: u16) -> &mut Requests {
    let port = u32::from(port);
    let key = ListenerKey { netns: inode, port };
    snapshot.kernel.requests.entry(key).or_default()
}

/// The waits for one peer.
pub(super) fn dependency(
    snapshot: &mut Snapshot,
    inode: u32,
    address: IpAddr,
    port: u16,
) -> &mut Dependency {
    let (family, bytes) = bytes(address);
    let key = PeerKey {
        netns: inode,
        family,
        port,
        address: bytes,
    };
    snapshot.kernel.dependencies.entry(key).or_default()
}

/// So many waits begin and end.
pub(super) fn complete(span: &mut Span, count: u64, ns: u64) {
    span.begun += count;
    span.ended += count;
    span.passed = span.begun;
    span.sum_ns += count * ns;
    (0..count).for_each(|_| span.times.record(ns));
}

/// So many waits have begun, the first of them then, and nothing has ended since.
pub(super) fn hang(span: &mut Span, count: u64, since_ns: u64) {
    span.begun = span.passed + count;
    span.since_ns = since_ns;
}

/// Counts occurrences.
pub(super) fn occur(snapshot: &mut Snapshot, inode: u32, kind: Kind, code: u32, more: u64) {
    let key = Key {
        kind: kind as u32,
        code,
        netns: inode,
        ifindex: 0,
        location: 0,
    };
    let count = snapshot.kernel.occurrences.entry(key).or_default();
    add(count, more);
}

/// Counts drops.
pub(super) fn drop_packets(
    snapshot: &mut Snapshot,
    inode: u32,
    reason: &str,
    function: &str,
    more: u64,
) {
    let key = crate::snapshot::DropKey {
        reason: Arc::from(reason),
        function: Arc::from(function),
        netns: inode,
    };
    add(snapshot.kernel.drops.entry(key).or_default(), more);
}

fn add(count: &mut Count, more: u64) {
    count.count += more;
    count.segments += more;
}

/// A sample of a connection's two ends.
pub(super) fn sample(
    inode: u32,
    kind: Kind,
    code: u32,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
) -> Sample {
    let ((family, local_bytes), (_, remote_bytes)) = (bytes(local.0), bytes(remote.0));
    let mut comm = [0; 16];
    comm[..4].copy_from_slice(b"curl");
    Sample {
        at_ns: 0,
        key: Key {
            kind: kind as u32,
            code,
            netns: inode,
            ifindex: 0,
            location: 0,
        },
        cgroup: 0,
        started_ns: 0,
        pid: 4242,
        ethertype: 0x0800,
        family,
        local: local_bytes,
        remote: remote_bytes,
        sender: [0; 16],
        local_port: local.1,
        remote_port: remote.1,
        protocol: 6,
        established: 0,
        comm,
        name: [0; NAME_BYTES],
    }
}

pub(super) fn bytes(address: IpAddr) -> (u16, [u8; 16]) {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            (2, bytes)
        }
        IpAddr::V6(v6) => (10, v6.octets()),
    }
}
