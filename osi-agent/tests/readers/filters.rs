//! Where nftables can drop packets, against what nft lists.

use std::net::UdpSocket;
use std::process::Command;

use osi_agent::host::namespaces::{NetnsScope, resolve};
use osi_agent::snapshot::Filters;
use osi_agent::snapshot::sampler::Sampler;

use crate::pair::{DEADLINE, Pair, run, state, within};

/// Returns from the test, saying so, where there is no nft.
macro_rules! need_nft {
    ($test:literal) => {
        need_root!($test);
        if Command::new("nft").arg("--version").output().is_err() {
            println!("skipped: {}: nft is not installed", $test);
            return;
        }
    };
}

/// The rule set of a namespace, asked for, and what of it is blind.
fn filters(name: &str) -> (Filters, Vec<String>) {
    let NetnsScope::One(handle) = resolve(name).expect(name) else {
        panic!("{name} is one namespace");
    };
    let inode = handle.netns.inode;
    let mut sampler = Sampler::spawn(NetnsScope::One(handle)).expect("sampler");
    sampler.read_rule_sets(vec![inode]);
    let mut sample = sampler.sample(DEADLINE);
    let blind = sample.blind.into_iter().map(|row| row.what).collect();
    (sample.namespaces.remove(0).filters, blind)
}

/// Runs nft's own language in a namespace.
fn nft(name: &str, rules: &str) {
    for command in rules.lines() {
        run(&format!("ip netns exec {name} nft {}", command.trim()));
    }
}

#[test]
fn places_that_can_drop_are_those_that_nft_lists() {
    need_nft!("places_that_can_drop_are_those_that_nft_lists");
    let pair = Pair::new();
    nft(
        &pair.b,
        "add table inet lab
         add counter inet lab hits
         add chain inet lab firewall { type filter hook input priority 0 ; policy drop ; }
         add chain inet lab more
         add rule inet lab firewall udp dport 9 counter drop
         add rule inet lab firewall udp dport 10 counter name hits drop
         add rule inet lab firewall counter udp dport 11 drop
         add rule inet lab firewall udp dport 12 reject
         add rule inet lab firewall udp dport vmap { 13 : drop, 14 : accept }
         add rule inet lab firewall udp dport 15 counter accept
         add rule inet lab firewall jump more
         add rule inet lab more ip saddr 192.0.2.1 log drop
         add table ip old
         add chain ip old postrouting { type filter hook postrouting priority 0 ; policy accept ; }",
    );
    within(&pair.a, || {
        let socket = UdpSocket::bind("10.99.0.1:0").expect("socket");
        for port in [9, 9, 9, 10, 10, 11] {
            socket.send_to(b"x", ("10.99.0.2", port)).expect("sent");
        }
    });
    let (found, blind) = filters(&pair.b);
    assert_eq!((blind, found.complete), (Vec::new(), true));
    let told: Vec<_> = found
        .places
        .iter()
        .map(|place| (place.to_string(), place.always, place.packets))
        .collect();
    // Handles are given in the order in which things are made, sets of verdict maps included.
    let listed = run(&format!("ip netns exec {} nft -a list ruleset", pair.b));
    let handle = |rule: &str| {
        let line = listed.lines().find(|line| line.contains(rule));
        let number = line.and_then(|line| line.rsplit(' ').next());
        number.expect(rule).to_owned()
    };
    let in_firewall = |rule: &str, always, packets| {
        let place = format!(
            "rule handle {} of chain firewall (hook input) in table inet lab",
            handle(rule)
        );
        (place, always, packets)
    };
    let policy = "the drop policy of chain firewall (hook input) in table inet lab";
    let more = format!(
        "rule handle {} of chain more in table inet lab",
        handle("192.0.2.1")
    );
    assert_eq!(
        told,
        [
            (policy.to_owned(), true, None),
            in_firewall("dport 9 ", true, Some(3)),
            in_firewall("dport 10 ", true, Some(2)),
            in_firewall("dport 11 ", true, None),
            in_firewall("dport 12 ", false, None),
            in_firewall("vmap", false, None),
            (more, true, None),
        ]
    );
    // Nobody reads it unasked.
    assert_eq!(state(&pair.b).filters.places.read_ns, 0);
}

#[test]
fn of_a_huge_rule_set_a_part_is_read_and_said_to_be() {
    need_nft!("of_a_huge_rule_set_a_part_is_read_and_said_to_be");
    let pair = Pair::new();
    let rules: Vec<_> = (1..=17_000)
        .map(|port| format!("udp dport {port} drop"))
        .collect();
    let rules = format!(
        "table inet lab {{\n chain drops {{\n{}\n}}\n}}\n",
        rules.join("\n")
    );
    let file = std::env::temp_dir().join(format!("osi-rules-{}", std::process::id()));
    std::fs::write(&file, rules).expect("written");
    nft(&pair.b, &format!("-f {}", file.display()));
    std::fs::remove_file(&file).expect("removed");
    let begun = std::time::Instant::now();
    let (found, blind) = filters(&pair.b);
    println!("17,000 rules took {:?}", begun.elapsed());
    let b = &pair.b;
    assert_eq!(blind, [format!("rest of filters in {b}")]);
    assert_eq!((found.places.len(), found.complete), (256, false));
}
