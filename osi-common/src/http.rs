//! HTTP/1 messages (RFC 9112), as far as they tell who was asked, for what, and how it ended.

use crate::exchange::Span;
use crate::handshake::PeerKey;
use crate::pod::{counters, kernel_struct};
use crate::wire::{FIRST_BYTES, NAME_BYTES, TCP};

/// Connections that can be followed at once: those with a request on its way, and those that had an answer of late.
pub const MAX_CONNECTIONS: u32 = 4096;

/// Servers that are counted apart; what further ones answer is in the host's own histogram, and that is said.
pub const MAX_SERVERS: u32 = 512;

/// A request that had no answer for so long counts as one without: what nginx waits for a server, and longer than haproxy does.
pub const UNANSWERED_NS: u64 = 60_000_000_000;

/// A connection whose requests were all answered is remembered for so long, to know segments that the kernel sends again.
pub const IDLE_NS: u64 = 2_000_000_000;

/// A request of more bytes is an upload: how long that takes is not the server's doing.
pub const UPLOAD: u32 = 16 * 1024;

/// Requests before an earlier answer that are followed so long after it by another one had theirs in its segment.
pub const FORGOTTEN_NS: u64 = 1_000_000_000;

/// A segment that begins at most so far before the last one is one that was sent again: a new connection begins anywhere.
const BEHIND: u32 = 1 << 20;

/// The outcome of a request that had no answer, among the status codes; those have three digits.
pub const NO_ANSWER: u32 = 1000;

/// `101 Switching Protocols`: the only one of the first class that ends an exchange (RFC 9110 15.2.2).
const SWITCHING: u16 = 101;
/// The codes of a gateway (RFC 9110 15.6.3 to 15.6.5), first and last.
pub const GATEWAY: (u16, u16) = (502, 504);
/// First of the codes that say that something went wrong: the request, from 500 on the server.
pub const FIRST_ERROR: u16 = 400;

/// What begins a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request: one of the nine methods of RFC 9110 and RFC 5789, and a space.
    Request,
    /// An answer, with its status code.
    Answer(u16),
}

/// The message that a payload begins with; `None` where it begins with none.
#[inline(always)]
pub fn message(transport: u8, first: &[u8; FIRST_BYTES]) -> Option<Message> {
    let (head, rest) = first.split_first_chunk()?;
    let head = u64::from_be_bytes(*head);
    let [space, hundreds, tens, ones, behind, ..] = *rest else {
        return None;
    };
    if transport != TCP {
        return None;
    }
    if is_request(head) {
        return Some(Message::Request);
    }
    let is_one = |digit: u8| digit.is_ascii_digit();
    let is_answer = begins(head, const { token(b"HTTP/1.") })
        && matches!(head as u8, b'0' | b'1')
        && space == b' '
        && (b'1'..=b'5').contains(&hundreds)
        && is_one(tens)
        && is_one(ones)
        && (behind == b' ' || behind == b'\r');
    let value = |digit: u8| u16::from(digit.wrapping_sub(b'0'));
    is_answer.then(|| Message::Answer(value(hundreds) * 100 + value(tens) * 10 + value(ones)))
}

#[inline(always)]
fn is_request(head: u64) -> bool {
    begins(head, const { token(b"GET ") })
        || begins(head, const { token(b"POST ") })
        || begins(head, const { token(b"HEAD ") })
        || begins(head, const { token(b"PUT ") })
        || begins(head, const { token(b"DELETE ") })
        || begins(head, const { token(b"OPTIONS ") })
        || begins(head, const { token(b"PATCH ") })
        || begins(head, const { token(b"CONNECT ") })
        || begins(head, const { token(b"TRACE ") })
}

/// A text of at most eight bytes as a number, and the bits that it leaves of eight.
const fn token(text: &[u8]) -> (u32, u64) {
    let (mut value, mut at) = (0, 0);
    while at < text.len() {
        value = value << 8 | text[at] as u64;
        at += 1;
    }
    (64 - 8 * text.len() as u32, value)
}

#[inline(always)]
const fn begins(head: u64, (rest, value): (u32, u64)) -> bool {
    head >> rest == value
}

/// Whether an answer only says that another one will come.
#[inline(always)]
pub const fn is_interim(status: u16) -> bool {
    status < 200 && status != SWITCHING
}

/// Whether a segment was there before, or lies before one that was.
#[inline(always)]
pub const fn is_repeated(sequence: u32, last: u32) -> bool {
    last.wrapping_sub(sequence) < BEHIND
}

/// Cuts a request line to its method and path: the query, the version and what follows become zeros.
///
/// Eight bytes at a time: a request pays for it, and in the kernel every branch of a byte is one more way to verify.
#[inline(always)]
pub fn cut_line(line: &mut [u8; NAME_BYTES]) {
    let (mut has_method, mut is_cut) = (false, false);
    for word in line.as_chunks_mut::<8>().0 {
        let bytes = u64::from_le_bytes(*word);
        let spaces = zeros(bytes ^ each(b' '));
        let ends =
            zeros(bytes & each(!0x1f)) | zeros(bytes ^ each(b'?')) | zeros(bytes ^ each(b'#'));
        // The first space is behind the method.
        let first = if has_method {
            0
        } else {
            spaces & spaces.wrapping_neg()
        };
        let ends = ends | spaces & !first;
        // Of the first end, the lowest bit, and by it all below.
        let before = ((ends & ends.wrapping_neg()) >> 7).wrapping_sub(1);
        *word = if is_cut { 0 } else { bytes & before }.to_le_bytes();
        has_method |= spaces != 0;
        is_cut |= ends != 0;
    }
}

/// A byte, eight times over.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte that is zero.
#[inline(always)]
const fn zeros(bytes: u64) -> u64 {
    let low = each(0x7f);
    !(((bytes & low) + low) | bytes | low)
}

/// What came since the first request that has no answer was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Came {
    /// Nothing that begins like an answer.
    Nothing = 0,
    /// An interim one: the real one may have followed it in the same segment.
    Interim = 1,
    /// The answer to an earlier request: these were sent before it came (pipelining).
    Earlier = 2,
}

kernel_struct! {
    /// A connection with requests.
    pub struct Connection {
        /// When the first request that has no answer was sent, or where that is later, when the answer before its own came; where
        /// all have one, when the last of these came (boot time).
        pub since_ns: u64,
        /// Requests without an answer.
        pub waiting: u32,
        /// A [`Came`] as number.
        pub came: u32,
        /// TCP sequence number of the last request.
        pub request: u32,
        /// What the first request without an answer acknowledged.
        pub acknowledged: u32,
        /// TCP sequence number of the last answer.
        pub answer: u32,
        /// 1 once there was one.
        pub answered: u32,
        /// Method and path of the first request without an answer, cut; zeros where they are not known or not wanted.
        pub name: [u8; NAME_BYTES],
    }

    /// Who answers, as an interface shows it.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct ServerKey {
        /// Address and port.
        pub server: PeerKey,
        /// A [`crate::wire::Role`] as number.
        pub role: u32,
    }
}

counters! {
    /// How requests to one server ended since it was first seen.
    pub struct Outcomes {
        /// Answers of the first class that end nothing (`100 Continue`, `103 Early Hints`).
        pub interim,
        /// `101 Switching Protocols`.
        pub switched,
        /// Answered with a code from 200 on.
        pub success,
        /// From 300 on.
        pub redirection,
        /// From 400 on.
        pub client_error,
        /// From 500 on, but for these:
        pub server_error,
        /// 502, 503 and 504: what a proxy says where those that it asks fail it.
        pub gateway_error,
        /// Had no answer until their connection ended, or for [`UNANSWERED_NS`].
        pub no_answer,
        /// Had one, as what came later shows, or may have: it did not begin a segment, and its code is not known.
        pub unseen,
        /// Of the answers: to requests that did not begin a segment, so that their time is not known.
        pub untimed,
    }
}

impl Outcomes {
    /// Answers that ended an exchange, and whose code is known.
    pub const fn answers(&self) -> u64 {
        self.switched + self.success + self.redirection + self.client_error + self.errors()
    }

    /// Answers that say that the server failed.
    pub const fn errors(&self) -> u64 {
        self.server_error + self.gateway_error
    }
}

kernel_struct! {
    /// A server's value in the map.
    #[derive(Default)]
    pub struct Server {
        /// Outcomes.
        pub outcomes: Outcomes,
        /// Request → first byte of its answer.
        pub answers: Span,
    }
}

impl Server {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        outcomes: Outcomes::ZERO,
        answers: Span::ZERO,
    };
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::String;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::wire::UDP;

    fn first(text: &[u8]) -> [u8; FIRST_BYTES] {
        let mut first = [0; FIRST_BYTES];
        let there = text.len().min(FIRST_BYTES);
        first[..there].copy_from_slice(&text[..there]);
        first
    }

    fn told(text: &str) -> Option<Message> {
        message(TCP, &first(text.as_bytes()))
    }

    #[test]
    fn requests_begin_with_a_method() {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
        ] {
            let line = format!("{method} / HTTP/1.1\r\n");
            assert_eq!(told(&line), Some(Message::Request), "{line}");
            assert_eq!(message(UDP, &first(line.as_bytes())), None, "over UDP");
            assert_eq!(told(method), None, "{method} alone");
            assert_eq!(told(&line.to_lowercase()), None);
        }
        assert_eq!(told("PRI * HTTP/2.0\r\n"), None, "HTTP/2");
        assert_eq!(told("GETS / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn answers_begin_with_their_version_and_code() {
        assert_eq!(told("HTTP/1.1 200 OK\r\n"), Some(Message::Answer(200)));
        assert_eq!(told("HTTP/1.0 503 Service"), Some(Message::Answer(503)));
        assert_eq!(told("HTTP/1.1 404\r\n"), Some(Message::Answer(404)));
        for odd in [
            "HTTP/1.2 200 OK\r\n",
            "HTTP/2.0 200 OK\r\n",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 600 OK\r\n",
            "HTTP/1.1 099 OK\r\n",
            "HTTP/1.1 2x0 OK\r\n",
            "HTTP/1.1 20: OK\r\n",
            "HTTP/1.1 2000\r\n",
            "HTTP/1.1 200",
        ] {
            assert_eq!(told(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_the_first_class_ends_nothing_but_for_its_101() {
        assert!(is_interim(100) && is_interim(103));
        assert!(!is_interim(101) && !is_interim(200) && !is_interim(503));
    }

    #[test]
    fn what_was_sent_before_is_sent_again() {
        assert!(is_repeated(7, 7) && is_repeated(6, 7));
        assert!(!is_repeated(8, 7));
        assert!(is_repeated(u32::MAX, 3) && !is_repeated(3, u32::MAX));
        assert!(!is_repeated(0, 1 << 30), "another connection");
    }

    #[test]
    fn nothing_but_method_and_path_is_left_of_a_line() {
        let cut = |text: &str| {
            let mut line = [0; NAME_BYTES];
            let there = text.len().min(NAME_BYTES);
            line[..there].copy_from_slice(&text.as_bytes()[..there]);
            cut_line(&mut line);
            let end = line.iter().position(|byte| *byte == 0);
            let (name, rest) = line.split_at(end.unwrap_or(NAME_BYTES));
            assert!(rest.iter().all(|byte| *byte == 0), "{rest:?}");
            String::from_utf8_lossy(name).into_owned()
        };
        assert_eq!(cut("GET /a/b HTTP/1.1\r\nCookie: secret\r\n"), "GET /a/b");
        assert_eq!(cut("GET /a?token=secret HTTP/1.1"), "GET /a");
        assert_eq!(cut("GET /a\r\nX: y z"), "GET /a");
        assert_eq!(cut("GET "), "GET ");
        assert_eq!(cut(&format!("GET /{}", "a".repeat(80))).len(), NAME_BYTES);
    }

    /// What the line is by its rule, byte by byte.
    fn cut_by_bytes(line: &mut [u8; NAME_BYTES]) {
        let mut spaces = 0;
        let end = line.iter().position(|byte| {
            spaces += u32::from(*byte == b' ');
            matches!(byte, 0..b' ' | b'?' | b'#') || spaces == 2
        });
        line[end.unwrap_or(NAME_BYTES)..].fill(0);
    }

    proptest! {
        #[test]
        fn eight_bytes_at_a_time_are_cut_like_one_by_one(
            bytes in vec(select(b"aZ/\x7f\x80\xa0\xff\x1f\x00\x21 ?#\"$".to_vec()), NAME_BYTES),
            plain in 0..NAME_BYTES,
        ) {
            let mut line = [b'a'; NAME_BYTES];
            line[plain..].copy_from_slice(&bytes[plain..]);
            let mut expected = line;
            cut_by_bytes(&mut expected);
            cut_line(&mut line);
            prop_assert_eq!(line, expected);
        }
    }
}
