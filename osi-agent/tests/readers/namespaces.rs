//! Which namespaces are read, under which identity, and what happens when they go.

use std::fs;
use std::process::Command;
use std::time::Duration;

use osi_agent::host::namespaces::{Handle, NetnsScope, Registry, resolve};
use osi_agent::snapshot::NetnsState;
use osi_agent::snapshot::sampler::{HostSample, Sampler};

use crate::pair::{DEADLINE, Pair, run, sampler};

#[test]
fn every_namespace_is_read_and_none_is_kept() {
    need_root!("every_namespace_is_read_and_none_is_kept");
    let pair = Pair::new();
    // A namespace without a name lives as long as its process.
    let mut unnamed = Command::new("unshare")
        .args(["-n", "sleep", "60"])
        .spawn()
        .expect("unshare");
    let inode = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let link = fs::read_link(format!("/proc/{}/ns/net", unnamed.id())).ok()?;
        (link != fs::read_link("/proc/self/ns/net").ok()?)
            .then(|| link.to_string_lossy().into_owned())
    });
    let inode = inode.expect("namespace of the process");
    let mut sampler = sampler("all");
    let sample = sampler.sample(DEADLINE);
    let named = |name: &str| {
        sample
            .namespaces
            .iter()
            .find(|state| state.netns.name.as_deref() == Some(name))
    };
    assert_eq!(sample.namespaces[0].netns.name.as_deref(), Some("host"));
    assert_eq!(named(&pair.a).map(|state| state.links.len()), Some(2));
    let without_name = |state: &&NetnsState| inode == format!("net:[{}]", state.netns.inode);
    let found = sample
        .namespaces
        .iter()
        .find(without_name)
        .expect("namespace of a process");
    assert_eq!((found.netns.name.as_deref(), found.links.len()), (None, 1));
    let unnamed_netns = found.netns.clone();

    // The sampler lives, but nothing of the namespace is held: its veth goes with it, and so does the peer.
    unnamed.kill().expect("kill");
    unnamed.wait().expect("wait");
    run(&format!("ip netns del {}", pair.a));
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        !run(&format!("ip -n {} -o link", pair.b)).contains("vb")
    });
    assert!(gone);
    let sample = sampler.sample(DEADLINE);
    assert!(
        !sample
            .namespaces
            .iter()
            .any(|state| state.netns.name.as_deref() == Some(&pair.a))
    );
    assert!(
        !sample
            .namespaces
            .iter()
            .any(|state| state.netns == unnamed_netns)
    );
    run(&format!("ip netns add {}", pair.a));
}

#[test]
fn a_reused_inode_is_another_namespace() {
    need_root!("a_reused_inode_is_another_namespace");
    let pair = Pair::new();
    let mut sampler = sampler("all");
    let of = |sample: &HostSample| {
        let find = |state: &&NetnsState| state.netns.name.as_deref() == Some(&pair.a);
        sample
            .namespaces
            .iter()
            .find(find)
            .map(|state| state.netns.clone())
    };
    let first = of(&sampler.sample(DEADLINE)).expect("namespace");
    if first.cookie == 0 {
        println!(
            "skipped: a_reused_inode_is_another_namespace: this kernel has no namespace cookies"
        );
        return;
    }
    run(&format!("ip netns del {}", pair.a));
    run(&format!("ip netns add {}", pair.a));
    // The inode may or may not be the same; within two passes the new namespace is there under its own identity.
    let second = of(&sampler.sample(DEADLINE))
        .or_else(|| of(&sampler.sample(DEADLINE)))
        .expect("namespace");
    assert_ne!(first, second);
    assert_ne!(first.cookie, second.cookie);
}

#[test]
fn the_one_watched_namespace_may_go_away() {
    need_root!("the_one_watched_namespace_may_go_away");
    let pair = Pair::new();
    let mut sampler = sampler(&pair.a);
    assert_eq!(sampler.sample(DEADLINE).namespaces.len(), 1);
    run(&format!("ip netns del {}", pair.a));
    let sample = sampler.sample(DEADLINE);
    assert_eq!(sample.namespaces.len(), 0);
    assert!(
        sample
            .blind
            .iter()
            .any(|blind| blind.why.contains("does not exist any more")),
        "{:?}",
        sample.blind
    );
    assert!(!sample.host.softnet.is_empty());
    run(&format!("ip netns add {}", pair.a));
}

#[test]
fn namespaces_are_found_by_name_path_and_process() {
    need_root!("namespaces_are_found_by_name_path_and_process");
    let pair = Pair::new();
    let one = |spec: &str| match resolve(spec).expect(spec) {
        NetnsScope::One(Handle { netns, path: _ }) => netns,
        NetnsScope::All => panic!("{spec} is one"),
    };
    let by_name = one(&pair.a);
    assert_eq!(by_name, one(&format!("/run/netns/{}", pair.a)));
    assert_eq!(by_name.name.as_deref(), Some(pair.a.as_str()));
    assert_eq!(one("current"), one(&format!("pid:{}", std::process::id())));
    assert_ne!(by_name, one(&pair.b));
    let error = resolve("osir-nothing")
        .expect_err("no such namespace")
        .to_string();
    assert!(
        error.contains(&pair.a) && error.contains(&pair.b),
        "{error}"
    );
    let mut registry = Registry::new(NetnsScope::All).expect("registry");
    assert!(
        registry
            .refresh()
            .iter()
            .any(|handle| handle.netns == by_name)
    );
}

#[test]
fn what_is_late_is_blind_and_its_answer_is_dropped() {
    let mut sampler = Sampler::spawn(resolve("current").expect("current")).expect("sampler");
    let sample = sampler.sample(Duration::ZERO);
    assert!(
        sample
            .blind
            .iter()
            .all(|blind| blind.why.starts_with("timed out")),
        "{:?}",
        sample.blind
    );
    for reader in [
        "links",
        "qdiscs",
        "routes",
        "neighbours",
        "addresses",
        "mibs",
        "listeners",
        "ports",
        "conntrack",
        "sockstat",
    ] {
        assert!(
            sample.blind.iter().any(|blind| blind.what == reader),
            "{reader}"
        );
    }
    let sample = sampler.sample(DEADLINE);
    assert!(
        !sample
            .blind
            .iter()
            .any(|blind| blind.why.starts_with("timed out")),
        "{:?}",
        sample.blind
    );
    assert!(sample.namespaces[0].links.iter().any(|link| link.loopback));
}
