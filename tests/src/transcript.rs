//! Keeps what the agent said in each scenario, in the directory that `OSI_TRANSCRIPTS` names.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::report;
use crate::stream::Line;

/// Appends the lines to a file named after the running test. Does nothing unless asked.
pub fn keep(lines: &[Line]) -> Result<()> {
    let Some(directory) = std::env::var_os("OSI_TRANSCRIPTS") else {
        return Ok(());
    };
    let thread = std::thread::current();
    // The test harness names its threads after the tests.
    let test = thread.name().unwrap_or("scenario").replace("::", "-");
    let path = Path::new(&directory).join(format!("{test}.ndjson"));
    let mut text = Vec::new();
    for line in lines {
        writeln!(text, "{}", line.value())?;
    }
    report::append(&path, &text)
}
