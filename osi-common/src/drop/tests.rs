//! The tables as a whole: complete, sorted, in sentences; and what healthy hosts and known faults must mean.

extern crate std;

use std::vec::Vec;

use super::*;

/// Every name that a kernel from 5.17 to 7.3 has, in all subsystems: a list of facts kept apart from the tables.
const NAMES: &str = include_str!("names.txt");

fn is_sentence(text: &str) -> bool {
    text.ends_with('.')
        && !text.contains(". ")
        && text.starts_with(|first: char| first.is_uppercase())
}

#[test]
fn every_name_of_every_kernel_has_a_row() {
    let missing: Vec<_> = NAMES
        .lines()
        .filter(|name| lookup(name).is_none())
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    assert_eq!(NAMES.lines().count(), all().count(), "a row has no kernel");
}

#[test]
fn tables_are_sorted_and_no_name_is_in_two() {
    for table in TABLES {
        assert!(table.is_sorted_by(|a, b| a.name < b.name));
    }
    let mut names: Vec<_> = all().map(|reason| reason.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().count());
    assert!(caller::CALLERS.is_sorted_by(|a, b| a.function < b.function));
}

#[test]
fn meanings_and_advice_are_sentences() {
    for Reason {
        name,
        layer: _,
        class: _,
        meaning,
        advice,
    } in all()
    {
        assert!(is_sentence(meaning), "{name}: {meaning}");
        assert!(is_sentence(advice), "{name}: {advice}");
        assert_eq!(advice.matches('`').count() % 2, 0, "{name}: {advice}");
    }
    for caller in caller::CALLERS {
        assert!(is_sentence(caller.meaning), "{}", caller.function);
    }
}

#[test]
fn advice_only_reads() {
    const WRITES: [&str; 12] = [
        " -w ",
        " add ",
        " del ",
        " delete ",
        " replace ",
        " flush",
        " set ",
        " change ",
        "=1`",
        "=0`",
        " up`",
        "modprobe",
    ];
    for reason in all() {
        for write in WRITES {
            assert!(
                !reason.advice.contains(write),
                "{}: {}",
                reason.name,
                reason.advice
            );
        }
    }
}

#[test]
fn only_what_names_no_reason_is_unclassified() {
    let unclassified: Vec<_> = all()
        .filter(|reason| reason.class == Class::Unclassified)
        .map(|reason| reason.name)
        .collect();
    assert_eq!(unclassified, ["NOT_SPECIFIED", "QDISC_DROP_UNSPEC"]);
}

#[test]
fn normal_life_is_benign() {
    for name in [
        "CONSUMED",
        "DUP_FRAG",
        "IPV6DISABLED",
        "IPV6_NDISC_NS_OTHERHOST",
        "NOT_DROPPED_YET",
        "NO_TX_TARGET",
        "OTHERHOST",
        "PACKET_SOCK_ERROR",
        "QUEUE_PURGE",
        "RX_DROP_U_DUP",
        "SOCKET_CLOSE",
        "TCP_CLOSE",
        "TCP_INVALID_SEQUENCE",
        "TCP_OFOMERGE",
        "TCP_OFO_DROP",
        "TCP_OLD_ACK",
        "TCP_OLD_DATA",
        "TCP_OLD_SEQUENCE",
        "TCP_RESET",
        "TCP_RFC7323_PAWS_ACK",
        "UNHANDLED_PROTO",
    ] {
        assert_eq!(blame(name, "").class, Class::Benign, "{name}");
    }
}

#[test]
fn known_faults_are_blamed_on_their_layer() {
    for (name, layer, class) in [
        ("CPU_BACKLOG", Layer::L1, Class::Capacity),
        ("QDISC_DROP", Layer::L2, Class::Capacity),
        ("QDISC_DROP_OVERLIMIT", Layer::L2, Class::Capacity),
        ("NEIGH_FAILED", Layer::L2, Class::Peer),
        ("NEIGH_CREATEFAIL", Layer::L2, Class::Capacity),
        ("XDP", Layer::L2, Class::Policy),
        ("NETFILTER_DROP", Layer::L3, Class::Policy),
        ("IP_OUTNOROUTES", Layer::L3, Class::Config),
        ("IP_RPFILTER", Layer::L3, Class::Config),
        ("TCP_CSUM", Layer::L4, Class::Corruption),
        ("SOCKET_RCVBUFF", Layer::L4, Class::Capacity),
        ("TCP_LISTEN_OVERFLOW", Layer::L4, Class::Capacity),
        ("NO_SOCKET", Layer::L4, Class::Peer),
    ] {
        let blame = blame(name, "");
        assert_eq!((blame.layer, blame.class), (layer, class), "{name}");
    }
}

#[test]
fn names_are_found_as_btf_and_tracefs_write_them() {
    assert_eq!(lookup("SKB_DROP_REASON_NO_SOCKET"), lookup("NO_SOCKET"));
    assert_eq!(
        lookup("SKB_CONSUMED").map(|reason| reason.name),
        Some("CONSUMED")
    );
    assert_eq!(
        lookup("SKB_DROP_REASON_SKB_CSUM").map(|reason| reason.name),
        Some("SKB_CSUM")
    );
    assert_eq!(lookup("___RX_DROP_U_DUP"), lookup("RX_DROP_U_DUP"));
    assert_eq!(lookup("no_socket"), None);
    assert_eq!(lookup("MAX"), None);
}

#[test]
fn unknown_reasons_are_shown_but_not_blamed() {
    let tomorrow = blame("TCP_MOON_PHASE", "some_driver_poll");
    assert_eq!(
        (tomorrow.layer, tomorrow.class),
        (Layer::L4, Class::Unclassified)
    );
    let nameless = blame("reason#200", "ip_forward+0x1f3");
    assert_eq!(
        (nameless.layer, nameless.class),
        (Layer::L3, Class::Unclassified)
    );
    let driver = blame("NOT_SPECIFIED", "ixgbe_clean_rx_irq [ixgbe]");
    assert_eq!(
        (driver.layer, driver.class),
        (Layer::L2, Class::Unclassified)
    );
}

#[test]
fn callers_speak_only_where_the_kernel_does_not() {
    assert_eq!(
        blame("NOT_SPECIFIED", "unix_stream_connect").class,
        Class::Benign
    );
    assert_eq!(blame("", "icmpv6_rcv.cold+0x2").class, Class::Benign);
    assert_eq!(blame("", "enqueue_to_backlog").layer, Layer::L1);
    assert_eq!(
        blame("NETFILTER_DROP", "unix_stream_connect").class,
        Class::Policy
    );
}

#[test]
fn layers_follow_the_prefix_of_the_caller() {
    for (function, layer) in [
        ("tcp_v4_syn_recv_sock", Layer::L4),
        ("__udp_gso_segment", Layer::L4),
        ("ip_rcv_core", Layer::L3),
        ("ip6_rcv_core.isra.0", Layer::L3),
        ("ipv6_rcv", Layer::L3),
        ("nft_do_chain_inet [nf_tables]", Layer::L3),
        ("__neigh_update", Layer::L2),
        ("__dev_queue_xmit", Layer::L2),
        ("br_handle_frame", Layer::L2),
        ("tun_get_user", Layer::L2),
        ("inet_csk_accept", Layer::L4),
        ("inet_frag_queue_insert", Layer::L3),
        ("tls_sw_recvmsg", Layer::L6),
        ("netlink_ack", Layer::L5),
        ("", Layer::L2),
    ] {
        assert_eq!(caller::layer(function), layer, "{function}");
    }
}

#[test]
fn only_rule_evaluation_names_the_ruleset() {
    assert!(caller::names_ruleset("nft_do_chain+0x13b [nf_tables]"));
    assert!(!caller::names_ruleset("nf_hook_slow"));
}
