//! SNMP counters, listeners, port pools, gauges.

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use osi_agent::host::holders::{Bounds, walk};
use osi_agent::snapshot::Mib;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use serde_json::Value;

use crate::pair::{DEADLINE, Pair, connect, number, run, sampler, state, within};

#[test]
fn counters_equal_what_nstat_shows() {
    need_root!("counters_equal_what_nstat_shows");
    let pair = Pair::new();
    let refused = within(&pair.a, || TcpStream::connect("10.99.0.2:1").is_err());
    let unrouted = within(&pair.a, || TcpStream::connect("192.0.2.1:1").is_err());
    assert!(refused && unrouted);
    let mibs = state(&pair.a).mibs;
    let shown: Value =
        serde_json::from_str(&run(&format!("ip netns exec {} nstat -a -z -s -j", pair.a)))
            .expect("nstat");
    for (mib, name) in [
        (Mib::TcpActiveOpens, "TcpActiveOpens"),
        (Mib::TcpAttemptFails, "TcpAttemptFails"),
        (Mib::TcpOutSegs, "TcpOutSegs"),
        (Mib::IpOutNoRoutes, "IpOutNoRoutes"),
        (Mib::ListenOverflows, "TcpExtListenOverflows"),
    ] {
        assert_eq!(
            mibs.get(mib),
            Some(number(&shown["kernel"][name])),
            "{name}"
        );
    }
    assert_eq!(
        (mibs.get(Mib::TcpAttemptFails), mibs.get(Mib::IpOutNoRoutes)),
        (Some(1), Some(1))
    );
}

#[test]
fn a_listener_shows_its_queue_and_backlog() {
    need_root!("a_listener_shows_its_queue_and_backlog");
    let pair = Pair::new();
    let held = within(&pair.b, || {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(
            &listener,
            &"10.99.0.2:8080".parse::<SocketAddr>().expect("address"),
        )
        .expect("bind");
        listen(&listener, 5).expect("listen");
        // Full at backlog + 1.
        let clients: Vec<_> = (0..6)
            .map(|_| TcpStream::connect("10.99.0.2:8080").expect("connect"))
            .collect();
        (listener, clients)
    });
    let seen = state(&pair.b);
    let [shown] = seen.listeners.as_slice() else {
        panic!("{:?}", seen.listeners)
    };
    assert_eq!(
        (shown.address.to_string().as_str(), shown.port),
        ("10.99.0.2", 8080)
    );
    assert_eq!((shown.queued, shown.backlog, shown.uid), (6, 5, 0));
    let bounds = Bounds {
        longest: DEADLINE,
        of_process: usize::MAX,
        of_all: usize::MAX,
    };
    let found = walk(&[HashSet::from([shown.inode])], &bounds);
    // A command that another test starts at this moment has it, too, until it becomes another program.
    let mut holders = found.held[0].holders.iter();
    let own = std::process::id();
    assert!(
        holders.any(|row| row.process.pid == own && row.sockets == 1),
        "{found:?}"
    );
    drop(held);
}

#[test]
fn a_pool_equals_what_ss_counts_up_to_exhaustion() {
    need_root!("a_pool_equals_what_ss_counts_up_to_exhaustion");
    let pair = Pair::new();
    let (a, b) = (&pair.a, &pair.b);
    run(&format!(
        "ip netns exec {a} sysctl -qw net.ipv4.ip_local_port_range=30000\t30199"
    ));
    run(&format!(
        "ip netns exec {a} sysctl -qw net.ipv4.ip_local_reserved_ports=30000-30009,30500"
    ));
    // A listener and a bound socket in the range hold a port each, towards every destination.
    let (inside, bound) = within(a, || {
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(
            &bound,
            &"10.99.0.1:30101".parse::<SocketAddr>().expect("address"),
        )
        .expect("bind");
        (
            TcpListener::bind("10.99.0.1:30100").expect("listener"),
            bound,
        )
    });
    let listener = within(b, || TcpListener::bind("10.99.0.2:80").expect("listener"));
    let listener6 = within(b, || TcpListener::bind("[fd99::2]:80").expect("listener"));

    // Accepted on the port in the range: sockets of the accepting side, no ports.
    let accepted = connect(b, &inside, "10.99.0.1:30100", 5);
    let mut first = connect(a, &listener, "10.99.0.2:80", 60);
    let six = connect(a, &listener6, "[fd99::2]:80", 20);
    // The side that closes first keeps the port in TIME_WAIT.
    for (client, server) in first.drain(..25) {
        drop(client);
        std::thread::sleep(Duration::from_millis(1));
        drop(server);
    }
    std::thread::sleep(Duration::from_millis(100));
    let seen = state(a);
    assert_eq!(seen.port_range, Some((30000, 30199, 10)));
    let count = |filter: &str| {
        let shown = run(&format!("ip netns exec {a} ss -Htan {filter}"));
        shown.lines().count() as u64
    };
    // A late retransmission can end a TIME_WAIT early, so it is `ss` that knows how many there are.
    let waiting = count("state time-wait dst 10.99.0.2:80");
    assert!((10..=25).contains(&waiting), "{waiting}");
    let [four, six_pool] = seen.pools.as_slice() else {
        panic!("{:?}", seen.pools)
    };
    assert_eq!(
        (four.remote.to_string().as_str(), four.port),
        ("10.99.0.2", 80)
    );
    assert_eq!(
        (four.used, four.time_wait),
        (count("dst 10.99.0.2:80"), waiting)
    );
    assert_eq!(four.used, 35 + waiting);
    assert_eq!(
        (
            six_pool.remote.to_string().as_str(),
            six_pool.used,
            six_pool.time_wait
        ),
        ("fd99::2", 20, 0)
    );
    assert_eq!(count("dst [fd99::2]:80"), 20);
    let shows_bound = !four.lower_bound;
    assert_eq!(four.usable, if shows_bound { 188 } else { 189 });
    assert_eq!(seen.time_wait.map(|gauge| gauge.used), Some(waiting));

    // Now to the end: the kernel refuses exactly when used reaches usable.
    let (clients, error) = within(a, move || {
        let mut clients = Vec::new();
        let error = loop {
            match TcpStream::connect("10.99.0.2:80") {
                Ok(client) => clients.push((client, listener.accept().expect("accept"))),
                Err(error) => break error,
            }
            assert!(clients.len() < 1000);
        };
        (clients, error)
    });
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    let full = state(a);
    assert_eq!(full.pools[0].used, count("dst 10.99.0.2:80"));
    assert_eq!(full.pools[0].used, 188);
    assert!(
        !shows_bound || full.pools[0].used == full.pools[0].usable,
        "{:?}",
        full.pools[0]
    );
    drop((accepted, first, six, bound, clients));
}

#[test]
fn ipv4_through_an_ipv6_socket_is_the_same_pool() {
    need_root!("ipv4_through_an_ipv6_socket_is_the_same_pool");
    let pair = Pair::new();
    run(&format!(
        "ip netns exec {} sysctl -qw net.ipv4.ip_local_port_range=30000\t30199",
        pair.a
    ));
    let listener = within(&pair.b, || {
        TcpListener::bind("10.99.0.2:80").expect("listener")
    });
    let plain = connect(&pair.a, &listener, "10.99.0.2:80", 3);
    let mapped = connect(&pair.a, &listener, "[::ffff:10.99.0.2]:80", 4);
    let seen = state(&pair.a);
    let [pool] = seen.pools.as_slice() else {
        panic!("{:?}", seen.pools)
    };
    assert_eq!(
        (
            pool.local.to_string().as_str(),
            pool.remote.to_string().as_str()
        ),
        ("10.99.0.1", "10.99.0.2")
    );
    assert_eq!((pool.used, pool.usable), (7, 200));
    drop((plain, mapped));
}

#[test]
fn gauges_and_host_wide_limits() {
    need_root!("gauges_and_host_wide_limits");
    let pair = Pair::new();
    run(&format!(
        "ip netns exec {} sysctl -qw net.ipv4.tcp_max_tw_buckets=77",
        pair.a
    ));
    let sample = sampler(&pair.a).sample(DEADLINE);
    assert_eq!(
        sample.namespaces[0].time_wait.map(|gauge| gauge.limit),
        Some(77)
    );
    let read = |path: &str, position: usize| {
        let text = fs::read_to_string(path).ok()?;
        text.split_ascii_whitespace()
            .nth(position)?
            .parse::<u64>()
            .ok()
    };
    let conntrack = sample.namespaces[0].conntrack;
    assert_eq!(
        conntrack.map(|gauge| gauge.limit),
        read("/proc/sys/net/netfilter/nf_conntrack_max", 0)
    );
    let fragments = sample.namespaces[0].fragments;
    assert_eq!(
        fragments.map(|gauge| gauge.limit),
        read("/proc/sys/net/ipv4/ipfrag_high_thresh", 0)
    );
    let host = &sample.host;
    assert_eq!(
        host.tcp_memory.map(|gauge| gauge.limit),
        read("/proc/sys/net/ipv4/tcp_mem", 2)
    );
    assert_eq!(
        host.udp_memory.map(|gauge| gauge.limit),
        read("/proc/sys/net/ipv4/udp_mem", 2)
    );
    assert_eq!(
        host.orphans.map(|gauge| gauge.limit),
        read("/proc/sys/net/ipv4/tcp_max_orphans", 0)
    );
    assert_eq!(
        host.neighbour_table_v4.limit,
        read("/proc/sys/net/ipv4/neigh/default/gc_thresh3", 0)
    );
    assert_eq!(
        host.neighbour_table_v6.limit,
        read("/proc/sys/net/ipv6/neigh/default/gc_thresh3", 0)
    );
    assert_eq!(
        host.netdev_max_backlog,
        read("/proc/sys/net/core/netdev_max_backlog", 0)
    );
    let cpus = fs::read_to_string("/proc/net/softnet_stat")
        .expect("softnet")
        .lines()
        .count();
    assert_eq!(host.softnet.len(), cpus);
}
