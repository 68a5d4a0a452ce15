//! The receive backlog of each CPU: `/proc/net/softnet_stat`, the same in every namespace.

use std::io;

use super::{Scratch, procfs};
use crate::snapshot::Softnet;

/// Reads the CPUs' lines and `net.core.netdev_max_backlog`, which only the initial namespace shows.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<(Vec<Softnet>, Option<u64>)> {
    let lines = parse(procfs::net("softnet_stat", &mut scratch.text)?);
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
            })
        })
        .collect()
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
                backlog: None
            }]
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[0-9a-fx \\n]{0,200}") {
            let _ = parse(&text);
        }
    }
}
