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
    SOFTNET_PROCESSED: "Packets that the CPUs took off their backlogs or off the devices." {
        id: "softnet_processed",
        unit: Unit::Packets,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["softnet"],
        since: "2.6",
        read: Read::Traffic(processed),
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

fn processed(window: &Window, rows: &mut Vec<Amount>) {
    rows.push(growth(window, |cpu| cpu.processed));
}

fn growth(window: &Window, field: fn(&Softnet) -> u64) -> Amount {
    Amount {
        scope: Scope::host(),
        delta: by_cpu(window, field).map(|(_, delta)| delta).sum(),
    }
}

/// Growth of a column per CPU that was online at both ends of the window.
pub fn by_cpu<'a>(
    window: &Window<'a>,
    field: fn(&Softnet) -> u64,
) -> impl Iterator<Item = (u32, u64)> + use<'a> {
    let before = &window.previous.host.softnet;
    window.host().softnet.iter().filter_map(move |now| {
        let old = before.iter().find(|old| old.cpu == now.cpu)?;
        Some((now.cpu, field(now).saturating_sub(field(old))))
    })
}

#[cfg(test)]
mod tests {
    use super::{Softnet, growth};
    use crate::layer::Window;
    use crate::snapshot::{HostState, Snapshot};

    fn cpus(rows: &[(u32, u64)]) -> Snapshot {
        let softnet = rows.iter().map(|&(cpu, dropped)| Softnet {
            cpu,
            dropped,
            ..Softnet::default()
        });
        Snapshot {
            host: HostState {
                softnet: softnet.collect(),
                ..HostState::default()
            },
            ..Snapshot::default()
        }
    }

    fn dropped(previous: &Snapshot, now: &Snapshot) -> u64 {
        let window = Window {
            previous,
            now,
            single_netns: false,
        };
        growth(&window, |cpu| cpu.dropped).delta
    }

    /// Offline CPUs have no row: the others move up, and are still compared with themselves.
    #[test]
    fn cpus_that_come_and_go_count_nothing_twice() {
        let all = cpus(&[(0, 5), (1, 7), (4, 100)]);
        let without = cpus(&[(0, 6), (4, 100)]);
        assert_eq!(dropped(&all, &without), 1);
        assert_eq!(dropped(&without, &all), 0);
        assert_eq!(dropped(&without, &cpus(&[(0, 6), (1, 9), (4, 102)])), 2);
    }
}
