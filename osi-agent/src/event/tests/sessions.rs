//! Sessions that errors end, and who can open no more of them.

use osi_common::occurrence::{Key, Kind};

use super::{EventKind, WEB, counted, key, quiet, sample, told};
use crate::scope::Process;
use crate::snapshot::{Gauge, HostState, OpenFiles};

fn closed(errno: i32) -> Key {
    key(Kind::Closed, errno.unsigned_abs(), WEB)
}

#[test]
fn only_errors_that_end_sessions_are_events() {
    let (previous, mut now) = quiet();
    let farewell = Key {
        location: 1,
        ..closed(libc::ECONNRESET)
    };
    let mixed = Key::other(Kind::Closed as u32, WEB);
    for (key, count) in [
        (closed(0), 70),
        (farewell, 7),
        (mixed, 5),
        (closed(libc::ETIMEDOUT), 3),
    ] {
        now.kernel.occurrences.insert(key, counted(count));
    }
    now.samples = vec![sample(closed(libc::ETIMEDOUT), 1_100)];
    let events = told(&previous, &now, true);
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.errno.as_deref(), event.count))
        .collect();
    let aborted = |count| (EventKind::SessionAborted, Some("ETIMEDOUT"), count);
    assert_eq!(told, [aborted(3)]);
    assert_eq!(events[0].layer, "L5");
    let flow = events[0].flow.as_ref().expect("sampled");
    assert_eq!(
        (flow.dst.as_deref(), flow.dport),
        (Some("10.0.0.9"), Some(443))
    );
}

fn host(used: u64, files: u64) -> HostState {
    let process = Process {
        pid: 4711,
        start_time: 99,
        comm: "nginx".to_owned(),
        cgroup: None,
        workload: crate::host::workload::Workload::default(),
    };
    HostState {
        open_files: vec![OpenFiles {
            process,
            netns: WEB,
            used,
            limit: 32,
        }],
        files: Some(Gauge {
            used: files,
            limit: 1000,
        }),
        ..HostState::default()
    }
}

#[test]
fn the_last_descriptor_is_told_once() {
    let (mut previous, mut now) = quiet();
    let mut told = |before, after| {
        (previous.host, now.host) = (before, after);
        let events = told(&previous, &now, true);
        let row = |event: &super::Event| {
            assert_eq!(event.kind, EventKind::FdExhausted);
            let pid = event.process.as_ref().map(|process| process.pid);
            (event.errno.clone().unwrap_or_default(), pid)
        };
        events.iter().map(row).collect::<Vec<_>>()
    };
    let of_process = ("EMFILE".to_owned(), Some(4711));
    let of_host = ("ENFILE".to_owned(), None);
    assert_eq!(told(host(20, 10), host(31, 999)), []);
    assert_eq!(
        told(host(31, 999), host(32, 999)),
        std::slice::from_ref(&of_process)
    );
    assert_eq!(
        told(host(32, 999), host(33, 1000)),
        std::slice::from_ref(&of_host)
    );
    assert_eq!(told(host(33, 1000), host(32, 1000)), []);
    assert_eq!(
        told(HostState::default(), host(40, 1000)),
        [of_process, of_host]
    );
}
