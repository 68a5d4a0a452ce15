//! Those who serve do not get the CPU time that they need.

use osi_common::layer::Layer;

use super::super::owner;
use super::super::text::{percent, place, quoted};
use super::super::{
    Advice, Cause, CauseClass, Confidence, Evidence, Facts, Finding, Impact, Onset, Severity,
    Sighting, Threshold,
};
use super::application_stalled::APPLICATION_STALLED;
use super::listener;
use crate::layer::l7_application::cpu::{
    CPU_PRESSURE, CPU_STOLEN, CPU_THROTTLED, Starved, starved,
};
use crate::layer::l7_application::exchange::{REQUEST_DWELL, Served, served};
use crate::layer::{Signal, Window};
use crate::scope::Scope;

pub(in crate::verdict) static CPU_STARVED: Cause = Cause {
    id: "cpu_starved",
    layer: Layer::L7,
    class: CauseClass::Capacity,
    onset: Onset::Statistical,
    severity: Severity::Warn,
    help: "A process that serves is throttled by the CPU quota of its cgroup; or requests wait to be read while processes of the host wait for CPUs, or a hypervisor takes them.",
    explained_by: &[],
    suspects: &[],
    reads: &[&CPU_THROTTLED, &CPU_PRESSURE, &CPU_STOLEN],
    thresholds: &[
        Threshold::of("throttled_ratio", 0.1),
        Threshold::of("pressure_ratio", 0.4),
        Threshold::of("stolen_ratio", 0.2),
        // Busy CPUs alone are no fault: batch jobs wait for them all day.
        Threshold::of("waited_s", WAITED_S),
        Threshold::of("requests", 5.0),
    ],
    detect,
    advise,
};

/// As long as what `application_slow` calls slow.
const WAITED_S: f64 = 0.1;
/// Evidence whose explanation is the cgroup that has the quota.
const GROUP: &str = "cpu_quota";
/// Evidence that is the time that its tasks did not get.
const WITHHELD: &str = "withheld";
/// Evidence that is how much of their time under the quota that was.
const WITHHELD_SHARE: &str = "withheld_share";
/// Who runs for the rest of the time reads something.
const NEARLY_ALL: f64 = 0.9;

fn detect(facts: &Facts, found: &mut Vec<Sighting>) {
    let throttled = starved(facts.window);
    for row in &throttled {
        let ratio = row.throttled as f64 / row.periods as f64;
        if ratio > facts.limit("throttled_ratio") {
            found.push(by_quota(row, ratio));
        }
    }
    let felt: Vec<_> = served(facts.window)
        .into_iter()
        .filter(|row| waits(facts, row))
        .collect();
    let worst = felt.iter().max_by_key(|row| row.dwell.sum_ns);
    let (Some(worst), Some(scope)) = (worst, facts.host_or_watched(felt.len() as u64)) else {
        return;
    };
    for (signal, limit, what) in [
        (
            &CPU_STOLEN,
            "stolen_ratio",
            "A hypervisor takes CPU time from this host",
        ),
        (
            &CPU_PRESSURE,
            "pressure_ratio",
            "Processes wait for CPUs on this host",
        ),
    ] {
        let meter = facts.map.meters(signal).next();
        let ratio = meter.and_then(|meter| meter.ratio).unwrap_or_default();
        // The kernel counts who is throttled among those that wait for a CPU.
        let is_told = signal.id == CPU_PRESSURE.id && !throttled.is_empty();
        if ratio > facts.limit(limit) && !is_told {
            found.push(by_host(scope, signal, (what, ratio), worst));
            return;
        }
    }
}

/// Whether requests wait until their process gets a CPU to read them.
fn waits(facts: &Facts, row: &Served) -> bool {
    let mean_ns = row.dwell.mean_ns().unwrap_or_default();
    row.dwell.times.count() as f64 >= facts.limit("requests")
        && mean_ns as f64 > facts.limit("waited_s") * 1e9
}

/// Whether requests wait at a listener until their process gets a CPU. Who reads at once has one.
pub(in crate::verdict) fn is_kept_waiting(window: &Window, at: &Scope) -> bool {
    let limit_ns = (WAITED_S * 1e9) as u64;
    let mut rows = served(window).into_iter();
    rows.any(|row| at.covers(&row.scope) && row.dwell.mean_ns() > Some(limit_ns))
}

/// Whether the time that a quota withheld may be what is felt: directly, by half at least, or by the queue that it makes.
pub(in crate::verdict) fn withheld_enough(
    window: &Window,
    fault: &Finding,
    felt: &Finding,
) -> bool {
    let elapsed_ns = window.elapsed_ns() as f64;
    let took_ns = felt.evidence.first().map_or(0.0, |row| row.value);
    if felt.cause == APPLICATION_STALLED.id {
        return fault.value(WITHHELD_SHARE) >= NEARLY_ALL
            && 2.0 * fault.value(WITHHELD) >= took_ns.min(elapsed_ns);
    }
    // Where more is wanted than there is in nearly every period, a queue grows for as long as that goes on.
    if fault.value(GROUP) >= NEARLY_ALL && is_kept_waiting(window, &felt.scope) {
        return true;
    }
    let share = (fault.value(WITHHELD) / elapsed_ns).min(1.0);
    took_ns - felt.value("usual") <= 2.0 * share * took_ns.max(elapsed_ns)
}

fn by_quota(row: &Starved, ratio: f64) -> Sighting {
    let scope = Scope::process(Some(row.netns), row.process);
    let seconds = row.withheld_ns as f64 / 1e9;
    Sighting {
        onset: Onset::Statistical,
        confidence: Confidence::Certain,
        severity: Severity::Warn,
        evidence: vec![
            Evidence::new(
                CPU_THROTTLED.id,
                row.throttled as f64,
                "events",
                format!("of {} periods in which the quota was used up", row.periods),
            ),
            Evidence::new(GROUP, ratio, "ratio", row.group),
            Evidence::new(
                WITHHELD,
                row.withheld_ns as f64,
                "ns",
                "CPU time that its tasks wanted and did not get",
            ),
            Evidence::new(
                WITHHELD_SHARE,
                row.withheld_share,
                "ratio",
                "of the time in which it ran under the quota",
            ),
        ],
        // Whom it hurts is told by its symptoms.
        impact: Impact::default(),
        summary: format!(
            "{}{} is throttled: the CPU quota of its cgroup was used up in {} of its periods, and its tasks were kept from running for {seconds:.2} s.",
            owner::process(row.process),
            place(&scope),
            percent(ratio)
        ),
        scope,
    }
}

fn by_host(scope: Scope, signal: &Signal, (what, ratio): (&str, f64), worst: &Served) -> Sighting {
    let mean_ns = worst.dwell.mean_ns().unwrap_or_default() as f64;
    Sighting {
        onset: Onset::Statistical,
        // Who waits may wait for something else as well.
        confidence: Confidence::Likely,
        severity: Severity::Warn,
        evidence: vec![
            Evidence::new(signal.id, ratio, "ratio", "of the window"),
            Evidence::new(
                REQUEST_DWELL.id,
                mean_ns,
                "ns",
                format!(
                    "requests of {} waited on average to be read",
                    listener(&worst.scope)
                ),
            ),
        ],
        impact: Impact {
            connections: worst.dwell.times.count(),
            ..Impact::default()
        },
        summary: format!(
            "{what} for {} of the time, and requests of {}{} wait {:.0} ms to be read.",
            percent(ratio),
            listener(&worst.scope),
            place(&worst.scope),
            mean_ns / 1e6
        ),
        scope,
    }
}

fn advise(finding: &Finding) -> Vec<Advice> {
    let mut ratios = finding.evidence.iter().filter(|row| row.unit == "ratio");
    let ratio = ratios.next().map_or(0.0, |row| row.value);
    let mut rows = finding.evidence.iter();
    if let Some(group) = rows.find(|row| row.signal == GROUP).map(|row| &row.why) {
        return vec![Advice {
            text: format!("{group} uses up its CPU quota in {} of its periods: a larger quota, or less work in it.", percent(ratio)),
            confirm: format!("cat {}/cpu.stat", quoted(group)),
            change: "raise the quota where it is set: systemctl set-property UNIT CPUQuota=…, docker update --cpus=…, limits.cpu of the pod".to_owned(),
            trade_off: "What it gets is taken from what else runs on these CPUs.".to_owned(),
        }];
    }
    if finding.row(&CPU_STOLEN).is_some() {
        return vec![Advice {
            text: format!(
                "The hypervisor gives {} of this machine's CPU time to others: no setting of this host brings it back.",
                percent(ratio)
            ),
            confirm: "grep -w cpu /proc/stat".to_owned(),
            change: "move the machine to another host or a size with CPUs of its own".to_owned(),
            trade_off: "A move costs a restart; CPUs of its own cost more.".to_owned(),
        }];
    }
    vec![Advice {
        text: format!("Processes wait for CPUs {} of the time: find who uses them, and whether that must run here and now.", percent(ratio)),
        confirm: "cat /proc/pressure/cpu".to_owned(),
        change: "move batch work elsewhere, or give it less weight (systemctl set-property UNIT CPUWeight=10, nice)".to_owned(),
        trade_off: "What has less weight takes longer.".to_owned(),
    }]
}
