//! The backlog in front of the stack on each CPU.

use osi_common::layer::Layer;

use crate::layer::{Amount, Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::Softnet;

rows! { Layer::L1;
    SOFTNET_BACKLOG: "Packets waiting in the fullest CPU's backlog; beyond net.core.netdev_max_backlog they are dropped." {
        id: "softnet_backlog",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["softnet"],
        since: "5.10",
        read: Read::Capacity(backlog),
    }
    SOFTNET_DROPPED: "Packets dropped because a CPU's backlog was full." {
        id: "softnet_dropped",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["softnet"],
        since: "2.6",
        read: Read::Drops(dropped),
    }
    SOFTNET_SQUEEZED: "Times a CPU's packet processing ran out of its budget with work left." {
        id: "softnet_squeezed",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["softnet"],
        since: "2.6",
        read: Read::Traffic(squeezed),
    }
}

fn backlog(window: &Window, rows: &mut Vec<Use>) {
    let fullest = window
        .host()
        .softnet
        .iter()
        .filter_map(|cpu| cpu.backlog)
        .max();
    rows.extend(fullest.map(|used| Use {
        scope: Scope::host(),
        used: used as f64,
        capacity: window.host().netdev_max_backlog.map(|limit| limit as f64),
        lower_bound: false,
    }));
}

fn dropped(window: &Window, rows: &mut Vec<Amount>) {
    rows.push(growth(window, |cpu| cpu.dropped));
}

fn squeezed(window: &Window, rows: &mut Vec<Amount>) {
    rows.push(growth(window, |cpu| cpu.squeezed));
}

fn growth(window: &Window, field: fn(&Softnet) -> u64) -> Amount {
    let before = &window.previous.host.softnet;
    let cpus = window.host().softnet.iter().filter_map(|now| {
        let old = before.iter().find(|old| old.cpu == now.cpu)?;
        Some(field(now).saturating_sub(field(old)))
    });
    Amount {
        scope: Scope::host(),
        delta: cpus.sum(),
    }
}
