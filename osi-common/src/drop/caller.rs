//! What the function that freed a packet tells, where the kernel names no reason.
//!
//! Kernels before 5.17 name none at all, later ones leave many as `NOT_SPECIFIED`. A function's name gives the layer
//! by its prefix; a few well-known functions also give the class, most of them because they free packets in normal
//! life: on a 5.10 kernel each received neighbour message ends in `icmpv6_rcv` with `kfree_skb`.

use crate::layer::Layer;
use crate::occurrence::Key;

use super::Class;

/// A kernel function that frees packets without a reason, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name of the function, without compiler suffix.
    pub function: &'static str,
    /// The layer that the packet failed on.
    pub layer: Layer,
    /// What it is evidence of.
    pub class: Class,
    /// What happened, in one sentence.
    pub meaning: &'static str,
}

/// Name of the function in a symbol: without offset (`+0x1a`), module (`[nf_tables]`) and the suffixes that
/// compilers add to clones (`.isra.0`, `.constprop.0`, `.part.0`, `.cold`).
pub fn function_name(symbol: &str) -> &str {
    symbol
        .split(['+', '.', ' ', '\t', '['])
        .next()
        .unwrap_or(symbol)
}

/// The row of a well-known function, by its symbol.
pub fn lookup(symbol: &str) -> Option<&'static Caller> {
    let function = function_name(symbol);
    let position = CALLERS
        .binary_search_by_key(&function, |caller| caller.function)
        .ok()?;
    CALLERS.get(position)
}

/// Layer of a function, by the longest prefix that fits its name.
///
/// Without one it is L2: the functions that no table can list are those of device drivers.
pub fn layer(symbol: &str) -> Layer {
    let function = function_name(symbol);
    if let Some(caller) = lookup(function) {
        return caller.layer;
    }
    let bare = function.trim_start_matches('_');
    PREFIXES
        .iter()
        .filter(|(prefix, _)| bare.starts_with(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or(Layer::L2, |&(_, layer)| layer)
}

/// The reason that a function frees packets for, by its later name, on kernels that name none: only where there is but one.
///
/// `nf_hook_slow` frees what a hook's verdict is `NF_DROP` for, and nothing else. `ip_forward` and `ip6_forward` free for
/// several reasons, and look at the hop limit before all that a packet without a hop could meet.
pub fn only_reason(symbol: &str, code: u32) -> Option<&'static str> {
    match (function_name(symbol), code) {
        ("nf_hook_slow", _) => Some("NETFILTER_DROP"),
        ("ip_forward" | "ip6_forward", Key::NO_HOP_LEFT) => Some("IP_INHDR"),
        _ => None,
    }
}

/// What a reason means where the kernel's word for it says something else: IPv6 calls a header of another version a protocol that
/// nobody handles.
pub fn meant(symbol: &str, reason: &str) -> Option<&'static str> {
    match (function_name(symbol), reason) {
        ("ip6_rcv_core", "UNHANDLED_PROTO") => Some("IP_INHDR"),
        _ => None,
    }
}

/// Whether the function is the one that evaluates packet filter rules, so that a `NETFILTER_DROP` from it is certainly
/// a rule's and not that of connection tracking, which ends in `nf_hook_slow` as rules did before kernel 6.6.
pub fn names_ruleset(symbol: &str) -> bool {
    matches!(
        function_name(symbol),
        "nft_do_chain" | "ipt_do_table" | "ip6t_do_table" | "arpt_do_table" | "ebt_do_table"
    )
}

/// Layer by prefix of the function's name without leading underscores; the longest that fits counts.
const PREFIXES: &[(&str, Layer)] = &[
    ("ah", Layer::L3),
    ("ah6_", Layer::L3),
    ("arp_", Layer::L2),
    ("arpt_", Layer::L2),
    ("batadv_", Layer::L2),
    ("bond_", Layer::L2),
    ("bpf_prog_", Layer::L2),
    ("br_", Layer::L2),
    ("cake_", Layer::L2),
    ("can_", Layer::L2),
    ("cfg80211_", Layer::L2),
    ("cls_", Layer::L2),
    ("codel_", Layer::L2),
    ("ctnetlink_", Layer::L3),
    ("dev_", Layer::L2),
    ("do_one_broadcast", Layer::L5),
    ("dsa_", Layer::L2),
    ("dst_", Layer::L3),
    ("dummy_", Layer::L2),
    ("ebt_", Layer::L2),
    ("enqueue_to_backlog", Layer::L1),
    ("esp", Layer::L3),
    ("fib_", Layer::L3),
    ("flush_backlog", Layer::L1),
    ("fou_", Layer::L3),
    ("fq_", Layer::L2),
    ("genetlink_", Layer::L5),
    ("geneve_", Layer::L3),
    ("genl_", Layer::L5),
    ("gre_", Layer::L3),
    ("gso_", Layer::L2),
    ("hci_", Layer::L2),
    ("hsr_", Layer::L2),
    ("htb_", Layer::L2),
    ("icmp", Layer::L3),
    ("ieee80211_", Layer::L2),
    ("ifb_", Layer::L2),
    ("igmp", Layer::L3),
    ("inet6_csk_", Layer::L4),
    ("inet6_", Layer::L4),
    ("inet_", Layer::L4),
    ("inet_frag_", Layer::L3),
    ("inet_rtm_", Layer::L3),
    ("ip4_", Layer::L3),
    ("ip6", Layer::L3),
    ("ip_", Layer::L3),
    ("ipgre_", Layer::L3),
    ("ipip", Layer::L3),
    ("ipmr_", Layer::L3),
    ("ipt_", Layer::L3),
    ("ipv4_", Layer::L3),
    ("ipv6_", Layer::L3),
    ("ipvlan_", Layer::L2),
    ("kcm_", Layer::L7),
    ("l2cap_", Layer::L2),
    ("l2tp_", Layer::L3),
    ("llc_", Layer::L2),
    ("loopback_", Layer::L2),
    ("macsec_", Layer::L2),
    ("macvlan_", Layer::L2),
    ("macvtap_", Layer::L2),
    ("mld_", Layer::L3),
    ("mpls_", Layer::L3),
    ("mptcp_", Layer::L4),
    ("napi_", Layer::L1),
    ("ndisc_", Layer::L2),
    ("neigh", Layer::L2),
    ("net_rx_action", Layer::L1),
    ("net_tx_action", Layer::L1),
    ("netdev_", Layer::L2),
    ("netem_", Layer::L2),
    ("netif_", Layer::L2),
    ("netlink_", Layer::L5),
    ("nf_", Layer::L3),
    ("nfnetlink_", Layer::L3),
    ("nfqnl_", Layer::L3),
    ("nft_", Layer::L3),
    ("nlmsg_", Layer::L5),
    ("ovs_", Layer::L2),
    ("packet_", Layer::L2),
    ("pfifo_", Layer::L2),
    ("pie_", Layer::L2),
    ("ping_", Layer::L3),
    ("pneigh", Layer::L2),
    ("process_backlog", Layer::L1),
    ("qdisc_", Layer::L2),
    ("quic_", Layer::L6),
    ("raw", Layer::L3),
    ("red_", Layer::L2),
    ("reqsk_", Layer::L4),
    ("rpc_", Layer::L7),
    ("rt6_", Layer::L3),
    ("rt_", Layer::L3),
    ("rtnetlink_", Layer::L5),
    ("rtnl_", Layer::L5),
    ("sch_", Layer::L2),
    ("sctp_", Layer::L4),
    ("seg6_", Layer::L3),
    ("sfq_", Layer::L2),
    ("sit_", Layer::L3),
    ("sk_", Layer::L4),
    ("smc_", Layer::L4),
    ("sock_", Layer::L4),
    ("svc_", Layer::L7),
    ("tap_", Layer::L2),
    ("tbf_", Layer::L2),
    ("tcf_", Layer::L2),
    ("tcp", Layer::L4),
    ("team_", Layer::L2),
    ("tls_", Layer::L6),
    ("tpacket_", Layer::L2),
    ("tun_", Layer::L2),
    ("tunnel4_", Layer::L3),
    ("tunnel6_", Layer::L3),
    ("udp", Layer::L4),
    ("unix_", Layer::L5),
    ("validate_xmit_", Layer::L2),
    ("veth_", Layer::L2),
    ("virtio_transport_", Layer::L4),
    ("vlan_", Layer::L2),
    ("vrf_", Layer::L3),
    ("vsock_", Layer::L4),
    ("vti", Layer::L3),
    ("vxlan_", Layer::L3),
    ("wg_", Layer::L3),
    ("xdp_", Layer::L2),
    ("xfrm", Layer::L3),
    ("xs_", Layer::L7),
    ("xsk_", Layer::L2),
    ("xt_", Layer::L3),
];

/// Well-known functions, sorted by name.
pub const CALLERS: &[Caller] = &[
    Caller {
        function: "__neigh_event_send",
        layer: Layer::L2,
        class: Class::Peer,
        meaning: "The next hop is known not to answer, or too many packets waited for it.",
    },
    Caller {
        function: "__netif_receive_skb_core",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "No program or module on this host handles this kind of frame.",
    },
    Caller {
        function: "__skb_queue_purge",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "__skb_queue_purge_reason",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "__tcp_close",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "__udp4_lib_rcv",
        layer: Layer::L4,
        class: Class::Peer,
        meaning: "No socket was waiting for the datagram, or its checksum is wrong.",
    },
    Caller {
        function: "__udp6_lib_rcv",
        layer: Layer::L4,
        class: Class::Peer,
        meaning: "No socket was waiting for the datagram, or its checksum is wrong.",
    },
    Caller {
        function: "__udp_enqueue_schedule_skb",
        layer: Layer::L4,
        class: Class::Capacity,
        meaning: "The receive buffer of a socket or the protocol's memory was full.",
    },
    Caller {
        function: "__udp_queue_rcv_skb",
        layer: Layer::L4,
        class: Class::Capacity,
        meaning: "The receive buffer of a socket or the protocol's memory was full.",
    },
    Caller {
        function: "__udpv6_queue_rcv_skb",
        layer: Layer::L4,
        class: Class::Capacity,
        meaning: "The receive buffer of a socket or the protocol's memory was full.",
    },
    Caller {
        function: "__unix_gc",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "arp_error_report",
        layer: Layer::L2,
        class: Class::Peer,
        meaning: "The next hop did not answer ARP or neighbour discovery.",
    },
    Caller {
        function: "arp_process",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "An ARP message was for another host.",
    },
    Caller {
        function: "arp_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "An ARP message was for another host.",
    },
    Caller {
        function: "arpt_do_table",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "A packet filter rule dropped the frame.",
    },
    Caller {
        function: "br_flood",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A bridge had no port to send the frame to.",
    },
    Caller {
        function: "br_multicast_flood",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A bridge had no port to send the frame to.",
    },
    Caller {
        function: "br_stp_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A control frame of the link was handled, or nobody on this host handles such frames.",
    },
    Caller {
        function: "do_one_broadcast",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "do_xdp_generic",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "An XDP program dropped the packet.",
    },
    Caller {
        function: "ebt_do_table",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "A packet filter rule dropped the frame.",
    },
    Caller {
        function: "enqueue_to_backlog",
        layer: Layer::L1,
        class: Class::Capacity,
        meaning: "The receive backlog of a CPU was full.",
    },
    Caller {
        function: "genl_rcv_msg",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "genlmsg_multicast_allns",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "hci_cmd_work",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A Bluetooth message was handled.",
    },
    Caller {
        function: "hci_event_packet",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A Bluetooth message was handled.",
    },
    Caller {
        function: "hci_rx_work",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A Bluetooth message was handled.",
    },
    Caller {
        function: "icmpv6_rcv",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "The message was handled; older kernels free it this way.",
    },
    Caller {
        function: "igmp6_event_query",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "The message was handled.",
    },
    Caller {
        function: "igmp6_event_report",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "The message was handled.",
    },
    Caller {
        function: "igmp_rcv",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "The message was handled; older kernels free it this way.",
    },
    Caller {
        function: "inet_csk_destroy_sock",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "inet_frag_rbtree_purge",
        layer: Layer::L3,
        class: Class::Peer,
        meaning: "Not all fragments of a packet came in time.",
    },
    Caller {
        function: "inet_sock_destruct",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "ip6_frag_expire",
        layer: Layer::L3,
        class: Class::Peer,
        meaning: "Not all fragments of a packet came in time.",
    },
    Caller {
        function: "ip6_mc_input",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "Nobody on this host has joined the multicast group.",
    },
    Caller {
        function: "ip6_pkt_discard",
        layer: Layer::L3,
        class: Class::Config,
        meaning: "No route leads to the destination, or it may not be forwarded to.",
    },
    Caller {
        function: "ip6_pkt_discard_out",
        layer: Layer::L3,
        class: Class::Config,
        meaning: "No route leads to the destination, or it may not be forwarded to.",
    },
    Caller {
        function: "ip6_pkt_drop",
        layer: Layer::L3,
        class: Class::Config,
        meaning: "No route leads to the destination, or it may not be forwarded to.",
    },
    Caller {
        function: "ip6frag_expire_frag_queue",
        layer: Layer::L3,
        class: Class::Peer,
        meaning: "Not all fragments of a packet came in time.",
    },
    Caller {
        function: "ip6t_do_table",
        layer: Layer::L3,
        class: Class::Policy,
        meaning: "A packet filter rule dropped the packet.",
    },
    Caller {
        function: "ip_error",
        layer: Layer::L3,
        class: Class::Config,
        meaning: "No route leads to the destination, or it may not be forwarded to.",
    },
    Caller {
        function: "ip_expire",
        layer: Layer::L3,
        class: Class::Peer,
        meaning: "Not all fragments of a packet came in time.",
    },
    Caller {
        function: "ipt_do_table",
        layer: Layer::L3,
        class: Class::Policy,
        meaning: "A packet filter rule dropped the packet.",
    },
    Caller {
        function: "kfree_skb_list",
        layer: Layer::L2,
        class: Class::Unclassified,
        meaning: "Several packets were freed at once, usually by a full queue.",
    },
    Caller {
        function: "llc_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A control frame of the link was handled, or nobody on this host handles such frames.",
    },
    Caller {
        function: "lldp_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A control frame of the link was handled, or nobody on this host handles such frames.",
    },
    Caller {
        function: "manage_oob",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "mld_query_work",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "The message was handled.",
    },
    Caller {
        function: "mld_report_work",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "The message was handled.",
    },
    Caller {
        function: "ndisc_error_report",
        layer: Layer::L2,
        class: Class::Peer,
        meaning: "The next hop did not answer ARP or neighbour discovery.",
    },
    Caller {
        function: "ndisc_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "The neighbour message was handled, or meant for another host.",
    },
    Caller {
        function: "ndisc_recv_na",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "The neighbour message was handled, or meant for another host.",
    },
    Caller {
        function: "ndisc_recv_ns",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "The neighbour message was handled, or meant for another host.",
    },
    Caller {
        function: "neigh_invalidate",
        layer: Layer::L2,
        class: Class::Peer,
        meaning: "The next hop did not answer ARP or neighbour discovery.",
    },
    Caller {
        function: "netif_receive_generic_xdp",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "An XDP program dropped the packet.",
    },
    Caller {
        function: "netlink_attachskb",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_broadcast",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_broadcast_filtered",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_dump",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_rcv_skb",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_recvmsg",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_sendmsg",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_sock_destruct",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_trim",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_unicast",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "netlink_unicast_kernel",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "nf_hook_slow",
        layer: Layer::L3,
        class: Class::Policy,
        meaning: "A packet filter rule, or connection tracking, dropped the packet.",
    },
    Caller {
        function: "nfnetlink_rcv",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "nft_do_chain",
        layer: Layer::L3,
        class: Class::Policy,
        meaning: "A packet filter rule dropped the packet.",
    },
    Caller {
        function: "nlmsg_notify",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "packet_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A capture tool's own copy was not wanted or did not fit; the traffic itself went on.",
    },
    Caller {
        function: "packet_rcv_fanout",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A capture tool's own copy was not wanted or did not fit; the traffic itself went on.",
    },
    Caller {
        function: "packet_rcv_spkt",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A capture tool's own copy was not wanted or did not fit; the traffic itself went on.",
    },
    Caller {
        function: "packet_sock_destruct",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "raw_rcv_skb",
        layer: Layer::L3,
        class: Class::Capacity,
        meaning: "The receive buffer of a raw socket was full.",
    },
    Caller {
        function: "rawv6_rcv_skb",
        layer: Layer::L3,
        class: Class::Capacity,
        meaning: "The receive buffer of a raw socket was full.",
    },
    Caller {
        function: "rtnl_unicast",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A message between the kernel and a local program was not wanted; no network traffic.",
    },
    Caller {
        function: "sch_handle_egress",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "A tc filter or eBPF program dropped the packet on its way out.",
    },
    Caller {
        function: "sch_handle_ingress",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "A tc filter or eBPF program dropped the packet on its way in.",
    },
    Caller {
        function: "sk_stream_kill_queues",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "skb_errqueue_purge",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "skb_queue_purge",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "skb_queue_purge_reason",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "skb_rbtree_purge",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "skb_release_all",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "A part of a packet was freed with the whole, which is counted on its own.",
    },
    Caller {
        function: "skb_release_data",
        layer: Layer::L3,
        class: Class::Benign,
        meaning: "A part of a packet was freed with the whole, which is counted on its own.",
    },
    Caller {
        function: "stp_pdu_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A control frame of the link was handled, or nobody on this host handles such frames.",
    },
    Caller {
        function: "tap_handle_frame",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queue to the program behind the device was full, or nobody reads it.",
    },
    Caller {
        function: "tcp_add_backlog",
        layer: Layer::L4,
        class: Class::Capacity,
        meaning: "The socket was locked by its program and the backlog behind the lock was full.",
    },
    Caller {
        function: "tcp_data_queue",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "The segment brought nothing new.",
    },
    Caller {
        function: "tcp_data_queue_ofo",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "The segment brought nothing new.",
    },
    Caller {
        function: "tcp_disconnect",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "tcp_ofo_queue",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "The segment brought nothing new.",
    },
    Caller {
        function: "tcp_prune_ofo_queue",
        layer: Layer::L4,
        class: Class::Capacity,
        meaning: "Out-of-order data was given up to free memory.",
    },
    Caller {
        function: "tcp_rcv_established",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "The segment brought nothing new.",
    },
    Caller {
        function: "tcp_rcv_state_process",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "An acknowledgement brought nothing new to a connection that is being closed.",
    },
    Caller {
        function: "tcp_rtx_queue_purge",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "tcp_v4_destroy_sock",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "tcp_v4_do_rcv",
        layer: Layer::L4,
        class: Class::Peer,
        meaning: "The segment did not fit the state of the connection, which was reset.",
    },
    Caller {
        function: "tcp_v4_rcv",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "The connection had ended (TIME_WAIT), or no socket was waiting: the reset that answers is counted itself.",
    },
    Caller {
        function: "tcp_v6_do_rcv",
        layer: Layer::L4,
        class: Class::Peer,
        meaning: "The segment did not fit the state of the connection, which was reset.",
    },
    Caller {
        function: "tcp_v6_rcv",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "The connection had ended (TIME_WAIT), or no socket was waiting: the reset that answers is counted itself.",
    },
    Caller {
        function: "tcp_write_queue_purge",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "tpacket_rcv",
        layer: Layer::L2,
        class: Class::Benign,
        meaning: "A capture tool's own copy was not wanted or did not fit; the traffic itself went on.",
    },
    Caller {
        function: "tun_net_xmit",
        layer: Layer::L2,
        class: Class::Capacity,
        meaning: "The queue to the program behind the device was full, or nobody reads it.",
    },
    Caller {
        function: "udp_destruct_common",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "udp_destruct_sock",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "udpv6_destruct_sock",
        layer: Layer::L4,
        class: Class::Benign,
        meaning: "A socket closed and freed what was left in its queues.",
    },
    Caller {
        function: "unix_dgram_connect",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_dgram_disconnected",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_dgram_sendmsg",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_gc",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_release_sock",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_sock_destructor",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_stream_connect",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_stream_read_generic",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_stream_read_skb",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_stream_recv_urg",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "unix_stream_sendmsg",
        layer: Layer::L5,
        class: Class::Benign,
        meaning: "A local socket closed, refused or changed its peer; no network traffic.",
    },
    Caller {
        function: "veth_poll",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "An XDP program dropped the packet.",
    },
    Caller {
        function: "veth_xdp_rcv",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "An XDP program dropped the packet.",
    },
    Caller {
        function: "veth_xdp_rcv_skb",
        layer: Layer::L2,
        class: Class::Policy,
        meaning: "An XDP program dropped the packet.",
    },
    Caller {
        function: "veth_xmit",
        layer: Layer::L2,
        class: Class::Config,
        meaning: "The other end of the pair was down.",
    },
];
