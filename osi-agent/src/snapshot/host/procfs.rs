//! Small files of `/proc`, as the namespace that the thread is in shows them.
//!
//! `/proc/net` is a link to the main thread's namespace, so `/proc/thread-self/net` is read. `/proc/sys/net` is resolved
//! for the reading thread.

use std::fs::File;
use std::io::{self, Read as _};
use std::str::FromStr;

/// Most that is read of one file: `netstat` has about 4 KiB, `softnet_stat` 135 bytes per CPU.
const LENGTH: u64 = 1 << 20;

/// Reads a file into `buffer`, lossily where it is not UTF-8. The error names the file.
pub(super) fn read<'a>(path: &str, buffer: &'a mut String) -> io::Result<&'a str> {
    buffer.clear();
    let mut bytes = std::mem::take(buffer).into_bytes();
    File::open(path)
        .and_then(|file| file.take(LENGTH).read_to_end(&mut bytes))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))?;
    *buffer = text(bytes);
    Ok(buffer)
}

/// A file's content as text.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Reads a file of the thread's `/proc/net`.
pub(super) fn net<'a>(file: &str, buffer: &'a mut String) -> io::Result<&'a str> {
    read(&format!("/proc/thread-self/net/{file}"), buffer)
}

/// The number at `position` in a setting under `/proc/sys/net`.
pub(super) fn setting<T: FromStr>(
    name: &str,
    position: usize,
    buffer: &mut String,
) -> io::Result<T> {
    let path = format!("/proc/sys/net/{name}");
    let text = read(&path, buffer)?;
    number(text, position)
        .ok_or_else(|| io::Error::other(format!("{path} does not hold the number expected")))
}

/// As [`setting`], `None` where there is no such file: the setting belongs to another kernel or to the initial namespace.
pub(super) fn optional_setting<T: FromStr>(
    name: &str,
    position: usize,
    buffer: &mut String,
) -> io::Result<Option<T>> {
    match setting(name, position, buffer) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number at `position` among words.
pub(crate) fn number<T: FromStr>(text: &str, position: usize) -> Option<T> {
    text.split_ascii_whitespace().nth(position)?.parse().ok()
}

/// The number after `key` on the line that begins with `line`, as `sockstat` writes them.
pub(crate) fn keyed(text: &str, line: &str, key: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?;
    let mut words = rest.split_ascii_whitespace();
    words.find(|word| *word == key)?;
    words.next()?.parse().ok()
}
