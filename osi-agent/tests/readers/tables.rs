//! Links, queueing disciplines, routes, neighbours.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use osi_agent::snapshot::Hook;

use crate::pair::{Pair, json, link, number, qdisc, run, state, within};

/// Sends datagrams that nobody waits for.
fn send(from: &str, to: &'static str, count: usize) {
    within(from, move || {
        let socket = UdpSocket::bind("10.99.0.1:0").expect("socket");
        (0..count).for_each(|_| drop(socket.send_to(b"x", to)));
    });
}

#[test]
fn links_equal_what_ip_shows() {
    need_root!("links_equal_what_ip_shows");
    let pair = Pair::new();
    send(&pair.a, "10.99.0.2:9", 3);
    // The datagrams wait until the neighbour has answered, and IPv6 sends on its own for a while; take a moment in which they
    // have left and nothing moved.
    for attempt in 0.. {
        let before = json(&format!("ip -n {} -s -s -j link", pair.a));
        let state = state(&pair.a);
        let have_left = link(&state, "va").stats.tx_packets >= 3;
        let moved = before != json(&format!("ip -n {} -s -s -j link", pair.a));
        if (moved || !have_left) && attempt < 20 {
            continue;
        }
        assert_eq!(state.links.len(), before.len());
        for expected in &before {
            let link = link(&state, expected["ifname"].as_str().expect("ifname"));
            let (rx, tx) = (&expected["stats64"]["rx"], &expected["stats64"]["tx"]);
            assert_eq!(u64::from(link.iface.ifindex), number(&expected["ifindex"]));
            let stats = link.stats;
            assert_eq!(
                (stats.rx_packets, stats.rx_bytes),
                (number(&rx["packets"]), number(&rx["bytes"]))
            );
            assert_eq!(
                (stats.tx_packets, stats.tx_bytes),
                (number(&tx["packets"]), number(&tx["bytes"]))
            );
            assert_eq!(
                (stats.rx_dropped, stats.rx_crc),
                (number(&rx["dropped"]), number(&rx["crc_errors"]))
            );
            assert_eq!(
                (stats.rx_errors, stats.tx_errors),
                (number(&rx["errors"]), number(&tx["errors"]))
            );
            assert_eq!(link.carrier_changes, number(&tx["carrier_changes"]));
        }
        break;
    }
    let state = state(&pair.a);
    let va = link(&state, "va");
    assert_eq!(
        (va.kind.as_deref(), va.admin_up, va.carrier, va.loopback),
        (Some("veth"), true, true, false)
    );
    assert_eq!((va.speed_bits_per_s, va.master), (None, None));
    assert!(va.stats.tx_packets >= 3 && link(&state, "lo").loopback);
}

#[test]
fn a_link_that_loses_its_peer_loses_its_carrier() {
    need_root!("a_link_that_loses_its_peer_loses_its_carrier");
    let pair = Pair::new();
    let before = link(&state(&pair.a), "va").carrier_changes;
    run(&format!("ip -n {} link set vb down", pair.b));
    let state = state(&pair.a);
    let va = link(&state, "va");
    assert_eq!(
        (va.admin_up, va.carrier, va.carrier_changes),
        (true, false, before + 1)
    );
}

#[test]
fn members_name_their_master() {
    need_root!("members_name_their_master");
    let pair = Pair::new();
    run(&format!("ip -n {} link add br0 type bridge", pair.a));
    run(&format!("ip -n {} link set va master br0", pair.a));
    run(&format!("ip -n {} link set br0 up", pair.a));
    // Whom the other end asks for is broadcast, so that the bridge learns who asks.
    within(&pair.b, || {
        let socket = UdpSocket::bind("10.99.0.2:0").expect("socket");
        socket.send_to(&[0], "10.99.0.77:9").expect("datagram");
    });
    let learned = || json(&format!("bridge -n {} -j fdb show br br0 dynamic", pair.a)).len() as u64;
    let known = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        learned() > 0
    });
    assert!(known);
    let state = state(&pair.a);
    let bridge = link(&state, "br0");
    assert_eq!(
        (bridge.kind.as_deref(), bridge.speed_bits_per_s),
        (Some("bridge"), None)
    );
    // Before 6.7 it is not told.
    if let Some(fdb) = bridge.fdb {
        assert_eq!((fdb.learned, fdb.limit), (learned(), None));
    }
    assert_eq!(link(&state, "va").master, Some(bridge.iface.ifindex));
}

#[test]
fn a_tbf_shows_rate_limit_and_drops_as_tc_does() {
    need_root!("a_tbf_shows_rate_limit_and_drops_as_tc_does");
    let pair = Pair::new();
    run(&format!(
        "tc -n {} qdisc add dev va root handle 7: tbf rate 1mbit burst 2000 limit 20000",
        pair.a
    ));
    let sent = within(&pair.a, || {
        let socket = UdpSocket::bind("10.99.0.1:0").expect("socket");
        (0..200)
            .filter(|_| socket.send_to(&[0; 1000], "10.99.0.2:9").is_ok())
            .count()
    });
    assert!(sent > 0);
    // The queue drains slowly; once it is empty, everything is exact.
    let drained = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        qdisc(&state(&pair.a), "tbf").backlog_packets == 0
    });
    assert!(drained);
    // The kernel's own packets come and go: both are read again where one of them passed in between.
    let (state, shown) = (0..20)
        .map(|_| {
            let shown = json(&format!("tc -n {} -s -j qdisc show dev va root", pair.a));
            (state(&pair.a), shown)
        })
        .find(|(state, shown)| qdisc(state, "tbf").packets == number(&shown[0]["packets"]))
        .expect("tc counts as many packets as the reader, once nothing is sent");
    let tbf = qdisc(&state, "tbf");
    let expected = &shown[0];
    assert_eq!(
        (tbf.rate_bits_per_s, tbf.limit_bytes, tbf.limit_packets),
        (Some(1_000_000), Some(20_000), None)
    );
    assert_eq!(number(&expected["options"]["rate"]) * 8, 1_000_000);
    assert_eq!(
        (tbf.handle, tbf.parent, tbf.iface.name.as_str()),
        (7 << 16, u32::MAX, "va")
    );
    assert_eq!(
        (tbf.bytes, tbf.packets),
        (number(&expected["bytes"]), number(&expected["packets"]))
    );
    assert_eq!(
        (tbf.drops, tbf.overlimits),
        (number(&expected["drops"]), number(&expected["overlimits"]))
    );
    assert!(tbf.drops > 100, "{tbf:?}");
    assert_eq!(
        state
            .qdiscs
            .iter()
            .filter(|qdisc| qdisc.iface.name == "va")
            .count(),
        shown.len()
    );
}

#[test]
fn a_filter_is_seen_with_its_kind() {
    need_root!("a_filter_is_seen_with_its_kind");
    let pair = Pair::new();
    assert!(state(&pair.a).programs.is_empty());
    run(&format!("tc -n {} qdisc add dev va clsact", pair.a));
    for direction in ["ingress", "egress"] {
        run(&format!(
            "tc -n {} filter add dev va {direction} protocol all pref 10 u32 match u32 0 0",
            pair.a
        ));
    }
    let state = state(&pair.a);
    let found = state.programs.iter();
    let found: Vec<_> = found
        .map(|row| (row.iface.name.as_str(), row.hook, row.id, row.name.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("va", Hook::FilterIngress, None, "u32"),
            ("va", Hook::FilterEgress, None, "u32")
        ]
    );
}

#[test]
fn a_backlog_is_seen_while_it_stands() {
    need_root!("a_backlog_is_seen_while_it_stands");
    let pair = Pair::new();
    run(&format!(
        "tc -n {} qdisc add dev va root tbf rate 8kbit burst 2000 limit 20000",
        pair.a
    ));
    within(&pair.a, || {
        let socket = UdpSocket::bind("10.99.0.1:0").expect("socket");
        (0..40).for_each(|_| drop(socket.send_to(&[0; 958], "10.99.0.2:9")));
    });
    let state = state(&pair.a);
    let tbf = qdisc(&state, "tbf");
    // 958 bytes of payload make frames of 1000; 20 of them are the limit.
    assert!((18..=20).contains(&tbf.backlog_packets), "{tbf:?}");
    assert!((18_000..=20_000).contains(&tbf.backlog_bytes), "{tbf:?}");
}

#[test]
fn limits_and_ceilings_of_other_disciplines() {
    need_root!("limits_and_ceilings_of_other_disciplines");
    let pair = Pair::new();
    run(&format!(
        "tc -n {} qdisc add dev va root handle 1: htb default 10",
        pair.a
    ));
    run(&format!(
        "tc -n {} class add dev va parent 1: classid 1:1 htb rate 20mbit ceil 20mbit",
        pair.a
    ));
    run(&format!(
        "tc -n {} class add dev va parent 1:1 classid 1:10 htb rate 5mbit ceil 20mbit",
        pair.a
    ));
    run(&format!(
        "tc -n {} qdisc add dev va parent 1:10 handle 10: pfifo limit 77",
        pair.a
    ));
    run(&format!("ip -n {} link set vb txqueuelen 123", pair.b));
    run(&format!(
        "tc -n {} qdisc add dev vb root pfifo_fast",
        pair.b
    ));
    let shaped = state(&pair.a);
    assert_eq!(qdisc(&shaped, "htb").rate_bits_per_s, Some(20_000_000));
    let pfifo = qdisc(&shaped, "pfifo");
    assert_eq!(
        (pfifo.limit_packets, pfifo.limit_bytes, pfifo.parent),
        (Some(77), None, 0x1_0010)
    );
    assert_eq!(
        qdisc(&state(&pair.b), "pfifo_fast").limit_packets,
        Some(123)
    );

    run(&format!(
        "tc -n {} class add dev va parent 1: classid 1:2 htb rate 1mbit",
        pair.a
    ));
    assert_eq!(qdisc(&state(&pair.a), "htb").rate_bits_per_s, None);
    run(&format!(
        "tc -n {} qdisc replace dev va root bfifo limit 5000",
        pair.a
    ));
    assert_eq!(qdisc(&state(&pair.a), "bfifo").limit_bytes, Some(5000));
}

#[test]
fn routes_of_the_main_table() {
    need_root!("routes_of_the_main_table");
    let pair = Pair::new();
    let a = &pair.a;
    run(&format!("ip -n {a} route add default via 10.99.0.2"));
    run(&format!("ip -n {a} route add unreachable 10.1.0.0/16"));
    run(&format!(
        "ip -n {a} route add 10.2.0.0/16 via 10.99.0.2 table 77"
    ));
    run(&format!("ip -n {a} -6 route add default via fd99::2"));
    run(&format!(
        "ip -n {a} route add 10.3.0.0/16 nexthop via 10.99.0.2 dev va nexthop via 10.99.0.3 dev va"
    ));
    let state = state(a);
    let va = Some(link(&state, "va").iface.ifindex);
    let shown = |destination: Option<&str>, prefix, v6| {
        let destination: Option<IpAddr> = destination.map(|text| text.parse().expect("address"));
        let routes = state.routes.iter();
        let same = routes.filter(|route| {
            (route.destination, route.prefix, route.v6) == (destination, prefix, v6)
        });
        same.map(|route| route.ifindex).collect::<Vec<_>>()
    };
    assert_eq!(shown(None, 0, false), [va]);
    assert_eq!(shown(None, 0, true), [va]);
    assert_eq!(shown(Some("10.99.0.0"), 24, false), [va]);
    assert_eq!(shown(Some("fd99::"), 64, true), [va]);
    assert_eq!(shown(Some("10.1.0.0"), 16, false), [None]);
    assert_eq!(shown(Some("10.3.0.0"), 16, false), [va]);
    assert_eq!(shown(Some("10.2.0.0"), 16, false), []);
    let main = run(&format!("ip -n {a} -4 route show"))
        .lines()
        .filter(|line| !line.starts_with('\t'))
        .count();
    assert_eq!(state.routes.iter().filter(|route| !route.v6).count(), main);
}

#[test]
fn a_neighbour_that_does_not_answer() {
    need_root!("a_neighbour_that_does_not_answer");
    let pair = Pair::new();
    send(&pair.a, "10.99.0.2:9", 1);
    run(&format!(
        "ip -n {} neigh add 10.99.0.77 lladdr 02:00:00:00:00:77 dev va",
        pair.a
    ));
    send(&pair.a, "10.99.0.50:9", 1);
    let wanted: IpAddr = "10.99.0.50".parse().expect("address");
    let first = state(&pair.a);
    let found = first
        .neighbours
        .unresolved
        .iter()
        .find(|neighbour| neighbour.address == wanted)
        .expect("neighbour");
    assert_eq!((found.failed, found.iface.name.as_str()), (false, "va"));
    assert!(found.used_ns < 10_000_000_000, "{found:?}");
    // Three solicitations, one second apart.
    let failed = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let neighbours = state(&pair.a).neighbours;
        neighbours
            .unresolved
            .into_iter()
            .find(|neighbour| neighbour.address == wanted && neighbour.failed)
    });
    let failed = failed.expect("failed neighbour");
    assert!(failed.used_ns >= 2_000_000_000, "{failed:?}");
    let entries = |family: &str| {
        let all = json(&format!("ip -n {} -{family} -j neigh show nud all", pair.a));
        all.iter()
            .filter(|entry| !entry["state"].to_string().contains("PERMANENT"))
            .count() as u64
    };
    let neighbours = state(&pair.a).neighbours;
    assert_eq!(
        (neighbours.entries_v4, neighbours.entries_v6),
        (entries("4"), entries("6"))
    );
}

#[test]
fn a_neighbour_that_answers_has_its_hardware_address() {
    need_root!("a_neighbour_that_answers_has_its_hardware_address");
    let pair = Pair::new();
    send(&pair.a, "10.99.0.2:9", 1);
    let own = json(&format!("ip -n {} -j link show vb", pair.b));
    let holders = state(&pair.a).holders;
    let wanted: IpAddr = "10.99.0.2".parse().expect("address");
    let found = holders.iter().find(|holder| holder.address == wanted);
    let found = found.expect("neighbour");
    assert_eq!(found.link_address.to_string(), own[0]["address"]);
    assert_eq!(found.iface.name, "va");
}

#[test]
fn an_own_address_that_somebody_has() {
    need_root!("an_own_address_that_somebody_has");
    let pair = Pair::new();
    let a = &pair.a;
    assert_eq!(state(a).refused_addresses().count(), 0);
    // On a new link the other end does not defend its address yet.
    let failed = (0..10).any(|_| {
        run(&format!("ip -n {a} addr add fd99::2/64 dev va"));
        std::thread::sleep(Duration::from_secs(2));
        let failed = run(&format!("ip -n {a} -6 -o addr show dadfailed")).contains("fd99::2");
        if !failed {
            run(&format!("ip -n {a} addr del fd99::2/64 dev va"));
        }
        failed
    });
    assert!(failed, "nobody defends the address");
    let state = state(a);
    let taken: IpAddr = "fd99::2".parse().expect("address");
    let refused: Vec<_> = state.refused_addresses().collect();
    let [found] = refused.as_slice() else {
        panic!("{:?}", state.addresses)
    };
    assert_eq!((found.address, found.iface.name.as_str()), (taken, "va"));
}
