//! Segments that are too large for the path, where nobody says so.

use osi_common::layer::Layer;
use osi_common::occurrence::Kind;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;

rows! { Layer::L3;
    FULL_SIZE_UNACKED: "First full-size segments of connections, sent again after a second time-out: smaller ones got through before them." {
        id: "full_size_unacked",
        unit: Unit::Segments,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["retransmits"],
        since: "5.10",
        read: Read::Errors(|window, rows| rows.extend(window.occurrence_rows(Kind::FullSizeUnacked, |_| true))),
    }
}
