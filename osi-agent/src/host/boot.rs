//! Boot time as the kernel's programs stamp it, also for an agent in a time namespace.

use std::sync::LazyLock;

/// What a time namespace adds to `CLOCK_BOOTTIME` for this process; a process never changes its own.
static OFFSET_NS: LazyLock<i64> = LazyLock::new(|| {
    let namespace = |name| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    // The file tells what children get. Kernels differ in whether a process that unshared and then called exec() is one.
    if namespace("time") != namespace("time_for_children") {
        return 0;
    }
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    parse_offset(&offsets)
});

/// Now, on the clock of `bpf_ktime_get_boot_ns()`: the one of the initial time namespace.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let shown = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    shown.saturating_sub_signed(*OFFSET_NS)
}

/// A process's start time as `/proc/PID/stat` shows it to this process, out of the moment that the programs saw; `None` where
/// they could not read it.
pub fn start_time(started_ns: u64) -> Option<u64> {
    let shown = started_ns.saturating_add_signed(*OFFSET_NS);
    let per_second = rustix::param::clock_ticks_per_second();
    let ticks = u128::from(shown) * u128::from(per_second) / 1_000_000_000;
    (started_ns != 0).then_some(ticks as u64)
}

/// The boot time's offset in nanoseconds out of `/proc/PID/timens_offsets`; 0 where the kernel has no time namespaces.
pub(crate) fn parse_offset(offsets: &str) -> i64 {
    let read = || {
        let mut fields = offsets
            .lines()
            .find_map(|line| line.strip_prefix("boottime"))?
            .split_ascii_whitespace();
        let seconds: i64 = fields.next()?.parse().ok()?;
        let nanoseconds: i64 = fields.next()?.parse().ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
    };
    read().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{parse_offset, start_time};

    #[test]
    fn start_times_are_told_in_ticks_and_only_where_they_were_read() {
        let per_second = rustix::param::clock_ticks_per_second();
        assert_eq!(start_time(3_000_000_001), Some(3 * per_second));
        assert_eq!(start_time(0), None);
    }

    #[test]
    fn the_offset_has_seconds_and_nanoseconds_forwards() {
        let offsets = |boottime| format!("monotonic           7         0\nboottime  {boottime}\n");
        assert_eq!(
            parse_offset(&offsets("   100000         0")),
            100_000_000_000_000
        );
        assert_eq!(parse_offset(&offsets("      -2 500000000")), -1_500_000_000);
        assert_eq!(parse_offset(&offsets("9223372036854775807 1")), 0);
        assert_eq!(parse_offset(""), 0);
    }
}
