//! The files that the house rules apply to.

use std::fs;

use anyhow::{Context as _, Result};

use crate::sh;

/// One text file of the project.
pub(super) struct Source {
    /// Relative to the checkout, with `/` between the parts.
    pub(super) path: String,
    pub(super) text: String,
}

/// Every file that git has or would add; files that are not text are left out.
pub(super) fn all() -> Result<Vec<Source>> {
    let listed = sh::output(sh::command("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("the house rules apply to the files of a git checkout")?;
    let sources = listed
        .split_terminator('\0')
        .filter_map(|path| {
            // A file deleted but still in the index, or not UTF-8, is not ours to read.
            let text = fs::read_to_string(sh::root().join(path)).ok()?;
            let path = path.to_owned();
            Some(Source { path, text })
        })
        .collect();
    Ok(sources)
}
