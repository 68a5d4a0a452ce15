//! Resets, both directions.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;

rows! { Layer::L4;
    RESETS_SENT: "Resets that this host sent." {
        id: "resets_sent",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["resets_sent"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::ResetSent, |_| true))),
    }
    RESETS_RECEIVED: "Resets that arrived." {
        id: "resets_received",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["resets_received"],
        since: "4.16",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::ResetReceived, |_| true))),
    }
}
