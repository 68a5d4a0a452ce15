//! Text for people: outside names made safe, scopes as words, lines broken at a width.

use std::borrow::Cow;

use crate::host::text::is_deceptive;
use crate::scope::{Proto, Scope, ScopeKind};

/// Shows characters that could move a cursor, hide or reorder text as escapes. Everything printed for people passes here.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, bidirectional controls, invisible ones, and what no font shows.
fn is_unsafe(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// Bytes of a NUL-padded kernel string as safe text.
pub fn from_kernel(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    safe(&String::from_utf8_lossy(&bytes[..end])).into_owned()
}

/// A scope in a few words: `eth0 in web`, `10.0.0.2 → 10.0.0.9:443`. The host's own namespace goes without saying.
pub fn scope(scope: &Scope) -> String {
    let mut words = match scope.kind {
        ScopeKind::Host => "host".to_owned(),
        ScopeKind::Netns => return format!("netns {}", netns_name(scope)),
        ScopeKind::Iface => scope
            .iface
            .as_ref()
            .map_or_else(String::new, |iface| iface.name.clone()),
        ScopeKind::Peer | ScopeKind::Resolver => endpoint(scope.remote, scope.port),
        ScopeKind::Listener => format!("listener {}", endpoint(scope.local, scope.port)),
        ScopeKind::Pool if scope.proto == Some(Proto::Udp) => "UDP ports".to_owned(),
        ScopeKind::Pool => format!(
            "{} → {}",
            endpoint(scope.local, None),
            endpoint(scope.remote, scope.port)
        ),
        ScopeKind::Process => scope.process.as_ref().map_or_else(String::new, |process| {
            format!("{}[{}]", process.comm, process.pid)
        }),
    };
    let own = scope
        .netns
        .as_ref()
        .is_none_or(|netns| netns.name.as_deref() == Some("host"));
    if !own {
        words.push_str(" in ");
        words.push_str(&netns_name(scope));
    }
    safe(&words).into_owned()
}

fn netns_name(scope: &Scope) -> String {
    scope.netns.as_ref().map_or_else(
        || "?".to_owned(),
        |netns| {
            let known = netns.name.clone().or_else(|| netns.workload.words());
            known.map_or_else(
                || format!("#{}", netns.inode),
                |name| safe(&name).into_owned(),
            )
        },
    )
}

fn endpoint(address: Option<std::net::IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!("*:{port}"),
        (None, None) => "*".to_owned(),
    }
}

/// Cuts to a number of characters, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize, ellipsis: char) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push(ellipsis);
    }
    cut
}

/// Breaks at spaces so that no line is wider; a longer word (a command) is broken where the line ends.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let long = word.chars().count();
        if used > 0 && used + 1 + long > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used == width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += 1;
        }
    }
    if used > 0 {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{cut, from_kernel, safe, scope, wrap};
    use crate::host::workload::Workload;
    use crate::scope::{Netns, Scope};

    #[test]
    fn nothing_can_move_the_cursor_or_turn_text_around() {
        assert_eq!(safe("eth0"), "eth0");
        assert_eq!(
            safe("\x1b[2Jok\u{202e}\u{200b}"),
            "\\u{1b}[2Jok\\u{202e}\\u{200b}"
        );
        assert_eq!(from_kernel(b"a\nb\0junk"), "a\\u{a}b");
        assert_eq!(from_kernel(b"\xff\xfeab"), "\u{fffd}\u{fffd}ab");
    }

    #[test]
    fn scopes_read_as_people_write_them() {
        let own = Netns {
            inode: 1,
            cookie: 1,
            name: Some("host".to_owned()),
            ..Netns::default()
        };
        let web = Netns {
            inode: 2,
            cookie: 2,
            name: Some("web\x07".to_owned()),
            ..Netns::default()
        };
        let nameless = Netns {
            inode: 3,
            cookie: 3,
            name: None,
            ..Netns::default()
        };
        let (a, b) = ([10, 0, 0, 2].into(), [10, 0, 0, 9].into());
        assert_eq!(scope(&Scope::host()), "host");
        assert_eq!(scope(&Scope::netns(&nameless)), "netns #3");
        let contained = Netns {
            workload: Workload::of(&format!("/docker/{}", "7".repeat(64))),
            ..nameless
        };
        assert_eq!(
            scope(&Scope::netns(&contained)),
            "netns container 777777777777"
        );
        assert_eq!(scope(&Scope::iface(&own, 2, "eth0")), "eth0");
        assert_eq!(scope(&Scope::iface(&web, 2, "eth0")), "eth0 in web\\u{7}");
        assert_eq!(
            scope(&Scope::pool(&own, a, b, 443)),
            "10.0.0.2 → 10.0.0.9:443"
        );
        assert_eq!(
            scope(&Scope::peer(
                &own,
                "fe80::1".parse().expect("address"),
                Some(53)
            )),
            "[fe80::1]:53"
        );
    }

    #[test]
    fn lines_never_exceed_the_width() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij x", 4), ["abcd", "efgh", "ij x"]);
        assert_eq!(wrap("  ", 4), Vec::<String>::new());
        assert_eq!(cut("abcdef", 4, '…'), "abc…");
        assert_eq!(cut("abcd", 4, '…'), "abcd");
        assert_eq!(cut("abcd", 0, '…'), "");
    }
}
