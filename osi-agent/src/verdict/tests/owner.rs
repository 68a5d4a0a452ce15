//! Who owns the listener that a finding is about.

use super::builder::{CLIENT, World, finding, listener, mib, near, state};
use super::tables::datagrams;
use crate::host::workload::Workload;
use crate::scope::Process;
use crate::snapshot::{Mib, Owner, Snapshot};
use crate::verdict::{FaultMap, FindingState};

const CAUSE: &str = "accept_queue_overflow";

fn process(pid: u32, comm: &str) -> Process {
    Process {
        pid,
        start_time: 1,
        comm: comm.to_owned(),
        cgroup: None,
        workload: Workload::of(&format!("/docker/{}", "0123456789abcdef".repeat(4))),
    }
}

/// The listener overflows, and this is known of its owner.
fn overflow(owner: Option<Owner>) -> impl FnOnce(&mut Snapshot) {
    move |s: &mut Snapshot| {
        let full = listener(near(1), 80, 2, 1);
        s.owners.of = owner
            .map(|owner| (full.inode, owner.into()))
            .into_iter()
            .collect();
        state(s, CLIENT).listeners.rows = vec![full];
        mib(s, CLIENT, Mib::ListenOverflows, 1);
    }
}

/// What is said of an owner.
fn told(opened_by: Option<u32>, held_by: &[u32]) -> FaultMap {
    let owner = Owner {
        opened_by: opened_by.map(|pid| process(pid, "nginx")),
        held_by: held_by.iter().map(|pid| process(*pid, "web")).collect(),
        processes: (!held_by.is_empty()).then_some(held_by.len() as u32),
        ..Owner::default()
    };
    World::new().window(overflow(Some(owner)))
}

fn assert_says(map: &FaultMap, words: &str) {
    let summary = &finding(map, CAUSE).summary;
    assert!(summary.ends_with(words), "{summary}");
    assert_eq!(&map.verdict.summary, summary);
}

#[test]
fn an_owner_is_named_as_far_as_it_is_certain() {
    let opened = "The listener was opened by nginx (pid 7, container 0123456789ab)";
    assert_says(&told(Some(7), &[]), &format!("{opened}."));
    assert_says(&told(Some(7), &[7]), &format!("{opened}."));
    assert_says(
        &told(Some(7), &[7, 8, 9]),
        &format!("{opened} and is shared by 3 processes."),
    );
    // Socket activation, or the master has ended.
    assert_says(
        &told(Some(7), &[9]),
        &format!("{opened} and is held by web (pid 9, container 0123456789ab)."),
    );
    assert_says(
        &told(None, &[9]),
        "The listener is held by web (pid 9, container 0123456789ab).",
    );
    assert_says(
        &told(None, &[8, 9]),
        "The listener is held by web (pid 8, container 0123456789ab) and 1 more.",
    );
}

#[test]
fn who_serves_is_named_apart_from_who_opened_it() {
    let served = |held_by: &[u32], served_by: &[u32]| {
        let owner = Owner {
            opened_by: Some(process(7, "nginx")),
            held_by: held_by.iter().map(|pid| process(*pid, "web")).collect(),
            processes: Some(held_by.len() as u32),
            served_by: served_by.iter().map(|pid| process(*pid, "web")).collect(),
            servers: Some(served_by.len() as u32),
        };
        World::new().window(overflow(Some(owner)))
    };
    let who = "web (pid 8, container 0123456789ab)";
    let shared = "and is shared by 3 processes";
    let map = served(&[7, 8, 9], &[8]);
    assert_says(&map, &format!("{shared}; {who} serves it."));
    let advice = |map: &FaultMap| map.verdict.advice[0].text.clone();
    assert!(advice(&map).contains(&format!("why {who} does not accept")));
    let map = served(&[7, 8, 9], &[8, 9]);
    assert_says(&map, &format!("{shared}; {who} and 1 more serve it."));
    let all = format!("why {who}, one of 2 that serve it, does not accept");
    assert!(advice(&map).contains(&all), "{}", advice(&map));
    // A process that was forked for a connection serves and accepts none.
    let map = served(&[7], &[8]);
    assert_says(&map, &format!("; {who} serves it."));
    assert!(advice(&map).contains("why web (pid 7"), "{}", advice(&map));
    // It says nothing new.
    assert_says(&served(&[8], &[8]), &format!("and is held by {who}."));
}

#[test]
fn an_unknown_owner_is_said_to_be_unknown() {
    let map = World::new().window(overflow(None));
    assert_says(&map, "The listener's owner is unknown.");
    assert_eq!(finding(&map, CAUSE).owner, None);
    let map = World::new().window(|s| {
        overflow(None)(s);
        s.owners.unread = 4;
    });
    assert_says(
        &map,
        "The listener's owner is unknown: 4 processes could not be looked into.",
    );
}

#[test]
fn advice_names_only_who_alone_can_accept() {
    let advice = |map: &FaultMap| map.verdict.advice[0].text.clone();
    assert!(advice(&told(Some(7), &[9])).contains("why web (pid 9"));
    assert!(advice(&told(Some(7), &[7, 9])).contains("why the application"));
    assert!(advice(&told(Some(7), &[])).contains("why the application"));
}

#[test]
fn a_socket_for_datagrams_is_named_by_who_holds_it() {
    let mut world = World::new();
    world.window(|s| datagrams(s, 0, 0));
    let map = world.windows(2, |s| datagrams(s, 5000, 11));
    let cause = "receive_buffer_overflow";
    let said = |map: &FaultMap| finding(map, cause).summary.clone();
    let unknown = said(&map);
    assert!(
        unknown.ends_with("The socket's owner is unknown."),
        "{unknown}"
    );
    let map = world.window(|s| {
        let owner = Owner {
            held_by: vec![process(9, "dnsmasq")],
            processes: Some(1),
            ..Owner::default()
        };
        let worst = state(s, CLIENT).datagram_sockets.rows[1].inode;
        s.owners.of.insert(worst, owner.into());
        datagrams(s, 5000, 11);
    });
    let who = "dnsmasq (pid 9, container 0123456789ab)";
    let known = said(&map);
    assert!(
        known.ends_with(&format!("The socket is held by {who}.")),
        "{known}"
    );
    let advice = &map.verdict.advice[0].text;
    assert!(
        advice.contains(&format!("why {who} does not read")),
        "{advice}"
    );
}

#[test]
fn an_owner_that_is_found_later_is_news_and_stays() {
    let owner = Owner {
        held_by: vec![process(9, "web")],
        processes: Some(1),
        ..Owner::default()
    };
    let mut world = World::new();
    world.window(overflow(None));
    let news = |map: &FaultMap| {
        map.changes
            .iter()
            .map(|found| found.state)
            .collect::<Vec<_>>()
    };
    assert_eq!(news(&world.window(overflow(None))), []);
    let map = world.window(overflow(Some(owner.clone())));
    assert_eq!(news(&map), [FindingState::Update]);
    assert_eq!(map.verdict.owner.as_ref(), Some(&owner));
    // The listener is closed, and its owner with it.
    let map = world.windows(3, |s| {
        s.owners.of.clear();
        state(s, CLIENT).listeners.clear();
    });
    assert_eq!(finding(&map, CAUSE).owner, Some(owner));
}
