//! What a scenario that passes has to say: which window named the fault, and the figures that were held against each other.

use std::io::{self, Write as _};

/// Says it on standard output, with the scenario's name. Not by `println!`: the test harness would swallow it.
pub fn say(kind: &str, text: &str) -> io::Result<()> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a scenario");
    io::stdout().write_all(format!("{kind}: {test}: {text}\n").as_bytes())
}
