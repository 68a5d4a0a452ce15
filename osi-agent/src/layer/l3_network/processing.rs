//! The CPUs' share of packet processing: what forwards, filters and delivers runs in softirqs.

use osi_common::layer::Layer;

use crate::layer::{Read, Source, Unit, Use, Window, rows};
use crate::scope::{Scope, ScopeKind};
use crate::snapshot::CpuTime;

rows! { Layer::L3;
    PACKET_PROCESSING: "Time of the busiest CPU in softirqs, where packets are processed, of all its time that no hypervisor took. Threads of NAPI are no part of it." {
        id: "packet_processing",
        unit: Unit::Nanoseconds,
        source: Source::Proc,
        scope: ScopeKind::Host,
        fed_by: &["softnet"],
        since: "2.6",
        read: Read::Capacity(busiest),
    }
}

/// A tick of `USER_HZ` in nanoseconds.
pub const TICK_NS: u64 = 10_000_000;

fn busiest(window: &Window, rows: &mut Vec<Use>) {
    let most = by_cpu(window).max_by(|(_, a), (_, b)| a.share().total_cmp(&b.share()));
    rows.extend(most.map(|(_, busy)| Use {
        scope: Scope::host(),
        used: (busy.softirq_ticks * TICK_NS) as f64,
        capacity: Some((busy.ticks * TICK_NS) as f64),
        lower_bound: false,
    }));
}

/// Ticks of a CPU, beside what a hypervisor took, below which its shares are too coarse to tell anything.
const ENOUGH: u64 = 5;

/// What each CPU that was online at both ends of the window spent its time on; none that had hardly any.
pub fn by_cpu<'a>(window: &Window<'a>) -> impl Iterator<Item = (u32, CpuTime)> + use<'a> {
    let before = &window.previous.host.softnet;
    window.host().softnet.iter().filter_map(move |now| {
        let old = before.iter().find(|old| old.cpu == now.cpu)?.time;
        let spent = CpuTime {
            softirq_ticks: now.time.softirq_ticks.saturating_sub(old.softirq_ticks),
            ticks: now.time.ticks.saturating_sub(old.ticks),
            stolen_ticks: now.time.stolen_ticks.saturating_sub(old.stolen_ticks),
        };
        (spent.ticks >= ENOUGH).then_some((now.cpu, spent))
    })
}
