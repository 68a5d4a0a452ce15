//! CPU time that those who serve do not get: they wait for a CPU, a hypervisor takes it, or the quota of their cgroup is used up.

use osi_common::layer::Layer;

use crate::layer::l3_network::processing::TICK_NS;
use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Netns, Process, Scope, ScopeKind};
use crate::snapshot::{CpuTime, Quota};

rows! { Layer::L7;
    CPU_PRESSURE: "Time in which at least one runnable process of the host waited for a CPU (pressure stall information, `some`)." {
        id: "cpu_pressure",
        unit: Unit::Nanoseconds,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["cpu_pressure"],
        since: "4.20",
        read: Read::Capacity(pressure),
    }
    CPU_STOLEN: "Time of the host's CPUs that a hypervisor took while they had something to do (steal)." {
        id: "cpu_stolen",
        unit: Unit::Nanoseconds,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["softnet"],
        since: "2.6.11",
        read: Read::Capacity(stolen),
    }
    CPU_THROTTLED: "Periods in which the cgroup of a process that serves a listener had used up its quota of CPU time, of those in which it ran." {
        id: "cpu_throttled",
        unit: Unit::Events,
        source: Source::Proc,
        scope: ScopeKind::Process,
        fed_by: &["cpu_quotas", "listeners"],
        since: "3.2",
        read: Read::Capacity(throttled),
    }
}

fn pressure(window: &Window, rows: &mut Vec<Use>) {
    let [Some(before), Some(now)] =
        [&window.previous.host, window.host()].map(|host| host.waited_for_cpu)
    else {
        return;
    };
    // On a host under pressure the file is read later in one pass than in another, and in some not at all.
    let elapsed_ns = now.read_ns.saturating_sub(before.read_ns);
    if elapsed_ns > 0 {
        rows.push(Use {
            scope: Scope::host(),
            used: now
                .waited_ns
                .saturating_sub(before.waited_ns)
                .min(elapsed_ns) as f64,
            capacity: Some(elapsed_ns as f64),
            lower_bound: false,
        });
    }
}

fn stolen(window: &Window, rows: &mut Vec<Use>) {
    let before = &window.previous.host.softnet;
    let (mut taken, mut all) = (0, 0);
    for now in &window.host().softnet {
        let Some(old) = before.iter().find(|old| old.cpu == now.cpu) else {
            continue;
        };
        let since = |ticks: fn(&CpuTime) -> u64| ticks(&now.time).saturating_sub(ticks(&old.time));
        let stolen = since(|time| time.stolen_ticks);
        taken += stolen;
        all += stolen + since(|time| time.ticks);
    }
    if all > 0 {
        rows.push(Use {
            scope: Scope::host(),
            used: (taken * TICK_NS) as f64,
            capacity: Some((all * TICK_NS) as f64),
            lower_bound: false,
        });
    }
}

fn throttled(window: &Window, rows: &mut Vec<Use>) {
    rows.extend(starved(window).into_iter().map(|row| Use {
        scope: Scope::process(Some(row.netns), row.process),
        used: row.throttled as f64,
        capacity: Some(row.periods as f64),
        lower_bound: false,
    }));
}

/// A process that serves a listener and whose cgroup was throttled in the window.
#[derive(Debug)]
pub struct Starved<'a> {
    /// Where it listens.
    pub netns: &'a Netns,
    /// The one with the lowest id where several share the quota.
    pub process: &'a Process,
    /// Path of the cgroup that has the quota.
    pub group: &'a str,
    /// Periods in which it ran.
    pub periods: u64,
    /// Of these, periods in which the quota was used up.
    pub throttled: u64,
    /// Time that was withheld from its tasks, of all CPUs together.
    pub withheld_ns: u64,
    /// How much of the time in which it ran under the quota that is: one that is lifted leaves the rest of the window out.
    pub withheld_share: f64,
}

/// Those of the watched namespaces, in the order of the groups. Where a group and one inside it are throttled, both are told.
pub fn starved<'a>(window: &Window<'a>) -> Vec<Starved<'a>> {
    let before = &window.previous.host.quotas.rows;
    let (quotas, window) = (window.host().quotas.rows.iter(), *window);
    let of_group = |now: &'a Quota| {
        let old = before.iter().find(|old| old.group == now.group)?;
        let throttled = now.throttled.saturating_sub(old.throttled);
        if throttled == 0 {
            return None;
        }
        let (netns, process) = serving(&window, &now.members)?;
        // The period at hand may be throttled before it is counted.
        let periods = now.periods.saturating_sub(old.periods).max(throttled);
        let withheld_ns = now.withheld_ns.saturating_sub(old.withheld_ns);
        Some(Starved {
            netns,
            process,
            group: &now.group,
            periods,
            throttled,
            withheld_ns,
            withheld_share: withheld_share(now, periods, withheld_ns, window.elapsed_ns()),
        })
    };
    quotas.filter_map(of_group).collect()
}

/// How much of so many periods, or of a window that is shorter, was withheld: the last one may have been lifted while it ran, and
/// each began with a quota that was used.
fn withheld_share(quota: &Quota, periods: u64, withheld_ns: u64, elapsed_ns: u64) -> f64 {
    let Quota {
        quota_ns,
        period_ns,
        ..
    } = *quota;
    let all_ns = periods.saturating_mul(period_ns);
    let ran_ns = if period_ns == 0 || all_ns >= elapsed_ns {
        elapsed_ns
    } else {
        periods.saturating_sub(1).max(1) * period_ns
    };
    let used = quota_ns as f64 / period_ns.max(1) as f64;
    (withheld_ns as f64 / ran_ns as f64).min((1.0 - used).max(0.0))
}

/// The first of these processes that opened a listener, has one open, or connections accepted from one.
fn serving<'a>(window: &Window<'a>, members: &[u32]) -> Option<(&'a Netns, &'a Process)> {
    let snapshot = window.now;
    let mut found = Vec::new();
    for state in &snapshot.namespaces {
        let listeners = state.listeners.iter();
        let owners = listeners.filter_map(|listener| snapshot.owners.of.get(&listener.inode));
        let servers = owners.flat_map(|owner| {
            let opened = owner.opened_by.iter();
            opened.chain(&owner.held_by).chain(&owner.served_by)
        });
        let members = servers.filter(|process| members.contains(&process.pid));
        found.extend(members.map(|process| (&state.netns, process)));
    }
    found.into_iter().min_by_key(|(_, process)| process.pid)
}
