//! What one application does not read is felt in buffers, and in the memory of the host.

use super::builder::{CLIENT, SERVER, World, finding, mib, namespace, open, root, state, traffic};
use super::l7_application::{MS, serve, unread};
use super::tables::{datagrams, memory};
use crate::host::workload::Workload;
use crate::scope::Process;
use crate::snapshot::{Mib, Owner, Snapshot};
use crate::verdict::FaultMap;

/// Segments that find no room in a namespace.
fn pruned(s: &mut Snapshot, inode: u32) {
    traffic(s, inode, 5000);
    mib(s, inode, Mib::PruneCalled, 100);
    mib(s, inode, Mib::RcvPruned, 20);
}

/// Both are open, and the second is the first one's symptom, or a root beside it.
fn assert_explains(map: &FaultMap, fault: &str, felt: &str, explains: bool) {
    assert_eq!(open(map), [fault, felt]);
    let by = explains.then(|| finding(map, fault).id.clone());
    let by: Vec<_> = by.into_iter().collect();
    assert_eq!(finding(map, felt).explained_by, by);
    if explains {
        assert_eq!(root(map), fault);
    }
    assert_eq!(map.verdict.other_roots.len(), usize::from(!explains));
}

#[test]
fn who_does_not_read_or_is_slow_explains_segments_without_room_in_its_namespace() {
    for (inode, explains) in [(CLIENT, true), (SERVER, false)] {
        let mut world = World::new();
        world.window(|s| s.namespaces.push(namespace(SERVER, "other")));
        world.windows(6, |s| serve(s, 100, MS, 10 * MS));
        let map = world.windows(2, |s| {
            serve(s, 100, MS, 300 * MS);
            pruned(s, inode);
        });
        assert_explains(
            &map,
            "application_slow",
            "receive_buffer_overflow",
            explains,
        );
        let mut world = World::new();
        world.window(|s| {
            s.namespaces.push(namespace(SERVER, "other"));
            serve(s, 10, MS, MS);
        });
        let map = world.windows(2, |s| {
            unread(s, 7, 1);
            pruned(s, inode);
        });
        assert_explains(
            &map,
            "application_stalled",
            "receive_buffer_overflow",
            explains,
        );
    }
}

#[test]
fn who_does_not_read_explains_datagrams_that_the_same_process_does_not_take() {
    let process = |pid| Process {
        pid,
        start_time: 1,
        comm: "dns".to_owned(),
        cgroup: None,
        workload: Workload::default(),
    };
    let owner = |held_by: &[u32], served_by: &[u32]| Owner {
        held_by: held_by.iter().copied().map(process).collect(),
        processes: Some(held_by.len() as u32),
        served_by: served_by.iter().copied().map(process).collect(),
        servers: Some(served_by.len() as u32),
        ..Owner::default()
    };
    // Process 1 opens sockets for others, as an init does.
    let cases = [
        (owner(&[9], &[]), true),
        (owner(&[1], &[]), true),
        (owner(&[1, 8], &[8]), false),
        (owner(&[1, 9], &[9]), true),
        (owner(&[1], &[8]), false),
        (owner(&[1, 8], &[]), false),
    ];
    for (listener, explains) in cases {
        let mut world = World::new();
        world.window(|s| {
            serve(s, 10, MS, MS);
            datagrams(s, 0, 0);
        });
        let map = world.windows(2, |s| {
            unread(s, 7, 1);
            datagrams(s, 100, 50);
            let owners = [(7, listener.clone()), (2, owner(&[1, 9], &[]))];
            s.owners.of = owners
                .map(|(inode, owner)| (inode, owner.into()))
                .into_iter()
                .collect();
        });
        assert_explains(
            &map,
            "application_stalled",
            "receive_buffer_overflow",
            explains,
        );
    }
}

#[test]
fn who_does_not_read_explains_the_hosts_memory_where_its_data_is_much_of_it() {
    for (pages, explains) in [(240, true), (230, false)] {
        let mut world = World::new();
        world.window(|s| serve(s, 10, MS, MS));
        let map = world.windows(2, |s| {
            memory(s, 955);
            unread(s, 7, pages);
        });
        assert_explains(&map, "application_stalled", "tcp_memory_pressure", explains);
        let map = world.window(|s| {
            memory(s, 10);
            serve(s, 10, MS, MS);
            state(s, CLIENT).sessions.rows.clear();
        });
        assert_explains(&map, "application_stalled", "tcp_memory_pressure", explains);
    }
}
