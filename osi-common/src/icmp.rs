//! ICMP and ICMPv6 error messages: the number that each is counted under, and what it says.
//!
//! RFC 792 and RFC 4443 give types and codes, RFC 1122 and RFC 1812 more codes of ICMP's destination unreachable.

/// Set in the number of ICMPv6, whose types have meanings of their own.
const V6: u32 = 1 << 16;

/// No RFC gives a code this high. What lies above is counted here, so that forged codes do not fill the map.
const LAST_CODE: u8 = 16;

/// The number of a message by its first two bytes: version, type and code. `None` where it is no error.
#[inline(always)]
pub const fn number(v6: bool, kind: u8, code: u8) -> Option<u32> {
    let (is_error, version) = if v6 {
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (matches!(kind, 1..=4), V6)
    } else {
        // Destination unreachable, time exceeded, parameter problem. Source quench is obsolete (RFC 6633).
        (matches!(kind, 3 | 11 | 12), 0)
    };
    let code = if code < LAST_CODE { code } else { LAST_CODE };
    if is_error {
        Some(version | (kind as u32) << 8 | code as u32)
    } else {
        None
    }
}

/// Whether the number is ICMPv6's, and the message's type.
pub const fn kind(number: u32) -> (bool, u8) {
    (number & V6 != 0, (number >> 8) as u8)
}

/// What a message says of the packet that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// There is no way to the destination.
    Unreachable,
    /// There is one, and somebody forbids it.
    Prohibited,
    /// The destination has it, and nobody there wants it: a port without a listener, a protocol without a handler.
    Unwanted,
    /// It is larger than the path takes.
    TooBig,
    /// Its hop limit ran out on the way.
    Expired,
    /// Parts of it did not arrive in time.
    Incomplete,
    /// Its header is wrong.
    Malformed,
}

/// A message's name in its RFC, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// In the RFC's words, in lower case.
    pub name: &'static str,
    /// What it says of the packet.
    pub meaning: Meaning,
}

macro_rules! messages {
    ($( $v6:literal $kind:literal { $( $code:literal $name:literal $meaning:ident, )* _ $other:literal $any:ident } )*) => {
        /// What a number stands for; `None` where it is no error's.
        pub const fn message(number: u32) -> Option<Message> {
            let (name, meaning) = match (kind(number), number & 0xff) {
                $( $( (($v6, $kind), $code) => ($name, Meaning::$meaning), )* (($v6, $kind), _) => ($other, Meaning::$any), )*
                _ => return None,
            };
            Some(Message { name, meaning })
        }
    };
}

messages! {
    false 3 {
        0 "net unreachable" Unreachable,
        1 "host unreachable" Unreachable,
        2 "protocol unreachable" Unwanted,
        3 "port unreachable" Unwanted,
        4 "fragmentation needed and DF set" TooBig,
        5 "source route failed" Unreachable,
        6 "destination network unknown" Unreachable,
        7 "destination host unknown" Unreachable,
        8 "source host isolated" Unreachable,
        9 "communication with destination network administratively prohibited" Prohibited,
        10 "communication with destination host administratively prohibited" Prohibited,
        11 "network unreachable for type of service" Unreachable,
        12 "host unreachable for type of service" Unreachable,
        13 "communication administratively prohibited" Prohibited,
        14 "host precedence violation" Prohibited,
        15 "precedence cutoff in effect" Prohibited,
        _ "destination unreachable" Unreachable
    }
    false 11 {
        0 "time to live exceeded in transit" Expired,
        1 "fragment reassembly time exceeded" Incomplete,
        _ "time exceeded" Expired
    }
    false 12 { _ "parameter problem" Malformed }
    true 1 {
        0 "no route to destination" Unreachable,
        1 "communication with destination administratively prohibited" Prohibited,
        2 "beyond scope of source address" Unreachable,
        3 "address unreachable" Unreachable,
        4 "port unreachable" Unwanted,
        5 "source address failed ingress/egress policy" Prohibited,
        6 "reject route to destination" Prohibited,
        7 "error in source routing header" Malformed,
        _ "destination unreachable" Unreachable
    }
    true 2 { _ "packet too big" TooBig }
    true 3 {
        0 "hop limit exceeded in transit" Expired,
        1 "fragment reassembly time exceeded" Incomplete,
        _ "time exceeded" Expired
    }
    true 4 { _ "parameter problem" Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_name_and_nothing_else_does() {
        for (v6, kind, code) in (0..=u8::MAX).flat_map(|kind| {
            [false, true]
                .into_iter()
                .flat_map(move |v6| [0, 15, 16, 255].map(|code| (v6, kind, code)))
        }) {
            let errors: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 11, 12] };
            let number = number(v6, kind, code);
            assert_eq!(number.is_some(), errors.contains(&kind), "{v6} {kind}");
            if let Some(number) = number {
                assert_eq!(super::kind(number), (v6, kind));
                assert!(message(number).is_some(), "{v6} {kind} {code}");
            }
        }
        assert_eq!(message(u32::MAX), None);
        assert_eq!(message(0), None);
    }

    #[test]
    fn names_are_those_of_the_rfcs() {
        let said = |v6, kind, code| {
            let known = number(v6, kind, code).and_then(message);
            known.map(|message| (message.name, message.meaning))
        };
        assert_eq!(
            said(false, 3, 1),
            Some(("host unreachable", Meaning::Unreachable))
        );
        assert_eq!(
            said(true, 1, 3),
            Some(("address unreachable", Meaning::Unreachable))
        );
        assert_eq!(
            said(true, 3, 0),
            Some(("hop limit exceeded in transit", Meaning::Expired))
        );
        assert_eq!(
            said(false, 3, 200),
            Some(("destination unreachable", Meaning::Unreachable))
        );
        assert_eq!(said(false, 8, 0), None, "an echo request is no error");
    }
}
