//! DNS messages (RFC 1035), as far as they tell who was asked and how it ended.

use crate::exchange::Span;
use crate::pod::{counters, kernel_struct};
use crate::wire::{Ends, FIRST_BYTES, NAME_BYTES, Payload, TCP};

/// Queries in flight that can be followed at once: 40,000 a second where answers take 50 ms. Further ones are counted as such.
pub const MAX_QUERIES: u32 = 2048;

/// Resolvers that are counted apart; what further ones answer is in the host's own histogram, and that is said.
pub const MAX_RESOLVERS: u32 = 256;

/// A query that had no answer for so long will have none that anybody waits for: what the resolvers of glibc, musl and Go wait,
/// or longer.
pub const UNANSWERED_NS: u64 = 5_000_000_000;

/// A query that passes within this time once more is the same packet on another interface: nobody asks again so soon.
pub const SAME_PACKET_NS: u64 = 1_000_000;

/// Bytes of a message's header.
pub const HEADER: u32 = 12;

/// Bytes before a message over TCP: its length (RFC 1035 4.2.2).
pub const PREFIX: u32 = 2;

/// Messages in one segment that are looked at.
pub const MAX_MESSAGES: u32 = 4;

/// Labels of a name that are followed: as many as fit, and what ends the last.
const MAX_LABELS: u32 = NAME_BYTES as u32 / 2 + 1;

/// The outcome of a query that had no answer, among the response codes; those have twelve bits at most.
pub const NO_ANSWER: u32 = 0x1000;
/// The outcome of one that was sent again before it had one.
pub const SENT_AGAIN: u32 = 0x1001;

/// Response codes of a header (RFC 1035 4.1.1).
pub const NOERROR: u32 = 0;
/// The name server could not read the query.
pub const FORMERR: u32 = 1;
/// The name server could not find it out.
pub const SERVFAIL: u32 = 2;
/// There is no such name.
pub const NXDOMAIN: u32 = 3;
/// The name server does not answer such queries.
pub const NOTIMP: u32 = 4;
/// The name server does not answer this one.
pub const REFUSED: u32 = 5;

/// Name of an outcome, as `dig` and RFC 2136 have it, in lower case; `None` for a code without one.
pub const fn outcome(code: u32) -> Option<&'static str> {
    match code {
        NOERROR => Some("noerror"),
        FORMERR => Some("formerr"),
        SERVFAIL => Some("servfail"),
        NXDOMAIN => Some("nxdomain"),
        NOTIMP => Some("notimp"),
        REFUSED => Some("refused"),
        6 => Some("yxdomain"),
        7 => Some("yxrrset"),
        8 => Some("nxrrset"),
        9 => Some("notauth"),
        10 => Some("notzone"),
        NO_ANSWER => Some("no_answer"),
        SENT_AGAIN => Some("sent_again"),
        _ => None,
    }
}

kernel_struct! {
    /// A query in flight.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct QueryKey {
        /// Who asked whom.
        pub ends: Ends,
        /// The id that the answer repeats.
        pub id: u32,
    }

    /// What is known of it.
    pub struct Query {
        /// When it was sent (boot time).
        pub asked_ns: u64,
        /// The question's name in wire format, cut; zeros where names are not wanted.
        pub name: [u8; NAME_BYTES],
    }
}

counters! {
    /// How queries to one resolver ended since it was first seen.
    pub struct Outcomes {
        /// Answered without an error.
        pub noerror,
        /// `FORMERR`.
        pub formerr,
        /// `SERVFAIL`.
        pub servfail,
        /// `NXDOMAIN`.
        pub nxdomain,
        /// `NOTIMP`.
        pub notimp,
        /// `REFUSED`.
        pub refused,
        /// Answered with any other code.
        pub other,
        /// Had no answer for [`UNANSWERED_NS`], or were sent again before it came.
        pub no_answer,
        /// Of the answers: cut to fit (`TC`), so that the client asks again over TCP.
        pub truncated,
        /// Of the queries: over TCP.
        pub over_tcp,
    }
}

kernel_struct! {
    /// A resolver's value in the map.
    #[derive(Default)]
    pub struct Resolver {
        /// Outcomes.
        pub outcomes: Outcomes,
        /// The last query of each id → its answer.
        pub answers: Span,
    }
}

impl Resolver {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        outcomes: Outcomes::ZERO,
        answers: Span::ZERO,
    };
}

/// What a message's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The id that query and answer share.
    pub id: u16,
    /// An answer, not a query.
    pub is_answer: bool,
    /// How it ended; 0 in a query.
    pub code: u32,
    /// Cut to fit.
    pub truncated: bool,
}

/// `QR`: an answer.
const ANSWER: u8 = 0x80;
/// The four bits of the kind of query; 0 is a plain one.
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
/// `RD`: the client wants the resolver to ask others. Without it a name server asks another one, and silence is normal life.
const RECURSION_DESIRED: u8 = 0x01;
/// The bit that must be zero (RFC 6895).
const ZERO: u8 = 0x40;
const CODE: u8 = 0x0f;

impl Header {
    /// Reads a header of a plain query that a client sends to a resolver, or of its answer; `None` for all others, and for what
    /// is no message.
    #[inline(always)]
    pub fn parse(bytes: &[u8; HEADER as usize]) -> Option<Self> {
        let [
            id_high,
            id_low,
            high,
            low,
            q1,
            q0,
            an1,
            an0,
            ns1,
            ns0,
            ar1,
            ar0,
        ] = *bytes;
        let is_answer = high & ANSWER != 0;
        let count = |one: u8, zero: u8| u16::from_be_bytes([one, zero]);
        if high & OPCODE != 0 || high & RECURSION_DESIRED == 0 || low & ZERO != 0 {
            return None;
        }
        let questions = count(q1, q0);
        let is_plain = if is_answer {
            // One that could not be read is answered without its question.
            questions <= 1
        } else {
            let answers = count(an1, an0) | count(ns1, ns0);
            // EDNS and a signature are all that a query adds.
            let nothing_set = high & TRUNCATED == 0 && low & !0x30 == 0;
            questions == 1 && answers == 0 && count(ar1, ar0) <= 2 && nothing_set
        };
        is_plain.then(|| Self {
            id: count(id_high, id_low),
            is_answer,
            code: u32::from(low & CODE),
            truncated: high & TRUNCATED != 0,
        })
    }
}

/// Whether a payload begins like a message, over TCP with its length before it. Where that came in a segment of its own, the
/// message comes at once.
#[inline(always)]
pub fn is_likely(transport: u8, first: &[u8; FIRST_BYTES]) -> bool {
    first_message(transport, first).is_some()
}

/// Where a payload's first message begins, by its first bytes; `None` where it begins with none.
#[inline(always)]
pub fn first_message(transport: u8, first: &[u8; FIRST_BYTES]) -> Option<u32> {
    let (prefix, behind) = first.split_first_chunk()?;
    let is_message = |bytes: &[u8]| bytes.first_chunk().and_then(Header::parse).is_some();
    if transport == TCP && u16::from_be_bytes(*prefix) > HEADER as u16 && is_message(behind) {
        return Some(PREFIX);
    }
    is_message(first).then_some(0)
}

/// Length of the name at a place of the payload, in wire format and without its last byte, which is zero: as much of it as has
/// whole labels within [`NAME_BYTES`]. 0 for the root, and for what is no name.
#[inline(always)]
pub fn name_bytes(payload: impl Payload, at: u32) -> u32 {
    let (mut whole, mut length) = (0, 0);
    for _ in 0..MAX_LABELS {
        let Some([label]) = payload.read(at + length) else {
            return whole;
        };
        whole = length;
        let label = u32::from(label);
        // A pointer to another place (two bits set) has no business in a question.
        if label == 0 || label > 63 || length + 1 + label > NAME_BYTES as u32 {
            return whole;
        }
        length += 1 + label;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::UDP;

    const QUERY: [u8; 12] = [0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    const ANSWER: [u8; 12] = [0xab, 0xcd, 0x81, 0x83, 0, 1, 0, 0, 0, 1, 0, 1];

    fn with(at: usize, byte: u8, of: [u8; 12]) -> Option<Header> {
        let mut bytes = of;
        bytes[at] = byte;
        Header::parse(&bytes)
    }

    #[test]
    fn queries_and_answers_say_what_they_are() {
        let query = Header {
            id: 0xabcd,
            is_answer: false,
            code: NOERROR,
            truncated: false,
        };
        assert_eq!(Header::parse(&QUERY), Some(query));
        let answer = Header {
            is_answer: true,
            code: NXDOMAIN,
            ..query
        };
        assert_eq!(Header::parse(&ANSWER), Some(answer));
        let cut = Header {
            truncated: true,
            ..answer
        };
        assert_eq!(with(2, 0x83, ANSWER), Some(cut));
    }

    #[test]
    fn other_messages_are_left_alone() {
        for (at, byte, what) in [
            (2, 0x00, "no recursion desired"),
            (2, 0x29, "an update"),
            (2, 0x03, "a cut query"),
            (3, 0x40, "the bit that must be zero"),
            (3, 0x05, "a query with a response code"),
            (5, 2, "two questions"),
            (4, 1, "257 questions"),
            (7, 1, "a query with an answer"),
            (9, 1, "a query with an authority"),
            (11, 3, "a query with three additional records"),
        ] {
            assert_eq!(with(at, byte, QUERY), None, "{what}");
        }
        assert_eq!(with(5, 2, ANSWER), None, "an answer to two questions");
        assert!(
            with(5, 0, ANSWER).is_some(),
            "an answer without its question"
        );
    }

    #[test]
    fn over_tcp_the_length_comes_first_or_came_before() {
        let mut first = [0; FIRST_BYTES];
        first[..12].copy_from_slice(&QUERY);
        assert_eq!(first_message(UDP, &first), Some(0));
        assert_eq!(first_message(TCP, &first), Some(0));
        first[2..14].copy_from_slice(&QUERY);
        first[..2].copy_from_slice(&[0, 29]);
        assert_eq!(first_message(TCP, &first), Some(PREFIX));
        assert_eq!(first_message(UDP, &first), None);
        first[..2].copy_from_slice(&[0, 12]);
        assert_eq!(first_message(TCP, &first), None, "nothing is asked");
        assert!(!is_likely(TCP, b"GET / HTTP/1.1\r\n"));
    }

    #[test]
    fn names_are_cut_between_labels() {
        let length = |name: &[u8]| name_bytes(name, 0);
        assert_eq!(length(b"\x03www\x07example\x03com\0"), 16);
        assert_eq!(length(b"\0"), 0);
        assert_eq!(length(b""), 0);
        assert_eq!(length(b"\x03www\xc0\x0c"), 4, "a pointer");
        assert_eq!(length(b"\x03www\x07exa"), 4, "a label that is cut off");
        let long = [&[31][..], &[b'a'; 31], &[31], &[b'b'; 31], &[1, b'c', 0]].concat();
        assert_eq!(length(&long), 64);
        let many = [1_u8; 300];
        assert_eq!(name_bytes(&many[..], 0), NAME_BYTES as u32);
    }
}
