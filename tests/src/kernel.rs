//! Which kernel runs: what it cannot do is no fault of the agent's.

use anyhow::{Context as _, Result};

/// Whether it is this version of Linux, or a later one.
pub fn is_at_least(major: u32, minor: u32) -> Result<bool> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release
        .split(|other: char| !other.is_ascii_digit())
        .map(str::parse);
    let mut next = || -> Result<u32> {
        let number = numbers.next().with_context(|| release.to_string())?;
        Ok(number?)
    };
    Ok((next()?, next()?) >= (major, minor))
}
