//! Other tables of L4 that fill, buffers that overflow, and what arrives damaged.

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, ETH0, World, drop_packets, far, finding, mib, near, open, pool, root, sample, state,
    traffic,
};
use crate::scope::{Proto, ScopeKind};
use crate::snapshot::{DatagramSocket, Gauge, Mib, Snapshot};
use crate::verdict::{FaultMap, Severity};

pub(super) fn severity(map: &FaultMap) -> Option<Severity> {
    map.open.first().map(|found| found.severity)
}

#[test]
fn a_full_time_wait_table_is_named_and_explains_no_exhausted_ports() {
    let mut world = World::new();
    let waiting = |used, skipped| {
        move |s: &mut Snapshot| {
            state(s, CLIENT).time_wait = Some(Gauge { used, limit: 100 });
            mib(s, CLIENT, Mib::TcpTimeWaitOverflow, skipped);
        }
    };
    assert_eq!(open(&world.windows(10, waiting(94, 10))), [""; 0]);
    assert_eq!(open(&world.window(waiting(95, 0))), [""; 0]);
    let map = world.window(waiting(95, 0));
    assert_eq!(root(&map), "time_wait_table_full");
    assert_eq!(severity(&map), Some(Severity::Warn));
    let map = world.window(|s| {
        waiting(100, 50)(s);
        state(s, CLIENT).pools = vec![pool(far(7), 443, 28_000, 27_000)];
    });
    // It frees ports.
    assert_eq!(
        open(&map),
        ["ephemeral_ports_exhausted", "time_wait_table_full"]
    );
    assert_eq!(
        (map.verdict.symptoms.len(), map.verdict.other_roots.len()),
        (0, 1)
    );
    assert!((5..=7).contains(&world.until_calm(|s| {
        waiting(0, 0)(s);
        state(s, CLIENT).pools.clear();
    })));
    // The count at the window's end may be low again.
    let map = World::new().windows(2, waiting(20, 11));
    assert_eq!(root(&map), "time_wait_table_full");
}

pub(super) fn memory(s: &mut Snapshot, used: u64) {
    s.host.tcp_memory = Some(Gauge { used, limit: 1000 });
    s.host.tcp_pressure = Some(700);
}

#[test]
fn memory_of_tcp_is_named_when_it_is_used_up() {
    let mut world = World::new();
    assert_eq!(open(&world.windows(10, |s| memory(s, 699))), [""; 0]);
    let map = world.windows(2, |s| memory(s, 700));
    assert_eq!(root(&map), "tcp_memory_pressure");
    assert_eq!(severity(&map), Some(Severity::Warn));
    let map = world.window(|s| memory(s, 950));
    assert_eq!(severity(&map), Some(Severity::Critical));
    let map = World::new().windows(2, |s| {
        memory(s, 500);
        mib(s, CLIENT, Mib::TcpMemoryPressures, 1);
        drop_packets(s, CLIENT, "PROTO_MEM", "tcp_data_queue", 4);
    });
    let found = finding(&map, "tcp_memory_pressure");
    assert_eq!(found.severity, Severity::Critical);
    assert!(found.summary.contains("4 segments"), "{}", found.summary);
    assert_eq!(found.scope.kind, ScopeKind::Host);
}

#[test]
fn memory_of_the_host_concerns_a_watched_namespace_only_where_it_is_hurt() {
    let mut world = World::new();
    world.single_netns = true;
    assert_eq!(open(&world.windows(5, |s| memory(s, 990))), [""; 0]);
    let map = world.windows(2, |s| {
        memory(s, 990);
        mib(s, CLIENT, Mib::TcpRcvQDrop, 1);
    });
    let found = finding(&map, "tcp_memory_pressure");
    assert_eq!(found.scope.kind, ScopeKind::Netns);
}

#[test]
fn resets_of_too_many_orphans_are_no_lack_of_memory() {
    let map = World::new().windows(5, |s| {
        memory(s, 100);
        s.host.orphans = Some(Gauge {
            used: 990,
            limit: 1000,
        });
        mib(s, CLIENT, Mib::TcpAbortOnMemory, 50);
    });
    assert_eq!(open(&map), [""; 0]);
}

fn socket(cookie: u64, port: u16, drops: u64) -> DatagramSocket {
    DatagramSocket {
        cookie,
        inode: cookie as u32,
        address: near(1),
        port,
        queued_bytes: 4096,
        buffer_bytes: 4608,
        drops,
    }
}

/// Datagrams taken, and dropped: by the socket on port 53 since its first reading, and by an old one long ago.
pub(super) fn datagrams(s: &mut Snapshot, taken: u64, dropped: u64) {
    mib(s, CLIENT, Mib::UdpInDatagrams, taken);
    mib(s, CLIENT, Mib::UdpRcvbufErrors, dropped);
    let now = s.boot_ns;
    let sockets = &mut state(s, CLIENT).datagram_sockets;
    let so_far = sockets.iter().find(|socket| socket.port == 53);
    let so_far = so_far.map_or(0, |socket| socket.drops);
    sockets.rows = vec![socket(1, 514, 1_000_000), socket(2, 53, so_far + dropped)];
    sockets.read_ns = now;
}

#[test]
fn a_program_that_reads_too_slowly_is_named_by_its_socket() {
    let mut world = World::new();
    world.window(|s| datagrams(s, 0, 0));
    assert_eq!(open(&world.window(|s| datagrams(s, 5000, 11))), [""; 0]);
    let map = world.window(|s| datagrams(s, 5000, 11));
    let found = finding(&map, "receive_buffer_overflow");
    assert_eq!(
        (found.scope.port, found.scope.proto, found.severity),
        (Some(53), Some(Proto::Udp), Severity::Warn)
    );
    assert!(
        found
            .summary
            .contains("UDP socket 10.0.0.1:53 in namespace client is full: 11 datagrams"),
        "{}",
        found.summary
    );
    let advice = format!("{:?}", map.verdict.advice);
    assert!(advice.contains("ss -Huanmp sport = :53"), "{advice}");
    // 10 of many, and more of very many, are every busy resolver's.
    for (taken, dropped) in [(1000, 10), (20_000, 20)] {
        let mut world = World::new();
        world.window(|s| datagrams(s, 0, 0));
        let map = world.windows(10, |s| datagrams(s, taken, dropped));
        assert_eq!(open(&map), [""; 0], "{dropped} of {taken}");
    }
}

#[test]
fn datagrams_are_lost_also_where_no_socket_is_shown() {
    let map = World::new().windows(2, |s| {
        mib(s, CLIENT, Mib::Udp6InDatagrams, 100);
        mib(s, CLIENT, Mib::Udp6RcvbufErrors, 100);
    });
    let found = finding(&map, "receive_buffer_overflow");
    assert_eq!(
        (found.scope.kind, found.scope.proto),
        (ScopeKind::Netns, Some(Proto::Udp))
    );
}

#[test]
fn segments_without_room_are_the_buffers_unless_the_host_is_short_of_memory() {
    let pruned = |used| {
        World::new().windows(2, |s| {
            traffic(s, CLIENT, 5000);
            mib(s, CLIENT, Mib::PruneCalled, 100);
            mib(s, CLIENT, Mib::RcvPruned, 20);
            memory(s, used);
        })
    };
    assert_eq!(open(&pruned(10)), ["receive_buffer_overflow"]);
    assert_eq!(open(&pruned(960)), ["tcp_memory_pressure"]);
    // Queues that are compacted and lose nothing are a bulk transfer's.
    let map = World::new().windows(10, |s| {
        traffic(s, CLIENT, 5000);
        mib(s, CLIENT, Mib::PruneCalled, 100);
    });
    assert_eq!(open(&map), [""; 0]);
}

#[test]
fn memory_of_tcp_explains_its_own_full_buffers_only() {
    let map = World::new().windows(3, |s| {
        traffic(s, CLIENT, 5000);
        mib(s, CLIENT, Mib::PruneCalled, 100);
        mib(s, CLIENT, Mib::RcvPruned, 20);
        memory(s, 750);
    });
    assert_eq!(
        open(&map),
        ["receive_buffer_overflow", "tcp_memory_pressure"]
    );
    assert_eq!(root(&map), "tcp_memory_pressure");
    assert_eq!(
        finding(&map, "receive_buffer_overflow").explained_by.len(),
        1
    );
    let map = World::new().windows(3, |s| {
        memory(s, 1000);
        datagrams(s, 100, 50);
    });
    let found = finding(&map, "receive_buffer_overflow");
    assert_eq!(found.explained_by.len(), 0);
}

#[test]
fn damaged_segments_are_named_with_their_interface() {
    let damaged = |received: u64, bad: u64| {
        move |s: &mut Snapshot| {
            traffic(s, CLIENT, received);
            mib(s, CLIENT, Mib::TcpInCsumErrors, bad);
            s.kernel
                .reasons
                .insert((9, 0), ("TCP_CSUM".into(), "tcp_v4_rcv".into()));
            let mut seen = sample(CLIENT, Kind::Drop, 9, (far(9), 443), (near(1), 40_000));
            seen.key.ifindex = ETH0;
            s.samples.push(seen);
        }
    };
    for (received, bad) in [(1000, 10), (110_001, 11)] {
        let map = World::new().windows(10, damaged(received, bad));
        assert_eq!(open(&map), [""; 0], "{bad} of {received}");
    }
    let map = World::new().windows(2, damaged(100_000, 11));
    let found = finding(&map, "checksum_errors");
    assert_eq!(
        (found.scope.kind, found.severity),
        (ScopeKind::Iface, Severity::Warn)
    );
    assert!(found.summary.contains("192.0.2.9"), "{}", found.summary);
    assert_eq!(found.evidence[1].signal, "TcpInCsumErrors");
}
