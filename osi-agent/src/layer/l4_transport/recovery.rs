//! How TCP finds out that segments were lost, and what it sent again in vain.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L4;
    RETRANSMITS_FAST: "Segments sent again because the peer acknowledged later ones: single losses that cost about one round trip." {
        id: "retransmits_fast",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastRetrans))),
    }
    RETRANSMITS_AFTER_TIMEOUT: "Segments sent again after a retransmission timer ran out: losses that cost at least 200 ms." {
        id: "retransmits_after_timeout",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpSlowStartRetrans))),
    }
    RETRANSMITS_LOST: "Retransmissions that were lost, too." {
        id: "retransmits_lost",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpLostRetransmit))),
    }
    LOSS_PROBES: "Tail loss probes: the last segment sent again, or the next one, because an acknowledgement is late." {
        id: "loss_probes",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.10",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpLossProbes))),
    }
    LOSS_PROBE_RECOVERIES: "Losses that a tail loss probe repaired before a timer ran out." {
        id: "loss_probe_recoveries",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.10",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpLossProbeRecovery))),
    }
    RETRANSMITS_NEEDLESS: "Segments of this host that peers say they received twice (DSACK): they were late, not lost." {
        id: "retransmits_needless",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "5.9",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpDsackRecvSegs))),
    }
    DSACKS_RECEIVED: "Reports of segments received twice (DSACK), of which one may cover several segments." {
        id: "dsacks_received",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::TcpDsackRecv, Mib::TcpDsackOfoRecv]))),
    }
    DSACKS_IGNORED: "Such reports that fit nothing that was sent again: the network duplicates, or they are old." {
        id: "dsacks_ignored",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::TcpDsackIgnoredOld, Mib::TcpDsackIgnoredNoUndo, Mib::TcpDsackIgnoredDubious]))),
    }
    DSACKS_SENT: "Segments that this host received twice, as it reported them (DSACK): their sender was impatient, or acknowledgements were lost." {
        id: "dsacks_sent",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::TcpDsackOldSent, Mib::TcpDsackOfoSent]))),
    }
    SPURIOUS_TIMEOUTS: "Retransmission timers that ran out although the first copy arrived, as later acknowledgements showed (F-RTO)." {
        id: "spurious_timeouts",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpSpuriousRtos))),
    }
    SLOWDOWNS_UNDONE: "Times that TCP took a slow-down back because nothing had been lost." {
        id: "slowdowns_undone",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "2.6",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_sums(&[Mib::TcpFullUndo, Mib::TcpPartialUndo, Mib::TcpDsackUndo, Mib::TcpLossUndo]))),
    }
    RETRANSMITS_REFUSED: "Retransmissions that a lower layer of this host refused to send." {
        id: "retransmits_refused",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.17",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpRetransFail))),
    }
    RETRANSMITS_STILL_QUEUED: "Retransmissions given up because the first copy still waits in a queue of this host." {
        id: "retransmits_still_queued",
        unit: Unit::Segments,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "3.10",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpSpuriousRtxHostQueues))),
    }
}
