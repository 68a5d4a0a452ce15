//! What arrives damaged: checksums of TCP, UDP and ICMP.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L4;
    BAD_CHECKSUMS: "TCP segments, UDP datagrams and ICMP messages received with a bad checksum." {
        id: "bad_checksums",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.10",
        read: Read::Errors(|window, rows| rows.extend(window.mib_sums(&KINDS.map(|kind| kind.mib)))),
    }
    DATAGRAMS_RECEIVED: "UDP datagrams that sockets took." {
        id: "datagrams_received",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::UdpInDatagrams, Mib::Udp6InDatagrams]))),
    }
    ICMP_RECEIVED: "ICMP messages received." {
        id: "icmp_received",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::IcmpInMsgs, Mib::Icmp6InMsgs]))),
    }
}

/// A counter of [`BAD_CHECKSUMS`].
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The counter.
    pub mib: Mib,
    /// What `nstat` calls it.
    pub name: &'static str,
    /// What it counts.
    pub what: &'static str,
    /// Whether the damaged ones are among those received, too.
    pub received: bool,
}

/// All of them.
pub static KINDS: [Kind; 5] = [
    kind(
        Mib::TcpInCsumErrors,
        "TcpInCsumErrors",
        "TCP segments",
        true,
    ),
    kind(
        Mib::UdpInCsumErrors,
        "UdpInCsumErrors",
        "UDP datagrams over IPv4",
        false,
    ),
    kind(
        Mib::Udp6InCsumErrors,
        "Udp6InCsumErrors",
        "UDP datagrams over IPv6",
        false,
    ),
    kind(
        Mib::IcmpInCsumErrors,
        "IcmpInCsumErrors",
        "ICMP messages",
        true,
    ),
    kind(
        Mib::Icmp6InCsumErrors,
        "Icmp6InCsumErrors",
        "ICMPv6 messages",
        true,
    ),
];

const fn kind(mib: Mib, name: &'static str, what: &'static str, received: bool) -> Kind {
    Kind {
        mib,
        name,
        what,
        received,
    }
}

/// The drop reasons of the same packets, from 5.18 on.
pub const REASONS: [&str; 3] = ["TCP_CSUM", "UDP_CSUM", "ICMP_CSUM"];
