//! What the kernel counts without examples: slow handshakes, full accept queues.

use osi_common::handshake::{PeerKey, PeerRecord};

use super::{EventKind, WEB, quiet, told};
use crate::snapshot::{Listener, Mib};

#[test]
fn slow_handshakes_are_told_by_peer_and_the_last_peer_carries_the_rest() {
    let (previous, mut now) = quiet();
    for (last, slow) in [(1, 1), (2, 9), (3, 4), (4, 2), (5, 3)] {
        let mut record = PeerRecord::ZERO;
        record.outcomes.connected = slow + 5;
        (0..slow).for_each(|_| record.times.record(300_000_000));
        (0..5).for_each(|_| record.times.record(90_000_000));
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 0, 0, last]);
        let key = PeerKey {
            netns: WEB,
            family: libc::AF_INET as u16,
            port: 443,
            address,
        };
        now.kernel.peers.insert(key, record);
    }
    let events = told(&previous, &now, true);
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let flow = event.flow.as_ref().expect("a peer");
            (event.kind, flow.dst.as_deref(), flow.dport, event.count)
        })
        .collect();
    let row = |peer, count| (EventKind::HandshakeSlow, Some(peer), Some(443), count);
    assert_eq!(
        told,
        [
            row("10.0.0.2", 9),
            row("10.0.0.3", 4),
            row("10.0.0.5", 3),
            row("10.0.0.4", 2 + 1)
        ]
    );
}

#[test]
fn an_overflow_names_its_listener_where_there_is_one_only() {
    let overflowed = |listeners: &[(u16, u32)]| {
        let (mut previous, mut now) = quiet();
        previous.namespaces[0].mibs.set(Mib::ListenOverflows, 5);
        now.namespaces[0].mibs.set(Mib::ListenOverflows, 12);
        now.namespaces[0].listeners.rows = listeners
            .iter()
            .map(|(port, queued)| Listener {
                address: [0, 0, 0, 0].into(),
                port: *port,
                queued: *queued,
                backlog: 1,
                inode: 0,
                uid: 0,
            })
            .collect();
        let events = told(&previous, &now, true);
        let [event] = events.as_slice() else {
            panic!("one event, not {events:?}")
        };
        assert_eq!((event.kind, event.count), (EventKind::AcceptOverflow, 7));
        event.flow.as_ref().and_then(|flow| flow.sport)
    };
    assert_eq!(overflowed(&[(80, 2), (81, 1)]), Some(80));
    assert_eq!(overflowed(&[(80, 2), (80, 2)]), Some(80));
    assert_eq!(overflowed(&[(80, 2), (81, 2)]), None);
    assert_eq!(overflowed(&[(80, 0), (81, 1)]), None);
}
