//! Words of summaries and commands: places, numbers, commands inside a namespace.

use core::net::IpAddr;

use crate::host::text::clean;
use crate::scope::{Netns, Scope};

/// The command as it must be typed to run inside the scope's namespace.
pub(super) fn inside(scope: &Scope, command: &str) -> String {
    match &scope.netns {
        None => command.to_owned(),
        Some(Netns {
            name: Some(name), ..
        }) if name == HOST => command.to_owned(),
        Some(Netns {
            name: Some(name), ..
        }) => format!("ip netns exec {} {command}", quoted(name)),
        Some(Netns {
            name: None, inode, ..
        }) => {
            format!(
                "nsenter -t \"$(lsns -t net -n -o NS,PID | awk '$1=={inode}{{print $2}}')\" -n {command}"
            )
        }
    }
}

/// ` in namespace X`, or nothing for the agent's own.
pub(super) fn place(scope: &Scope) -> String {
    match &scope.netns {
        None => String::new(),
        Some(Netns {
            name: Some(name), ..
        }) if name == HOST => String::new(),
        Some(Netns {
            name: Some(name), ..
        }) => format!(" in namespace {name}"),
        Some(Netns {
            name: None,
            inode,
            workload,
            ..
        }) => workload.words().map_or_else(
            || format!(" in namespace {inode}"),
            |words| format!(" in the namespace of {words}"),
        ),
    }
}

/// How the agent's own namespace is called.
const HOST: &str = "host";

/// Address and port of a scope's remote side.
pub(super) fn remote(scope: &Scope) -> String {
    match (scope.remote, scope.port) {
        (Some(address), Some(port)) => core::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, _) => "an unknown peer".to_owned(),
    }
}

/// An address as filter of `ss`, which takes the colons of a bare IPv6 address for a port's.
pub(super) fn ss_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The scope's port as filter of `ss` for the local side; nothing where it has none.
pub(super) fn ss_port(scope: &Scope) -> String {
    scope
        .port
        .map_or_else(String::new, |port| format!(" sport = :{port}"))
}

/// Address and port of a listener.
pub(super) fn local(scope: &Scope) -> String {
    match (scope.local, scope.port) {
        (Some(address), Some(port)) => core::net::SocketAddr::new(address, port).to_string(),
        (Some(_) | None, _) => "an unknown listener".to_owned(),
    }
}

/// Name of a scope's interface.
pub(super) fn iface(scope: &Scope) -> &str {
    scope
        .iface
        .as_ref()
        .map_or("an unknown interface", |iface| &iface.name)
}

/// A rate with a unit that people read.
pub(super) fn bits(per_second: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")];
    let unit = UNITS.into_iter().find(|(size, _)| per_second >= *size);
    unit.map_or_else(
        || format!("{per_second:.0} bit/s"),
        |(size, name)| format!("{:.1} {name}", per_second / size),
    )
}

/// A share as percentage: whole numbers from ten on.
pub(super) fn percent(ratio: f64) -> String {
    if ratio >= 0.1 {
        format!("{:.0} %", ratio * 100.0)
    } else {
        format!("{:.1} %", ratio * 100.0)
    }
}

/// `a / (a + b)`, 0 when both are.
pub(super) fn share(part: u64, rest: u64) -> f64 {
    if part == 0 {
        0.0
    } else {
        part as f64 / (part + rest) as f64
    }
}

/// A NUL-padded name from the kernel, cleaned.
pub(crate) fn name(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    // Every byte may need an escape, and none is to be cut off.
    clean(&bytes[..end], bytes.len().saturating_mul(10))
}

/// A word for a POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
