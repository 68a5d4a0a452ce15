//! How slow this machine is: `OSI_TIME_SCALE`, a whole number that is 1 unless it is set.
//!
//! An emulated machine has a fraction of a real one's speed, while its clock and the kernel's timers run as everywhere.
//! So patience is multiplied and offered load divided by it. What is asserted about the agent stays as it is: in how many windows,
//! its counts, its verdicts. Where few answers in a window would tell nothing, the agent is asked for longer ones.

use std::sync::LazyLock;
use std::time::Duration;

static SCALE: LazyLock<u32> = LazyLock::new(|| {
    std::env::var("OSI_TIME_SCALE")
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|scale| *scale > 0)
        .unwrap_or(1)
});

/// How long to wait for what takes `time` on a machine at full speed.
pub fn patience(time: Duration) -> Duration {
    time * *SCALE
}

/// What to ask for each second of what a machine at full speed is asked for `per_second`.
pub fn rate(per_second: u64) -> u64 {
    (per_second / u64::from(*SCALE)).max(1)
}

/// Whether this machine is slower than a real one: what depends on being in time cannot be exact there.
pub fn is_slow() -> bool {
    *SCALE > 1
}
