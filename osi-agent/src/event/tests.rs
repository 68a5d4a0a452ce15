//! Hand-made windows.

use std::sync::Arc;

use osi_common::failure::{Failure, Killer};
use osi_common::icmp;
use osi_common::occurrence::{Count, Key, Kind, Phase, Sample};
use osi_common::wire::NAME_BYTES;

use super::{Clock, Event, EventKind, Names, events};
use crate::layer::Window;
use crate::scope::{Iface, Netns};
use crate::snapshot::{
    DropKey, Link, LinkStats, Neighbour, Neighbours, NetnsState, Snapshot, Table,
};

mod counted;

mod sessions;

const WEB: u32 = 4_026_532_001;

fn link(carrier: bool, carrier_changes: u64) -> Link {
    Link {
        iface: Iface {
            ifindex: 2,
            name: "eth0".to_owned(),
        },
        kind: None,
        admin_up: true,
        carrier,
        loopback: false,
        promiscuity: 0,
        master: None,
        carrier_changes,
        speed_bits_per_s: None,
        stated_bits_per_s: None,
        full_duplex: None,
        best: None,
        fdb: None,
        xdp_program: None,
        stats: LinkStats::default(),
    }
}

fn namespace(link: Link, unresolved: Vec<Neighbour>) -> NetnsState {
    NetnsState {
        netns: Netns {
            inode: WEB,
            cookie: 9,
            name: Some("web".to_owned()),
            ..Netns::default()
        },
        links: Table {
            read_ns: 1,
            rows: vec![link],
        },
        neighbours: Neighbours {
            entries_v4: 0,
            entries_v6: 0,
            unresolved,
        },
        ..NetnsState::default()
    }
}

fn neighbour(last: u8, failed: bool, updated_ns: u64) -> Neighbour {
    let iface = Iface {
        ifindex: 2,
        name: "eth0".to_owned(),
    };
    Neighbour {
        address: [10, 0, 0, last].into(),
        iface,
        failed,
        used_ns: 0,
        updated_ns,
    }
}

fn snapshot(boot_ns: u64, mut state: NetnsState) -> Snapshot {
    state.links.read_ns = boot_ns;
    Snapshot {
        boot_ns,
        namespaces: vec![state],
        ..Snapshot::default()
    }
}

fn key(kind: Kind, code: u32, netns: u32) -> Key {
    Key {
        kind: kind as u32,
        code,
        netns,
        ifindex: 0,
        location: 0,
    }
}

fn counted(count: u64) -> Count {
    Count {
        count,
        segments: count,
        sampled: 0,
    }
}

fn sample(key: Key, at_ns: u64) -> Sample {
    let mut comm = [0; 16];
    comm[..5].copy_from_slice(b"cu\nrl");
    let mut remote = [0; 16];
    remote[..4].copy_from_slice(&[10, 0, 0, 9]);
    Sample {
        at_ns,
        key,
        cgroup: 7,
        started_ns: 70_000_000_000,
        pid: 4711,
        ethertype: 0,
        family: libc::AF_INET as u16,
        local: [0; 16],
        remote,
        sender: [0; 16],
        local_port: 0,
        remote_port: 443,
        protocol: libc::IPPROTO_TCP as u16,
        established: 0,
        comm,
        name: [0; NAME_BYTES],
    }
}

/// Names as a test has them; functions by address.
fn told(previous: &Snapshot, now: &Snapshot, limited: bool) -> Vec<Event> {
    let names = Names {
        clock: Clock { offset_ns: 0 },
        limited,
        cgroup: &|id| Some(format!("/system.slice/{id}")),
        drop_reason: &|code, _| {
            Arc::from(if code == 2 {
                "NETFILTER_DROP"
            } else {
                "QUEUE_PURGE"
            })
        },
        function: &|address| {
            Arc::from(if address == 1 {
                "nf_hook_slow"
            } else {
                "skb_release_data"
            })
        },
        reset_reason: &|_| None,
        slow_handshake_ns: 100_000_000,
    };
    events(
        &Window {
            previous,
            now,
            single_netns: false,
        },
        &names,
    )
}

fn quiet() -> (Snapshot, Snapshot) {
    let calm = || namespace(link(true, 1), Vec::new());
    (snapshot(1_000, calm()), snapshot(2_000, calm()))
}

#[test]
fn counts_add_up_to_what_the_kernel_counted() {
    let (mut previous, mut now) = quiet();
    let failure = Failure {
        errno: libc::EADDRNOTAVAIL.unsigned_abs(),
        killer: Killer::NoPort,
        reason: 0,
    };
    let exhausted = key(Kind::PortExhausted, failure.code(), WEB);
    previous.kernel.occurrences.insert(exhausted, counted(5));
    now.kernel.occurrences.insert(exhausted, counted(105));
    now.kernel
        .occurrences
        .insert(key(Kind::Retransmit, Phase::Data as u32, WEB), counted(3));
    now.samples = (0..6).map(|i| sample(exhausted, 1_100 + i)).collect();
    let events = told(&previous, &now, true);
    let counts: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.count))
        .collect();
    let port = EventKind::PortExhausted;
    assert_eq!(
        counts,
        [
            (port, 1),
            (port, 1),
            (port, 1),
            (port, 97),
            (EventKind::Retransmit, 3)
        ]
    );
    let first = &events[0];
    let actor = first.process.as_ref().expect("sampled");
    assert_eq!(
        actor.start_time,
        Some(70 * rustix::param::clock_ticks_per_second())
    );
    assert_eq!(
        (actor.pid, actor.comm.as_str(), actor.cgroup.as_deref()),
        (4711, "cu\\u{a}rl", Some("/system.slice/7"))
    );
    let flow = first.flow.as_ref().expect("sampled");
    assert_eq!(
        (flow.dst.as_deref(), flow.dport, flow.sport),
        (Some("10.0.0.9"), Some(443), None)
    );
    assert_eq!(
        (first.errno.as_deref(), first.at.as_str()),
        (Some("EADDRNOTAVAIL"), "1970-01-01T00:00:00.000001100Z")
    );
    let ended = |event: &Event| {
        let killed_by = event.killed_by.as_ref()?;
        Some((killed_by.layer.clone()?, killed_by.what.clone()))
    };
    assert_eq!(ended(first), Some(("L4".to_owned(), "no_port".to_owned())));
    assert_eq!(ended(&events[4]), None);
    assert_eq!(
        (events[4].reason.as_deref(), &events[4].flow),
        (Some("data"), &None)
    );
}

#[test]
fn benign_drops_and_fragments_are_no_events() {
    let (previous, mut now) = quiet();
    let dropped = |reason: &str, function: &str| DropKey {
        reason: reason.into(),
        function: function.into(),
        netns: WEB,
    };
    now.kernel
        .drops
        .insert(dropped("NETFILTER_DROP", "nf_hook_slow"), counted(7));
    now.kernel
        .drops
        .insert(dropped("NETFILTER_DROP", "skb_release_data"), counted(70));
    now.kernel
        .drops
        .insert(dropped("QUEUE_PURGE", "tcp_v4_destroy_sock"), counted(700));
    let at = |location| Key {
        ifindex: 2,
        location,
        ..key(Kind::Drop, 2, WEB)
    };
    now.samples = vec![sample(at(1), 1_500), sample(at(2), 1_600)];
    let events = told(&previous, &now, true);
    let [event] = events.as_slice() else {
        panic!("one event, not {events:?}")
    };
    assert_eq!(
        (event.kind, event.count, event.layer.as_str()),
        (EventKind::Drop, 7, "L3")
    );
    assert_eq!(
        (event.class.as_deref(), event.function.as_deref()),
        (Some("policy"), Some("nf_hook_slow"))
    );
    assert_eq!(
        event.iface.as_ref().map(|iface| iface.name.as_str()),
        Some("eth0")
    );
}

#[test]
fn a_connect_that_drops_ended_names_reason_layer_and_function() {
    let (previous, mut now) = quiet();
    let failure = Failure {
        errno: 0,
        killer: Killer::Dropped,
        reason: 2,
    };
    let dropped = Key {
        location: 1,
        ..key(Kind::ConnectFailed, failure.code(), WEB)
    };
    now.kernel.occurrences.insert(dropped, counted(3));
    let events = told(&previous, &now, true);
    let [event] = events.as_slice() else {
        panic!("one event, not {events:?}")
    };
    let killed_by = event.killed_by.as_ref().expect("a killer");
    assert_eq!(
        (killed_by.layer.as_deref(), killed_by.what.as_str()),
        (Some("L3"), "NETFILTER_DROP")
    );
    assert_eq!(
        (event.reason.as_deref(), event.errno.as_deref(), event.count),
        (Some("abandoned"), None, 3)
    );
}

#[test]
fn an_unknown_namespace_is_out_of_a_limited_scope_only() {
    let (previous, mut now) = quiet();
    now.kernel
        .occurrences
        .insert(key(Kind::ConnectFailed, 111, 77), counted(2));
    assert!(told(&previous, &now, true).is_empty());
    let all = told(&previous, &now, false);
    assert_eq!(
        (all[0].netns.as_ref(), all[0].count, all[0].errno.as_deref()),
        (None, 2, Some("ECONNREFUSED"))
    );
}

#[test]
fn an_icmp_error_names_its_sender_and_the_packet_that_it_answers() {
    let (previous, mut now) = quiet();
    let host_unreachable = icmp::number(false, 3, 1).expect("an error");
    let received = Key {
        ifindex: 2,
        ..key(Kind::IcmpErrorReceived, host_unreachable, WEB)
    };
    now.kernel.occurrences.insert(received, counted(3));
    let mut sender = [0; 16];
    sender[..4].copy_from_slice(&[10, 0, 0, 254]);
    let pid = 0;
    now.samples = vec![Sample {
        sender,
        pid,
        ..sample(received, 1_200)
    }];
    let events = told(&previous, &now, true);
    let [event] = events.as_slice() else {
        panic!("one event, not {events:?}")
    };
    assert_eq!(
        (event.kind, event.count, event.layer.as_str()),
        (EventKind::IcmpErrorReceived, 3, "L3")
    );
    assert_eq!(
        (event.reason.as_deref(), event.sender.as_deref()),
        (Some("host_unreachable"), Some("10.0.0.254"))
    );
    let flow = event.flow.as_ref().expect("sampled");
    assert_eq!(
        (flow.dst.as_deref(), flow.dport),
        (Some("10.0.0.9"), Some(443))
    );
    assert_eq!(
        event.iface.as_ref().map(|iface| iface.name.as_str()),
        Some("eth0")
    );
}

#[test]
fn a_neighbour_fails_once() {
    let state = |entry| namespace(link(true, 1), vec![entry]);
    let (fresh, old) = (
        snapshot(1_000, state(neighbour(9, false, 5))),
        snapshot(2_000, state(neighbour(9, true, 100))),
    );
    let later = snapshot(3_000, state(neighbour(9, true, 1_100)));
    let again = snapshot(4_000, state(neighbour(9, true, 50)));
    assert_eq!(told(&fresh, &old, true).len(), 1);
    assert_eq!(told(&old, &later, true).len(), 0);
    assert_eq!(told(&later, &again, true).len(), 1);
}

#[test]
fn links_that_come_and_go_within_a_window_are_told() {
    let state = |carrier, changes| namespace(link(carrier, changes), Vec::new());
    let up = snapshot(1_000, state(true, 1));
    for (now, reason, count) in [
        (state(false, 2), "carrier_lost", 1),
        (state(true, 5), "flapped", 4),
    ] {
        let events = told(&up, &snapshot(2_000, now), true);
        assert_eq!(
            (events[0].reason.as_deref(), events[0].count),
            (Some(reason), count)
        );
    }
    assert!(told(&up, &snapshot(2_000, state(true, 1)), true).is_empty());
}
