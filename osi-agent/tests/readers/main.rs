//! The host readers against what the standard tools say of the same moment, in network namespaces of their own.

/// Returns from the test, saying so, where it cannot run.
macro_rules! need_root {
    ($test:literal) => {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: {}: needs root", $test);
            return;
        }
    };
}

mod pair;

mod tables;

mod counters;

mod drivers;

mod filters;

mod namespaces;
