//! QUIC handshakes of clients and servers on this host, and of clients in its containers.

use osi_common::latency::Latency;
use osi_common::layer::Layer;
use osi_common::tls::Outcomes;
use osi_common::wire::UDP;

use super::tls::{Shaken, shaken_over};
use crate::layer::{Amount, Read, Source, Unit, Window, rows};
use crate::scope::ScopeKind;

rows! { Layer::L6;
    QUIC_HANDSHAKE: "Time from a QUIC client's first datagram to its first packet of data, which tells that it has ended the handshake." {
        id: "quic_handshake",
        unit: Unit::Nanoseconds,
        source: Source::Map,
        scope: ScopeKind::Host,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Latency(Latency::Quic),
    }
    QUIC_V1_COMPLETED: "QUIC handshakes that came to a good end with version 1 (RFC 9000)." {
        id: "quic_v1_completed",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.quic_v1)),
    }
    QUIC_V2_COMPLETED: "QUIC handshakes that came to a good end with version 2 (RFC 9369)." {
        id: "quic_v2_completed",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.quic_v2)),
    }
    QUIC_DRAFT_COMPLETED: "QUIC handshakes that came to a good end with a draft of version 1 or 2." {
        id: "quic_draft_completed",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Traffic(|window, rows| amounts(window, rows, |outcomes| outcomes.quic_draft)),
    }
    QUIC_VERSION_REFUSED: "QUIC handshakes that ended because the server does not speak the client's version." {
        id: "quic_version_refused",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.version_refused)),
    }
    QUIC_UNFINISHED: "QUIC handshakes that the server answered and that did not end within thirty seconds: either side refused or left, which is encrypted, or packets were lost." {
        id: "quic_unfinished",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.unfinished)),
    }
    QUIC_NO_ANSWER: "QUIC handshakes to which no hello of the server came within thirty seconds: a filter on the way drops UDP, nobody has the port, or the server only wanted to be asked again (Retry). Clients go on over TCP." {
        id: "quic_no_answer",
        unit: Unit::Events,
        source: Source::Map,
        scope: ScopeKind::Peer,
        fed_by: &["tc", "quic"],
        since: "5.10",
        read: Read::Errors(|window, rows| amounts(window, rows, |outcomes| outcomes.no_answer)),
    }
}

/// The window's handshakes of QUIC by server and by own port, in the order of their keys; quiet ones are left out.
pub fn shaken(window: &Window) -> Vec<Shaken> {
    shaken_over(UDP, window)
}

fn amounts(window: &Window, rows: &mut Vec<Amount>, count: fn(&Outcomes) -> u64) {
    rows.extend(shaken(window).into_iter().map(|row| Amount {
        delta: count(&row.outcomes),
        scope: row.scope,
    }));
}
