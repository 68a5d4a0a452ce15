//! The ports that `connect()` may choose from: `net.ipv4.ip_local_port_range` without `ip_local_reserved_ports`. Both
//! protocol versions draw from it.

use std::io;

use super::diag::{Socket, state};
use super::procfs;

/// A set of ports.
#[derive(Clone, Debug)]
pub(crate) struct Ports(Box<[u64; 1024]>);

impl Default for Ports {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Ports {
    /// Adds a port.
    pub(super) fn insert(&mut self, port: u16) {
        self.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }

    /// Takes all ports out.
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Adds the ports of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0.iter())
            .for_each(|(to, from)| *to |= from);
    }

    /// Whether it holds this port.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

/// The local port range of a namespace.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// First port.
    pub(super) first: u16,
    /// Last port, inclusive.
    pub(super) last: u16,
    reserved: Ports,
}

impl Range {
    /// Reads the settings of the thread's namespace.
    pub(super) fn read(buffer: &mut String) -> io::Result<Self> {
        let first = procfs::setting("ipv4/ip_local_port_range", 0, buffer)?;
        let last = procfs::setting("ipv4/ip_local_port_range", 1, buffer)?;
        let reserved = parse_list(procfs::read(
            "/proc/sys/net/ipv4/ip_local_reserved_ports",
            buffer,
        )?);
        Ok(Self {
            first,
            last,
            reserved,
        })
    }

    /// A range without reserved ports.
    #[cfg(test)]
    pub(super) fn of(first: u16, last: u16) -> Self {
        Self {
            first,
            last,
            reserved: Ports::default(),
        }
    }

    /// Whether `connect()` may choose this port.
    pub(super) fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port) && !self.reserved.contains(port)
    }

    /// Ports that `connect()` may choose, without those of `held`.
    pub(super) fn usable(&self, held: &Ports) -> u64 {
        (self.first..=self.last)
            .filter(|port| !self.reserved.contains(*port) && !held.contains(*port))
            .count() as u64
    }

    /// Reserved ports that lie within.
    pub(super) fn reserved(&self) -> u16 {
        (self.first..=self.last)
            .filter(|port| self.reserved.contains(*port))
            .count() as u16
    }
}

/// Whose port a new connection may take although it is in TIME_WAIT (`tcp_twsk_unique()`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Reuse {
    /// `net.ipv4.tcp_tw_reuse`: 0 nobody's, 1 anybody's, 2 (the default since 4.19) those over loopback.
    mode: u8,
    /// How long it must have been there: a second, `net.ipv4.tcp_tw_reuse_delay` since 6.14.
    after_ms: u32,
}

/// How long the kernel keeps a connection in TIME_WAIT (`TCP_TIMEWAIT_LEN`).
const TIME_WAIT_MS: u32 = 60_000;

impl Reuse {
    /// Nobody's.
    pub(super) const NONE: Self = Self {
        mode: 0,
        after_ms: 1000,
    };

    /// Reads the settings of the thread's namespace. Without timestamps nothing tells old segments from new ones.
    pub(super) fn read(buffer: &mut String) -> io::Result<Self> {
        let timestamps: u8 = procfs::setting("ipv4/tcp_timestamps", 0, buffer)?;
        if timestamps == 0 {
            return Ok(Self::NONE);
        }
        let delay = procfs::optional_setting("ipv4/tcp_tw_reuse_delay", 0, buffer)?;
        Ok(Self {
            mode: procfs::setting("ipv4/tcp_tw_reuse", 0, buffer)?,
            after_ms: delay.unwrap_or(Self::NONE.after_ms),
        })
    }

    /// A setting with the usual delay.
    #[cfg(test)]
    pub(super) const fn of(mode: u8) -> Self {
        Self { mode, ..Self::NONE }
    }

    /// Whether a new connection may take the port of this one. Whether its peer has timestamps the kernel does not show: nearly
    /// all have.
    pub(super) fn allows(self, socket: &Socket) -> bool {
        let loopback = || socket.local.0.is_loopback() || socket.remote.0.is_loopback();
        socket.state == state::TIME_WAIT
            && match self.mode {
                0 => false,
                2 => loopback(),
                _ => true,
            }
            && socket.expires_ms.saturating_add(self.after_ms) <= TIME_WAIT_MS
    }
}

/// `ip_local_reserved_ports`: `8080,9148-9150`.
pub(crate) fn parse_list(text: &str) -> Ports {
    let mut ports = Ports::default();
    for item in text.trim().split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u16>(), last.trim().parse()) {
            (first..=last).for_each(|port| ports.insert(port));
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16, reserved: &str) -> Range {
        Range {
            first,
            last,
            reserved: parse_list(reserved),
        }
    }

    #[test]
    fn reserved_and_held_ports_are_not_usable() {
        let range = range(100, 199, "99,100-104,150,300\n");
        let mut held = Ports::default();
        for port in [104, 105, 106, 250] {
            held.insert(port);
        }
        assert_eq!(
            (
                range.reserved(),
                range.usable(&Ports::default()),
                range.usable(&held)
            ),
            (6, 94, 92)
        );
        assert!(range.contains(105) && !range.contains(104) && !range.contains(200));
    }

    #[test]
    fn over_loopback_ports_come_back_after_a_second() {
        let socket = |address: [u8; 4], state, expires_ms| Socket {
            timer: 0,
            state,
            local: (address.into(), 1000),
            remote: (address.into(), 80),
            expires_ms,
            rqueue: 0,
            wqueue: 0,
            uid: 0,
            inode: 0,
            cookie: 0,
        };
        let reuse = Reuse::of(2);
        assert!(reuse.allows(&socket([127, 0, 0, 1], state::TIME_WAIT, 59_000)));
        assert!(!reuse.allows(&socket([127, 0, 0, 1], state::TIME_WAIT, 59_001)));
        assert!(!reuse.allows(&socket([127, 0, 0, 1], 1, 0)));
        assert!(!reuse.allows(&socket([10, 0, 0, 1], state::TIME_WAIT, 0)));
        assert!(!Reuse::NONE.allows(&socket([127, 0, 0, 1], state::TIME_WAIT, 0)));
    }

    #[test]
    fn the_whole_space_is_counted() {
        assert_eq!(range(0, u16::MAX, "\n").usable(&Ports::default()), 65536);
        assert_eq!(range(2, 1, "").usable(&Ports::default()), 0);
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[0-9,\\- \\n]{0,60}") {
            let _ = parse_list(&text);
        }
    }
}
