//! Segments out of order, and marks of congestion: what the path does to packets without losing them.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L4;
    REORDERINGS: "Times that segments of this host arrived in another order than they were sent, as acknowledgements show." {
        id: "reorderings",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::TcpSackReorder, Mib::TcpTsReorder, Mib::TcpRenoReorder]))),
    }
    OUT_OF_ORDER: "Segments received before others that were sent earlier: behind a loss, or overtaking." {
        id: "out_of_order",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.0",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpOfoQueue))),
    }
    OUT_OF_ORDER_DROPS: "Segments received out of order and dropped because their socket's receive buffer was full." {
        id: "out_of_order_drops",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.0",
        read: Read::Drops(|window, rows| rows.extend(window.mib_rows(Mib::TcpOfoDrop))),
    }
    CONGESTION_MARKS: "Packets that a router on the path marked instead of dropping them, because its queue was long (ECN)." {
        id: "congestion_marks",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.11",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::IpInCePkts, Mib::Ip6InCePkts]))),
    }
}
