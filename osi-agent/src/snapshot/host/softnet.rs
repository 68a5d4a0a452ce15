//! The receive backlog of each CPU: `/proc/net/softnet_stat`, and its time: `/proc/stat`. Both are the same in every namespace.

use std::collections::BTreeMap;
use std::io;

use super::{Scratch, procfs};
use crate::snapshot::{CpuTime, Softnet};

/// Reads the CPUs' lines and `net.core.netdev_max_backlog`, which only the initial namespace shows.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<(Vec<Softnet>, Option<u64>)> {
    let mut lines = parse(procfs::net("softnet_stat", &mut scratch.text)?);
    let times = times(procfs::read("/proc/stat", &mut scratch.text)?);
    for line in &mut lines {
        line.time = times.get(&line.cpu).copied().unwrap_or_default();
    }
    let limit = procfs::optional_setting("core/netdev_max_backlog", 0, &mut scratch.text)?;
    Ok((lines, limit))
}

/// `softnet_seq_show()`: hexadecimal columns, of which later kernels have more. Counters are 32 bit and wrap.
pub(crate) fn parse(text: &str) -> Vec<Softnet> {
    text.lines()
        .enumerate()
        .filter_map(|(line, columns)| {
            let at = |column| {
                u32::from_str_radix(columns.split_ascii_whitespace().nth(column)?, 16).ok()
            };
            Some(Softnet {
                // Offline CPUs have no line; the number stands in column 12 from 5.10 on.
                cpu: at(12).unwrap_or(line as u32),
                processed: at(0)?.into(),
                dropped: at(1)?.into(),
                squeezed: at(2)?.into(),
                backlog: at(11).map(u64::from),
                time: CpuTime::default(),
            })
        })
        .collect()
}

/// `show_stat()`: a line of each CPU that is online.
///
/// The first seven columns are what it spent. The eighth is what the hypervisor took from it (steal), which it had never; the
/// ninth and tenth, what its own guests took, are in the first two already.
pub(crate) fn times(text: &str) -> BTreeMap<u32, CpuTime> {
    const COLUMNS: usize = 7;
    const SOFTIRQ: usize = 6;
    const STEAL: usize = 7;
    let time_of = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
        // The first line, of all together, has no number.
        let cpu = line[3..]
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| words.next());
        let cpu = cpu??.parse().ok()?;
        let columns: Vec<u64> = words
            .take(STEAL + 1)
            .map_while(|word| word.parse().ok())
            .collect();
        let time = CpuTime {
            softirq_ticks: *columns.get(SOFTIRQ)?,
            ticks: columns
                .iter()
                .take(COLUMNS)
                .fold(0, |sum, ticks| sum.saturating_add(*ticks)),
            // Before 2.6.11 there was none.
            stolen_ticks: columns.get(STEAL).copied().unwrap_or_default(),
        };
        Some((cpu, time))
    };
    text.lines().filter_map(time_of).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_of_a_new_kernel() {
        let text = "\
000594ad 00000002 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000000 00000000 00000000
0005d598 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000000 00000000
";
        let cpus = parse(text);
        let first = Softnet {
            cpu: 0,
            processed: 0x594ad,
            dropped: 2,
            squeezed: 1,
            backlog: Some(16),
            time: CpuTime::default(),
        };
        assert_eq!((cpus[0], cpus[1].cpu, cpus.len()), (first, 3, 2));
    }

    #[test]
    fn columns_of_an_old_kernel() {
        let cpus = parse(
            "0000000a 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n",
        );
        assert_eq!(
            cpus,
            [Softnet {
                cpu: 0,
                processed: 10,
                dropped: 0,
                squeezed: 1,
                backlog: None,
                time: CpuTime::default(),
            }]
        );
    }

    #[test]
    fn time_of_each_cpu_and_not_of_all_together() {
        let text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 70 8 900 900\ncpu3 1 0 0 9 0 0 0 0 0 0\nintr 5 6\n";
        let times = times(text);
        let (first, last) = (times[&0], times[&3]);
        assert_eq!((first.softirq_ticks, first.ticks), (70, 91));
        assert_eq!((last.softirq_ticks, last.ticks, times.len()), (0, 10, 2));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[0-9a-fx \\n]{0,200}") {
            let _ = parse(&text);
        }
    }
}
