//! Segments sent, and sent again.

use osi_common::layer::Layer;
use osi_common::occurrence::{Kind, Phase};

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L4;
    RETRANSMITS_HANDSHAKE: "SYNs sent again because nothing came back." {
        id: "retransmits_handshake",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["retransmits"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::Retransmit, |phase| phase == Phase::Handshake as u32))),
    }
    RETRANSMITS_DATA: "Payload sent again on established connections." {
        id: "retransmits_data",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["retransmits"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::Retransmit, |phase| phase == Phase::Data as u32))),
    }
    RETRANSMITS_CLOSE: "Segments sent again after the first FIN." {
        id: "retransmits_close",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["retransmits"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::Retransmit, |phase| phase == Phase::Close as u32))),
    }
    SYNACK_RETRANSMITS: "SYN-ACKs sent again by listeners." {
        id: "synack_retransmits",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["synack_retransmits"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::RetransmitSynack, |_| true))),
    }
    SEGMENTS_RETRANSMITTED: "Segments sent again, as the kernel's own counter has them." {
        id: "segments_retransmitted",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpRetransSegs))),
    }
    SYN_SEGMENTS_RETRANSMITTED: "SYN and SYN-ACK segments among those sent again." {
        id: "syn_segments_retransmitted",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpSynRetrans))),
    }
    SEGMENTS_SENT: "Segments sent, those sent again excluded." {
        id: "segments_sent",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpOutSegs))),
    }
    SEGMENTS_RECEIVED: "Segments received." {
        id: "segments_received",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpInSegs))),
    }
    RETRANSMISSION_TIMEOUTS: "Retransmission timers that ran out." {
        id: "retransmission_timeouts",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpTimeouts))),
    }
}

/// Whether a retransmit of this phase is no handshake's.
pub const fn is_payload(phase: u32) -> bool {
    phase != Phase::Handshake as u32
}
