//! TCP Fast Open (RFC 7413): data in SYNs.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, rows};
use crate::scope::ScopeKind;
use crate::snapshot::Mib;

rows! { Layer::L4;
    FAST_OPEN_ACTIVE: "Connects whose data was acknowledged with their SYN." {
        id: "fast_open_active",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenActive))),
    }
    FAST_OPEN_ACTIVE_FAILED: "Connects with data in their SYN that had to send it again." {
        id: "fast_open_active_failed",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenActiveFail))),
    }
    FAST_OPEN_PASSIVE: "Connections accepted with data in their SYN." {
        id: "fast_open_passive",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenPassive))),
    }
    FAST_OPEN_PASSIVE_FAILED: "SYNs with data whose cookie was wrong." {
        id: "fast_open_passive_failed",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenPassiveFail))),
    }
    FAST_OPEN_OVERFLOWS: "SYNs with data that found too many such requests pending and were handled without it." {
        id: "fast_open_overflows",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenListenOverflow))),
    }
    FAST_OPEN_COOKIES: "SYNs that asked for a Fast Open cookie." {
        id: "fast_open_cookies",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Traffic(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenCookieReqd))),
    }
    FAST_OPEN_BLACKHOLES: "Times that Fast Open was turned off because the path swallows it." {
        id: "fast_open_blackholes",
        unit: Unit::Connections,
        source: Source::Proc,
        scope: ScopeKind::Netns,
        fed_by: &["mibs"],
        since: "4.14",
        read: Read::Errors(|window, rows| rows.extend(window.mib_rows(Mib::TcpFastOpenBlackhole))),
    }
}
