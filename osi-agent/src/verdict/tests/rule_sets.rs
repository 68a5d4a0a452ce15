//! Which rule or policy of nftables dropped what somebody misses, as far as counters and elimination tell.

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, ETH0, SECOND, World, drop_packets, far, finding, near, peer, sample, state,
};
use crate::snapshot::filter::Family;
use crate::snapshot::{DropPlace, Filters, Snapshot, Table};
use crate::verdict::FaultMap;

/// A rule in a chain that hangs on the hook for input.
fn rule(handle: u64, packets: Option<u64>) -> DropPlace {
    DropPlace {
        family: Family::Inet,
        table: "lab".to_owned(),
        chain: "drops".to_owned(),
        hook: Some("input".to_owned()),
        rule: Some(handle),
        always: true,
        packets,
    }
}

fn reject() -> DropPlace {
    DropPlace {
        always: false,
        ..rule(9, None)
    }
}

fn policy() -> DropPlace {
    DropPlace {
        chain: "firewall".to_owned(),
        rule: None,
        ..rule(0, None)
    }
}

/// The rule set was read at the end of this window.
fn read(s: &mut Snapshot, rows: Vec<DropPlace>) {
    let read_ns = s.boot_ns;
    state(s, CLIENT).filters = Filters {
        places: Table { read_ns, rows },
        complete: true,
    };
}

/// A function dropped ten packets of a connection that we try to make.
fn missed(s: &mut Snapshot, function: &'static str) {
    const NETFILTER: u32 = 8;
    let outcome = peer(s, CLIENT, far(7), 443);
    outcome.attempts += 1;
    outcome.syn_retransmits += 1;
    s.kernel
        .reasons
        .insert((NETFILTER, 0), ("NETFILTER_DROP".into(), function.into()));
    drop_packets(s, CLIENT, "NETFILTER_DROP", function, 10);
    let ends = ((far(7), 443), (near(1), 40_000));
    let mut sample = sample(CLIENT, Kind::Drop, NETFILTER, ends.0, ends.1);
    sample.key.ifindex = ETH0;
    s.samples.push(sample);
}

/// What is told of places in nftables: name, value and sentence of each row.
fn told(map: &FaultMap) -> Vec<(&str, f64, &str)> {
    let rows = finding(map, "packet_filtered").evidence.iter();
    rows.filter(|row| row.signal.starts_with("nft"))
        .map(|row| (row.signal.as_str(), row.value, row.why.as_str()))
        .collect()
}

fn names(map: &FaultMap) -> Vec<&str> {
    told(map).into_iter().map(|row| row.0).collect()
}

/// A window with drops and one reading.
fn once(function: &'static str, rows: Vec<DropPlace>) -> FaultMap {
    World::new().window(|s| {
        missed(s, function);
        read(s, rows);
    })
}

/// Two windows with drops and a reading each.
fn twice(before: Vec<DropPlace>, now: Vec<DropPlace>) -> FaultMap {
    let mut world = World::new();
    world.window(|s| {
        missed(s, "nft_do_chain");
        read(s, before);
    });
    world.window(|s| {
        missed(s, "nft_do_chain");
        read(s, now);
    })
}

#[test]
fn the_only_rule_that_can_drop_is_named_with_its_chain() {
    let map = once("nft_do_chain", vec![rule(7, None)]);
    let why = "dropped by rule handle 7 of chain drops (hook input) in table inet lab: nothing else in nftables can drop here";
    assert_eq!(told(&map), [("nft inet lab drops handle 7", 10.0, why)]);
    let advice = &map.verdict.advice[0];
    assert_eq!(
        advice.confirm,
        "ip netns exec client nft -a list chain inet lab drops"
    );
    assert!(advice.text.contains("handle 7"), "{}", advice.text);
    assert!(
        advice
            .change
            .ends_with("nft insert rule inet lab drops handle 7 MATCH accept"),
        "{}",
        advice.change
    );
}

#[test]
fn a_policy_that_drops_is_named_with_its_chain() {
    let map = once("nft_do_chain", vec![policy()]);
    let why = "dropped by the drop policy of chain firewall (hook input) in table inet lab: nothing else in nftables can drop here";
    assert_eq!(told(&map), [("nft inet lab firewall policy", 10.0, why)]);
    let advice = &map.verdict.advice[0];
    assert_eq!(
        advice.confirm,
        "ip netns exec client nft -a list chain inet lab firewall"
    );
    assert!(
        advice
            .change
            .ends_with("nft add rule inet lab firewall MATCH accept"),
        "{}",
        advice.change
    );
}

#[test]
fn the_one_counter_that_grew_names_its_rule() {
    let map = twice(
        vec![rule(7, Some(5)), rule(8, Some(5)), policy()],
        vec![rule(7, Some(5)), rule(8, Some(12)), policy()],
    );
    let why = "dropped by rule handle 8 of chain drops (hook input) in table inet lab";
    assert_eq!(told(&map), [("nft inet lab drops handle 8", 7.0, why)]);
}

/// Two strays that a counting rule dropped beside a hundred packets explain nothing.
#[test]
fn a_counter_that_explains_little_is_told_beside() {
    let strays = |others: Vec<DropPlace>| {
        let rules = |packets| [vec![rule(7, Some(packets))], others.clone()].concat();
        twice(rules(5), rules(7))
    };
    let map = strays(vec![policy()]);
    let why = "dropped by the drop policy of chain firewall (hook input) in table inet lab: all else in nftables that can drop here counts, and counted less";
    assert_eq!(told(&map), [("nft inet lab firewall policy", 8.0, why)]);
    let advice = &map.verdict.advice[0];
    assert!(
        advice.text.starts_with("Chain inet lab firewall"),
        "{advice:?}"
    );
    let map = strays(vec![policy(), rule(8, None)]);
    let why = "in nftables that can have dropped them; no counter tells which";
    assert_eq!(told(&map), [("nft_places", 2.0, why)]);
    let confirm = &map.verdict.advice[0].confirm;
    assert!(confirm.ends_with("nft list ruleset"), "{confirm}");
    for map in [&strays(vec![policy()]), &map] {
        let rows = &finding(map, "packet_filtered").evidence;
        let aside = rows
            .iter()
            .find(|row| row.signal == "beside nft inet lab drops handle 7");
        assert_eq!(aside.map(|row| row.value), Some(2.0), "{rows:?}");
    }
    // Where all count, the rest was dropped after they were read.
    assert_eq!(names(&strays(Vec::new())), ["nft inet lab drops handle 7"]);
    // A half is much.
    let map = twice(
        vec![rule(7, Some(5)), policy()],
        vec![rule(7, Some(10)), policy()],
    );
    assert_eq!(names(&map), ["nft inet lab drops handle 7"]);
}

#[test]
fn a_rule_that_came_meanwhile_counts_from_zero() {
    let map = twice(
        vec![rule(7, Some(5))],
        vec![rule(7, Some(5)), rule(8, Some(4))],
    );
    assert_eq!(names(&map), ["nft inet lab drops handle 8"]);
}

/// A change interrupted the first reading, which missed a rule that had counted for a year.
#[test]
fn a_rule_that_was_only_not_seen_did_not_begin_at_zero() {
    let again = |complete: bool| {
        let mut world = World::new();
        world.window(|s| {
            missed(s, "nft_do_chain");
            read(s, vec![rule(7, Some(5))]);
            state(s, CLIENT).filters.complete = complete;
        });
        world.window(|s| {
            missed(s, "nft_do_chain");
            read(s, vec![rule(7, Some(15)), rule(8, Some(1_000_000))]);
        })
    };
    assert_eq!(names(&again(false)), ["nft inet lab drops handle 7"]);
    let both = ["nft inet lab drops handle 8", "nft inet lab drops handle 7"];
    assert_eq!(names(&again(true)), both);
}

#[test]
fn three_of_several_that_grew_are_named_the_most_first() {
    let rules = |grown: u64| (1..=4).map(|n| rule(n, Some(n * grown))).collect();
    let map = twice(rules(1), rules(2));
    let said: Vec<_> = told(&map).iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(
        said,
        [
            ("nft inet lab drops handle 4", 4.0),
            ("nft inet lab drops handle 3", 3.0),
            ("nft inet lab drops handle 2", 2.0),
        ]
    );
}

#[test]
fn several_without_a_counter_are_counted() {
    let map = once("nft_do_chain", vec![rule(7, None), rule(8, None), policy()]);
    let why = "in nftables that can have dropped them; no counter tells which";
    assert_eq!(told(&map), [("nft_places", 3.0, why)]);
    let confirm = &map.verdict.advice[0].confirm;
    assert!(confirm.ends_with("nft list ruleset"), "{confirm}");
}

#[test]
fn a_counter_at_zero_clears_its_rule() {
    let map = once("nft_do_chain", vec![rule(7, Some(0)), rule(8, Some(3))]);
    assert_eq!(names(&map), ["nft inet lab drops handle 8"]);
}

#[test]
fn a_rule_that_rejects_is_not_blamed_and_clears_nobody() {
    assert_eq!(names(&once("nft_do_chain", vec![reject()])), [""; 0]);
    let map = once("nft_do_chain", vec![rule(7, None), reject()]);
    assert_eq!(names(&map), ["nft_places"]);
}

#[test]
fn nobody_is_named_by_elimination_where_not_all_is_known() {
    let map = World::new().window(|s| {
        missed(s, "nft_do_chain");
        read(s, vec![rule(7, None)]);
        state(s, CLIENT).filters.complete = false;
    });
    assert_eq!(names(&map), [""; 0]);
}

#[test]
fn what_others_drop_is_not_put_on_nftables() {
    let map = once("ipt_do_table", vec![rule(7, None)]);
    assert_eq!(names(&map), [""; 0]);
    // Before 6.7 that may have been any of them.
    let map = once("nf_hook_slow", vec![rule(7, None)]);
    let why = "in nftables, only rule handle 7 of chain drops (hook input) in table inet lab can drop here";
    assert_eq!(told(&map), [("nft inet lab drops handle 7", 10.0, why)]);
}

#[test]
fn an_old_reading_names_nobody() {
    let mut world = World::new();
    world.window(|s| read(s, vec![rule(7, Some(5))]));
    world.windows(5, |_| {});
    let map = world.window(|s| missed(s, "nft_do_chain"));
    assert_eq!(names(&map), [""; 0]);
    let map = world.window(|s| {
        missed(s, "nft_do_chain");
        read(s, vec![rule(7, Some(500)), rule(8, None)]);
    });
    assert_eq!(names(&map), ["nft_places"]);
}

/// Rule sets are read now and then, while a finding stays open.
#[test]
fn a_place_is_remembered_until_two_readings_in_a_row_tell_anew() {
    let rules = |seven, eight| vec![rule(7, Some(seven)), rule(8, Some(eight))];
    let mut world = World::new();
    for packets in [5, 15] {
        world.window(|s| {
            missed(s, "nft_do_chain");
            read(s, rules(packets, 1));
        });
    }
    let map = world.windows(12, |s| missed(s, "nft_do_chain"));
    assert_eq!(names(&map), ["nft inet lab drops handle 7"]);
    let mut next = |eight| {
        let map = world.window(|s| {
            missed(s, "nft_do_chain");
            read(s, rules(15, eight));
        });
        names(&map)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(next(11), ["nft inet lab drops handle 7"]);
    assert_eq!(next(21), ["nft inet lab drops handle 8"]);
    let map = world.windows(40, |s| missed(s, "nft_do_chain"));
    assert_eq!(names(&map), [""; 0]);
}

#[test]
fn a_late_reading_tells_of_the_windows_since_the_one_before() {
    let mut world = World::new();
    world.window(|s| read(s, vec![rule(7, Some(5)), policy()]));
    world.window(|_| {});
    let map = world.window(|s| {
        missed(s, "nft_do_chain");
        read(s, vec![rule(7, Some(25)), policy()]);
        // It began a little earlier than the snapshot.
        state(s, CLIENT).filters.places.read_ns -= SECOND / 2;
    });
    let said: Vec<_> = told(&map).iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(said, [("nft inet lab drops handle 7", 20.0)]);
}

#[test]
fn a_name_that_nft_would_run_is_in_no_command() {
    for chain in ["x; flush ruleset", "x\u{ff1b}", "-f", "x{"] {
        let place = DropPlace {
            chain: chain.to_owned(),
            ..rule(7, None)
        };
        let map = once("nft_do_chain", vec![place]);
        assert_eq!(names(&map).len(), 1);
        let confirm = &map.verdict.advice[0].confirm;
        assert!(confirm.ends_with("nft list ruleset"), "{confirm}");
    }
}
