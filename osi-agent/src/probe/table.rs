//! The table of probes: what is to be learned, and the ways to learn it, best first.

use osi_common::wire::Protocol;

use super::{ProbeState, ProbeStatus};

/// A thing to be learned from the kernel.
#[derive(Debug)]
pub struct Probe {
    /// Stable name in every output; signals name it in `fed_by`.
    pub name: &'static str,
    /// Ways to learn it, in order of preference.
    pub variants: &'static [Variant],
    /// Fields that all variants read, as named in `osi_common::offsets`. Those that are missing make it unavailable.
    pub fields: &'static [&'static str],
    /// What it feeds: signals and event kinds.
    pub feeds: &'static [&'static str],
}

impl Probe {
    /// How it stands before any variant was tried, or when none can be.
    pub fn unavailable(&self, reason: Option<String>) -> ProbeStatus {
        ProbeStatus {
            name: self.name.to_owned(),
            state: ProbeState::Unavailable,
            variant: None,
            measures: None,
            reason,
            feeds: self.feeds.iter().map(|feed| (*feed).to_owned()).collect(),
        }
    }
}

/// One way to learn it.
#[derive(Debug)]
pub struct Variant {
    /// Name in every output.
    pub name: &'static str,
    /// How the program is attached.
    pub attach: Attach,
    /// What it measures, where variants differ.
    pub measures: Option<&'static str>,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Attach {
    /// BTF tracepoint: program and tracepoint of this name.
    TracepointBtf(&'static str),
    /// Several of these that only tell something together: all of them, or none.
    TracepointsBtf(&'static [&'static str]),
    /// Function entry by trampoline: (program, function).
    Fentry(&'static str, &'static str),
    /// Function entry by breakpoint: (program, function).
    Kprobe(&'static str, &'static str),
    /// Function exit by trampoline: (program, function).
    Fexit(&'static str, &'static str),
    /// Function exit by breakpoints at entry and end: (program at entry, program at the end, function).
    Kretprobe(&'static str, &'static str, &'static str),
    /// Socket callbacks of the root cgroup: program.
    SockOps(&'static str),
    /// No program of its own: another probe, named here, stands in.
    StandIn(&'static str),
    /// tc ingress and egress on each chosen interface, as TCX links (since 6.6).
    Tcx,
    /// The same as filters of a clsact qdisc.
    Clsact,
    /// XDP on each chosen interface.
    Xdp,
    /// What the tc programs hand the packets of a protocol to: program, protocol.
    Wire(&'static str, Protocol),
}

const fn tracepoint(name: &'static str) -> Variant {
    Variant {
        name: "tp_btf",
        attach: Attach::TracepointBtf(name),
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

/// The probe that a program serves.
pub fn probe_of(program: &str) -> Option<&'static Probe> {
    let is_it = |variant: &Variant| match variant.attach {
        Attach::TracepointBtf(name)
        | Attach::SockOps(name)
        | Attach::Fentry(name, _)
        | Attach::Fexit(name, _)
        | Attach::Kprobe(name, _)
        | Attach::Wire(name, _) => name == program,
        Attach::Kretprobe(entry, end, _) => [entry, end].contains(&program),
        Attach::TracepointsBtf(names) => names.contains(&program),
        Attach::Tcx | Attach::Clsact => program.starts_with("osi_tc"),
        Attach::Xdp => program.starts_with("osi_xdp"),
        Attach::StandIn(_) => false,
    };
    PROBES.iter().find(|probe| probe.variants.iter().any(is_it))
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
        fields: &["dev_net", "net_inum"],
        feeds: &["neighbour_resolution"],
    },
    Probe {
        name: "neighbours_updated",
        variants: &[tracepoint("neigh_update")],
        fields: &["neigh_nud_state"],
        feeds: &["neighbour_resolution"],
    },
    Probe {
        name: "exchanges",
        variants: &[Variant {
            name: "tp_btf",
            // The youngest first: without it nothing is loaded.
            attach: Attach::TracepointsBtf(&[
                "sk_data_ready",
                "sock_send_length",
                "tcp_rcv_space_adjust",
            ]),
            measures: None,
        }],
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
