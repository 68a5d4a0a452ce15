//! Pressure on the host's CPUs: `/proc/pressure/cpu` (Documentation/accounting/psi.rst, 4.20 on).

use std::io;

use super::{Scratch, procfs};

/// Nanoseconds since boot in which at least one runnable task waited for a CPU.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<u64> {
    let text = procfs::read("/proc/pressure/cpu", &mut scratch.text)?;
    let found = waited_ns(text);
    found.ok_or_else(|| {
        io::Error::other(
            "/proc/pressure/cpu has no total; does psi=0 stand on the kernel's command line?",
        )
    })
}

/// The total of the line `some`, which is in microseconds.
pub(crate) fn waited_ns(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let mut words = line.split_ascii_whitespace();
    let total: u64 = words
        .find_map(|word| word.strip_prefix("total="))?
        .parse()
        .ok()?;
    total.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::waited_ns;

    #[test]
    fn the_total_of_some_is_taken() {
        let text = "some avg10=8.74 avg60=8.33 avg300=6.65 total=1011\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(waited_ns(text), Some(1_011_000));
        assert_eq!(waited_ns("full total=7\n"), None);
    }
}
