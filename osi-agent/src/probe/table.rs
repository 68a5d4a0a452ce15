//! The table of probes: what is to be learned, and the ways to learn it, best first.

use osi_common::wire::Protocol;

use super::ladder::{Attach, Probe, Variant};

/// A program on the tracepoint of the same name.
const fn tracepoint(name: &'static str) -> Variant {
    Variant {
        name: "tp_btf",
        attach: Attach::TracepointBtf(name, name),
        measures: None,
    }
}

const fn wire(program: &'static str, protocol: Protocol) -> Variant {
    Variant {
        name: "tail_call",
        attach: Attach::Wire(program, protocol),
        measures: None,
    }
}

/// Whoever wants any port of a protocol and gets none: its ladder, for one function.
const fn port_refusals(
    fexit: &'static str,
    kprobe: (&'static str, &'static str),
    function: &'static str,
) -> [Variant; 2] {
    [
        Variant {
            name: "fexit",
            attach: Attach::Fexit(fexit, function),
            measures: None,
        },
        Variant {
            name: "kretprobe",
            attach: Attach::Kretprobe(kprobe.0, kprobe.1, function),
            measures: None,
        },
    ]
}

/// Data that arrives, is read and is sent. Records of connections are where the first one wants them or where the others do
/// (`Settings::exchanges`).
const EXCHANGES: [Variant; 3] = [
    Variant {
        name: "tp_btf",
        // The youngest first: without it nothing is loaded.
        attach: Attach::Together(&[
            Attach::TracepointBtf("sk_data_ready", "sk_data_ready"),
            Attach::TracepointBtf("sock_send_length", "sock_send_length"),
            Attach::TracepointBtf("tcp_rcv_space_adjust", "tcp_rcv_space_adjust"),
        ]),
        measures: Some("a send when it is done"),
    },
    Variant {
        name: "fentry",
        attach: Attach::Together(&[
            Attach::Fentry("sock_def_readable_fentry", "sock_def_readable"),
            Attach::Fentry("tcp_sendmsg_locked_fentry", "tcp_sendmsg_locked"),
            Attach::TracepointBtf("tcp_rcv_space_adjust_locked", "tcp_rcv_space_adjust"),
        ]),
        measures: Some("a send when it begins"),
    },
    Variant {
        name: "kprobe",
        attach: Attach::Together(&[
            Attach::Kprobe("sock_def_readable_kprobe", "sock_def_readable"),
            Attach::Kprobe("tcp_sendmsg_locked_kprobe", "tcp_sendmsg_locked"),
            Attach::TracepointBtf("tcp_rcv_space_adjust_locked", "tcp_rcv_space_adjust"),
        ]),
        measures: Some("a send when it begins"),
    },
];

/// The probe that a program serves.
pub fn probe_of(program: &str) -> Option<&'static Probe> {
    let mut all = PROBES.iter();
    all.find(|probe| {
        probe
            .variants
            .iter()
            .any(|variant| variant.attach.has(program))
    })
}

/// All probes. A hook's program may serve several; each is loaded and attached on its own.
pub static PROBES: &[Probe] = &[
    Probe {
        name: "tcp_connect",
        variants: &[
            Variant {
                name: "fentry",
                attach: Attach::Fentry("tcp_connect_fentry", "tcp_connect"),
                measures: Some("SYN built → ESTABLISHED"),
            },
            Variant {
                name: "kprobe",
                attach: Attach::Kprobe("tcp_connect_kprobe", "tcp_connect"),
                measures: Some("SYN built → ESTABLISHED"),
            },
            Variant {
                name: "sock_ops",
                attach: Attach::SockOps("tcp_connect_sock_ops"),
                measures: Some("SYN built → ESTABLISHED"),
            },
            Variant {
                name: "state_change",
                attach: Attach::StandIn("tcp_state"),
                measures: Some("connect() → ESTABLISHED, the search for a local port included"),
            },
        ],
        fields: &[],
        feeds: &["tcp_handshake_client", "tcp_port_search"],
    },
    Probe {
        name: "tcp_state",
        variants: &[tracepoint("inet_sock_set_state")],
        fields: &[
            "sock_family",
            "sock_net",
            "sock_daddr",
            "sock_rcv_saddr",
            "sock_dport",
            "inet_sport",
            "sock_protocol",
            "sock_err",
            "net_inum",
        ],
        feeds: &[
            "tcp_handshake_client",
            "tcp_handshake_server",
            "tcp_rtt",
            "tcp_rtt_least",
            "connects",
            "port_exhausted",
            "connect_failed",
            "session_lifetime",
            "session_aborted",
            "request_dwell",
            "response_time",
            "dependency_time",
        ],
    },
    Probe {
        name: "drops",
        variants: &[tracepoint("kfree_skb")],
        fields: &[
            "skb_sk",
            "skb_dev",
            "skb_head",
            "skb_protocol",
            "skb_network_header",
            "sock_net",
            "dev_net",
            "net_inum",
        ],
        feeds: &["drop"],
    },
    Probe {
        name: "retransmits",
        variants: &[tracepoint("tcp_retransmit_skb")],
        fields: &["sock_net", "sock_state", "net_inum"],
        feeds: &["retransmit"],
    },
    Probe {
        name: "synack_retransmits",
        variants: &[tracepoint("tcp_retransmit_synack")],
        fields: &["sock_net", "net_inum"],
        feeds: &["synack_retransmits"],
    },
    Probe {
        name: "resets_sent",
        variants: &[tracepoint("tcp_send_reset")],
        fields: &["sock_net", "net_inum"],
        feeds: &["reset_sent"],
    },
    Probe {
        name: "resets_received",
        variants: &[tracepoint("tcp_receive_reset")],
        fields: &["sock_net", "sock_state", "net_inum"],
        feeds: &["reset_received"],
    },
    Probe {
        name: "tcp_get_port",
        variants: &port_refusals(
            "tcp_get_port_fexit",
            ("tcp_get_port_kprobe", "tcp_get_port_kretprobe"),
            "inet_csk_get_port",
        ),
        fields: &["sock_net", "sock_protocol", "net_inum"],
        feeds: &["tcp_binds_refused"],
    },
    Probe {
        name: "udp_get_port",
        variants: &port_refusals(
            "udp_get_port_fexit",
            ("udp_get_port_kprobe", "udp_get_port_kretprobe"),
            "udp_lib_get_port",
        ),
        fields: &["sock_net", "sock_protocol", "net_inum"],
        feeds: &["udp_ports_refused"],
    },
    Probe {
        name: "neighbours_created",
        variants: &[tracepoint("neigh_create")],
        fields: &["dev_net", "net_inum", "neigh_updated"],
        feeds: &["neighbour_resolution"],
    },
    Probe {
        name: "neighbours_updated",
        variants: &[tracepoint("neigh_update")],
        fields: &["neigh_nud_state", "neigh_updated"],
        feeds: &["neighbour_resolution"],
    },
    Probe {
        name: "exchanges",
        variants: &EXCHANGES,
        fields: &[
            "sock_family",
            "sock_state",
            "sock_net",
            "sock_daddr",
            "sock_dport",
            "inet_sport",
            "sock_protocol",
            "net_inum",
            "tcp_rcv_nxt",
            "tcp_copied_seq",
            "tcp_write_seq",
        ],
        feeds: &[
            "session_lifetime",
            "request_dwell",
            "response_time",
            "dependency_time",
        ],
    },
    Probe {
        name: "tc",
        variants: &[
            Variant {
                name: "tcx",
                attach: Attach::Tcx,
                measures: None,
            },
            Variant {
                name: "clsact",
                attach: Attach::Clsact,
                measures: None,
            },
        ],
        fields: &[],
        feeds: &[
            "packets",
            "bytes",
            "burst_peak_rx",
            "burst_peak_tx",
            "icmp_error_received",
            "icmp_error_sent",
            "forwarding",
        ],
    },
    Probe {
        name: "dns",
        variants: &[wire("osi_wire_dns", Protocol::Dns)],
        fields: &[],
        feeds: &["dns_time", "dns_failed"],
    },
    Probe {
        name: "tls",
        variants: &[wire("osi_wire_tls", Protocol::Tls)],
        fields: &[],
        feeds: &["tls_handshake", "tls_failed"],
    },
    Probe {
        name: "quic",
        variants: &[wire("osi_wire_quic", Protocol::Quic)],
        fields: &[],
        feeds: &["quic_handshake"],
    },
    Probe {
        name: "http",
        variants: &[wire("osi_wire_http", Protocol::Http)],
        fields: &[],
        feeds: &["http_time", "http_error"],
    },
    Probe {
        name: "xdp",
        variants: &[Variant {
            name: "xdp",
            attach: Attach::Xdp,
            measures: None,
        }],
        fields: &[],
        feeds: &["frames", "malformed_frames"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use osi_common::offsets::Offsets;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_fields_exist() {
        let mut seen = HashSet::new();
        for probe in PROBES {
            assert!(seen.insert(probe.name), "{} twice", probe.name);
            assert!(
                !probe.variants.is_empty() && !probe.feeds.is_empty(),
                "{} is empty",
                probe.name
            );
            for field in probe.fields {
                assert!(
                    Offsets::FIELDS.iter().any(|(name, _, _)| name == field),
                    "{field} is no field"
                );
            }
        }
    }

    #[test]
    fn stand_ins_are_probes() {
        for variant in PROBES.iter().flat_map(|probe| probe.variants) {
            if let Attach::StandIn(name) = variant.attach {
                assert!(
                    PROBES.iter().any(|probe| probe.name == name),
                    "{name} is no probe"
                );
            }
        }
    }
}
