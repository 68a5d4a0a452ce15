//! Failed TCP connects: what ended them, as far as the kernel saw, packed with the errno into one number.

use crate::layer::Layer;
use crate::occurrence::Key;

const EACCES: u32 = 13;
const EINVAL: u32 = 22;
const ENONET: u32 = 64;
const EPROTO: u32 = 71;
const ENOPROTOOPT: u32 = 92;
const EOPNOTSUPP: u32 = 95;
const EADDRNOTAVAIL: u32 = 99;
const ENETUNREACH: u32 = 101;
const ETIMEDOUT: u32 = 110;
const ECONNREFUSED: u32 = 111;
const EHOSTDOWN: u32 = 112;
const EHOSTUNREACH: u32 = 113;

/// Bits of the errno in a code: `MAX_ERRNO` of the kernel is 4095.
const ERRNO: u32 = 0xfff;
/// A reason that does not fit.
const NO_REASON: u32 = 0xffff;

/// What ended a connect. The number is only a protocol between this build's programs and this build's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Killer {
    /// Nobody knows.
    Unknown = 0,
    /// No local port could be had.
    NoPort = 1,
    /// Packets of its socket were dropped on this host.
    Dropped = 2,
    /// A reset came back.
    Reset = 3,
    /// The route was gone.
    NoRoute = 4,
    /// An ICMP error came back.
    IcmpError = 5,
    /// Nothing came back.
    NoAnswer = 6,
    /// The application gave up before anything could have been missed.
    GivenUp = 7,
    /// Another error of this host, such as a destroyed socket.
    Other = 8,
}

impl Killer {
    /// All of them, in numeric order.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::NoPort,
        Self::Dropped,
        Self::Reset,
        Self::NoRoute,
        Self::IcmpError,
        Self::NoAnswer,
        Self::GivenUp,
        Self::Other,
    ];

    /// The layer that ended the connect; `None` where nobody knows, and for drops, of which the reason tells.
    pub const fn layer(self) -> Option<Layer> {
        match self {
            Self::Unknown | Self::Dropped => None,
            Self::NoPort | Self::Reset | Self::NoAnswer | Self::Other => Some(Layer::L4),
            Self::NoRoute | Self::IcmpError => Some(Layer::L3),
            Self::GivenUp => Some(Layer::L7),
        }
    }

    /// Its name in outputs; a drop's is its reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NoPort => "no_port",
            Self::Dropped => "dropped",
            Self::Reset => "reset",
            Self::NoRoute => "no_route",
            Self::IcmpError => "icmp_error",
            Self::NoAnswer => "no_answer",
            Self::GivenUp => "given_up",
            Self::Other => "other",
        }
    }
}

/// What is known of a connect at its end.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The error that the application gets, 0 for none.
    pub errno: u32,
    /// The error that the kernel would give it after the last attempt: that of an ICMP error which came while the connect was
    /// at work, or of a search for a route.
    pub soft: u32,
    /// Whether a local port was found.
    pub has_port: bool,
    /// Whether the socket has lost its route.
    pub lost_route: bool,
    /// SYNs that were built; one that only waits for the data to go with it (`TCP_FASTOPEN_CONNECT`) is one, too.
    pub sent: u64,
    /// Packets of the socket that this host dropped: SYNs, and answers to them.
    pub dropped: u64,
    /// Whether a reset came.
    pub reset: bool,
}

impl Seen {
    /// What ended it.
    ///
    /// Drops on this host did where most SYNs, or the answers to them, were lost to them: what a rule refuses with a reset or
    /// an ICMP error of its own is this host's doing, while the one SYN that a full queue took is not why a peer refuses.
    #[inline(always)]
    pub const fn killer(&self) -> Killer {
        if !self.has_port || self.sent == 0 && self.errno == 0 {
            return Killer::NoPort;
        }
        if self.dropped * 2 > self.sent {
            return Killer::Dropped;
        }
        match (self.errno, self.soft) {
            (0, 0) if self.sent > 1 => Killer::NoAnswer,
            (0, 0) => Killer::GivenUp,
            (ETIMEDOUT, _) => Killer::NoAnswer,
            (ECONNREFUSED, _) if self.reset => Killer::Reset,
            (0, errno) | (errno, _) => self.refusal(errno),
        }
    }

    /// What an error means that the way gave: ICMP (`icmp_err_convert`, `icmpv6_err_convert`), or the search for a route.
    #[inline(always)]
    const fn refusal(&self, errno: u32) -> Killer {
        match errno {
            EACCES | EINVAL | ENETUNREACH | EHOSTUNREACH if self.lost_route => Killer::NoRoute,
            EACCES | ENONET | EPROTO | ENOPROTOOPT | EOPNOTSUPP | ENETUNREACH | ECONNREFUSED
            | EHOSTDOWN | EHOSTUNREACH => Killer::IcmpError,
            _ => Killer::Other,
        }
    }

    /// The error that it counts under.
    #[inline(always)]
    pub const fn told(&self) -> u32 {
        match self.killer() {
            Killer::NoPort => EADDRNOTAVAIL,
            Killer::Unknown
            | Killer::Dropped
            | Killer::Reset
            | Killer::NoRoute
            | Killer::IcmpError
            | Killer::NoAnswer
            | Killer::GivenUp
            | Killer::Other => self.errno,
        }
    }
}

/// A failed connect, as its occurrence is keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Error, 0 where the application gave up.
    pub errno: u32,
    /// What ended it.
    pub killer: Killer,
    /// The kernel's number of the reason of the last drop; 0 where drops did not end it.
    pub reason: u32,
}

impl Failure {
    /// The number that it is counted under: errno, killer, reason. Reasons of subsystems have theirs in their upper half.
    #[inline(always)]
    pub const fn code(self) -> u32 {
        let (subsystem, index) = (self.reason >> 16, self.reason & 0xffff);
        let reason = if subsystem < 0xf && index < 0x1000 {
            subsystem << 12 | index
        } else {
            NO_REASON
        };
        let errno = if self.errno < ERRNO {
            self.errno
        } else {
            ERRNO
        };
        errno | (self.killer as u32) << 12 | reason << 16
    }

    /// The failure of a code; of one that found no room of its own, nothing is known.
    pub fn of(code: u32) -> Self {
        let reason = code >> 16;
        let known = Killer::ALL
            .into_iter()
            .find(|killer| *killer as u32 == code >> 12 & 0xf);
        Self {
            errno: errno(code),
            killer: known.unwrap_or(Killer::Unknown),
            reason: if reason == NO_REASON {
                Key::OTHER
            } else {
                reason >> 12 << 16 | reason & 0xfff
            },
        }
    }
}

/// The error alone.
pub const fn errno(code: u32) -> u32 {
    code & ERRNO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One SYN, no error, nothing seen.
    const SEEN: Seen = Seen {
        errno: 0,
        soft: 0,
        has_port: true,
        lost_route: false,
        sent: 1,
        dropped: 0,
        reset: false,
    };

    #[test]
    fn what_was_seen_names_the_killer() {
        let refused = Seen {
            errno: ECONNREFUSED,
            reset: true,
            ..SEEN
        };
        let lost = Seen {
            errno: ETIMEDOUT,
            sent: 7,
            ..SEEN
        };
        let unreachable = Seen {
            errno: EHOSTUNREACH,
            ..SEEN
        };
        for (seen, killer) in [
            (SEEN, Killer::GivenUp),
            (Seen { sent: 2, ..SEEN }, Killer::NoAnswer),
            (lost, Killer::NoAnswer),
            (Seen { dropped: 7, ..lost }, Killer::Dropped),
            (Seen { dropped: 3, ..lost }, Killer::NoAnswer),
            (refused, Killer::Reset),
            (
                Seen {
                    reset: false,
                    ..refused
                },
                Killer::IcmpError,
            ),
            // A rule that rejects with a reset: nothing left the host.
            (
                Seen {
                    dropped: 1,
                    ..refused
                },
                Killer::Dropped,
            ),
            (
                Seen {
                    sent: 2,
                    dropped: 1,
                    ..refused
                },
                Killer::Reset,
            ),
            (unreachable, Killer::IcmpError),
            (
                Seen {
                    lost_route: true,
                    ..unreachable
                },
                Killer::NoRoute,
            ),
            (
                Seen {
                    soft: EHOSTUNREACH,
                    ..SEEN
                },
                Killer::IcmpError,
            ),
            (
                Seen {
                    has_port: false,
                    ..SEEN
                },
                Killer::NoPort,
            ),
            (Seen { sent: 0, ..SEEN }, Killer::NoPort),
            (Seen { errno: 103, ..SEEN }, Killer::Other),
        ] {
            assert_eq!(seen.killer(), killer, "{seen:?}");
        }
        assert_eq!(Seen { sent: 0, ..SEEN }.told(), EADDRNOTAVAIL);
        assert_eq!(refused.told(), ECONNREFUSED);
    }

    #[test]
    fn a_code_keeps_errno_killer_and_reason() {
        for killer in Killer::ALL {
            for reason in [0, 12, 0x2_0001, 0x3_0002] {
                let failure = Failure {
                    errno: ECONNREFUSED,
                    killer,
                    reason,
                };
                assert_eq!(Failure::of(failure.code()), failure);
                assert_eq!(errno(failure.code()), ECONNREFUSED);
            }
        }
        let far = Failure {
            errno: 70_000,
            killer: Killer::Dropped,
            reason: 0xff_0000,
        };
        let (known, code) = (Failure::of(far.code()), far.code());
        assert_eq!((known.errno, known.reason), (ERRNO, Key::OTHER));
        assert_ne!(code, Key::OTHER);
        assert_eq!(Failure::of(Key::OTHER).killer, Killer::Unknown);
    }

    #[test]
    fn only_drops_and_the_unknown_leave_the_layer_open() {
        for killer in Killer::ALL {
            let open = matches!(killer, Killer::Unknown | Killer::Dropped);
            assert_eq!(killer.layer().is_none(), open, "{}", killer.name());
        }
    }
}
