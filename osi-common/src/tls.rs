//! TLS handshakes (RFC 5246, RFC 8446), as far as they lie in the open: who began, what was agreed on, how it ended.
//!
//! Those of QUIC are handshakes of TLS 1.3 and kept beside them; how its packets are told is in [`crate::quic`].

use crate::exchange::Span;
use crate::handshake::PeerKey;
use crate::pod::{counters, kernel_struct};
use crate::wire::{FIRST_BYTES, NAME_BYTES, Payload, Role};

mod record;

use record::{CHANGE_CIPHER_SPEC, HANDSHAKE, NEW_SESSION_TICKET};
pub use record::{
    Record, alert, cipher_change_bytes, is_as_long_as_an_alert, is_last, is_likely, record_bytes,
};

/// Handshakes in flight that can be followed at once. Further ones are counted as such.
pub const MAX_HANDSHAKES: u32 = 4096;

/// Servers and own ports that are counted apart; at further ones nothing is, and that is said.
pub const MAX_ENDPOINTS: u32 = 1024;

/// A handshake that has not ended after so long is given up here: nginx waits a minute, and most clients less than this.
pub const UNANSWERED_NS: u64 = 30_000_000_000;

/// Bytes of a record's header: type, version, length (RFC 8446 5.1).
pub const RECORD: u32 = 5;

/// Extensions of a hello that are looked at; browsers send some twenty.
const MAX_EXTENSIONS: u32 = 24;

/// Where a hello's body says how long the session's id is, counted from its record: behind the header, the handshake's type and
/// length, the version and 32 random bytes.
const SESSION: u32 = RECORD + 4 + 2 + 32;
/// Where its version is, and the random bytes.
const VERSION: u32 = RECORD + 4;
const RANDOM: u32 = VERSION + 2;

/// The first of the random bytes of a hello by which the server asks for another one (RFC 8446 4.1.3).
const RETRY: [u8; 8] = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];

/// Extensions (RFC 6066, RFC 8446 4.2).
const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;

/// TLS 1.2 and 1.3 as hellos have them.
pub const TLS_1_2: u16 = 0x0303;
/// See above.
pub const TLS_1_3: u16 = 0x0304;

/// Where a client's hello has the server's name, and how long that is, as `place << 16 | length`; 0 where it has none in reach.
#[inline(always)]
pub fn server_name(payload: impl Payload, hello: u32) -> u32 {
    let Some([session]) = payload.read(hello + SESSION) else {
        return 0;
    };
    let ciphers = hello + SESSION + 1 + u32::from(session);
    let Some(length) = payload.read(ciphers).map(u16::from_be_bytes) else {
        return 0;
    };
    let compressions = ciphers + 2 + u32::from(length);
    let Some([methods]) = payload.read(compressions) else {
        return 0;
    };
    let extensions = compressions + 1 + u32::from(methods) + 2;
    let at = extension(payload, extensions, SERVER_NAME);
    // The length of the list, the kind of its first name, which is 0 for a host's, and the length of that.
    let Some([_, _, 0, high, low]) = (at > 0).then(|| payload.read(at)).flatten() else {
        return 0;
    };
    let length = u32::from(u16::from_be_bytes([high, low])).min(NAME_BYTES as u32);
    if length == 0 || at + 5 > 0xffff {
        return 0;
    }
    (at + 5) << 16 | length
}

/// The version that a server's hello chooses.
#[inline(always)]
pub fn version(payload: impl Payload) -> u16 {
    let Some(legacy) = payload.read(VERSION).map(u16::from_be_bytes) else {
        return 0;
    };
    let Some([session]) = payload.read(SESSION) else {
        return legacy;
    };
    // The session's id, one cipher, one method of compression, the length of the extensions.
    let extensions = SESSION + 1 + u32::from(session) + 2 + 1 + 2;
    let at = extension(payload, extensions, SUPPORTED_VERSIONS);
    if at == 0 {
        return legacy;
    }
    payload.read(at).map_or(legacy, u16::from_be_bytes)
}

/// Whether a server's hello only asks for another one of the client (TLS 1.3).
#[inline(always)]
pub fn is_retry(payload: impl Payload) -> bool {
    payload.read(RANDOM) == Some(RETRY)
}

/// Whether a server ends its part of the handshake right behind its hello, as it does where it goes on with an earlier session
/// (up to TLS 1.2): then the client ends the handshake.
#[inline(always)]
pub fn goes_on(payload: impl Payload, first: &[u8; FIRST_BYTES]) -> bool {
    let next = payload.read::<6>(record_bytes(first));
    next.is_some_and(|next| {
        next[0] == CHANGE_CIPHER_SPEC || next[0] == HANDSHAKE && next[5] == NEW_SESSION_TICKET
    })
}

/// Where the content of an extension begins; 0 where it is not there or out of reach.
#[inline(always)]
fn extension(payload: impl Payload, first: u32, wanted: u16) -> u32 {
    let mut at = first;
    for _ in 0..MAX_EXTENSIONS {
        let Some([kind_high, kind_low, high, low]) = payload.read(at) else {
            return 0;
        };
        if u16::from_be_bytes([kind_high, kind_low]) == wanted {
            return at + 4;
        }
        at += 4 + u32::from(u16::from_be_bytes([high, low]));
    }
    0
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// The client has said hello.
    Asked = 0,
    /// The server wants another hello.
    Retried = 1,
    /// The server has said hello.
    Answered = 2,
    /// It has ended, and the server has not looked at the client's certificate yet (TLS 1.3).
    Certified = 3,
}

kernel_struct! {
    /// A handshake in flight. Its key is [`crate::wire::Ends`] as if this host asked, whoever does: what does not tell who sent
    /// it is found by one look-up.
    pub struct Handshake {
        /// When the client's hello passed (boot time).
        pub begun_ns: u64,
        /// A [`Stage`] as number.
        pub stage: u32,
        /// A [`crate::wire::Role`] as number.
        pub role: u32,
        /// The version that the server chose; 0 before. Over UDP it is one of QUIC.
        pub version: u32,
        /// 1 where it goes on with an earlier session.
        pub resumed: u32,
        /// TCP sequence number of what the client sends next behind all that was seen of it. Nothing in QUIC.
        pub client_next: u32,
        /// The same of the server, once the client has ended the handshake. In QUIC the first bytes of the id by which the server
        /// wants to be called, zeros where that is short.
        pub server_next: u32,
        /// The server's name as the client has it, cut; zeros where there is none, and where names are not wanted.
        pub name: [u8; NAME_BYTES],
    }

    /// Where handshakes are counted.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct Endpoint {
        /// The server that this host asks; where it is one itself, its own port, and no address.
        pub server: PeerKey,
        /// A [`crate::wire::Role`] as number.
        pub role: u16,
        /// [`crate::wire::TCP`] or, for QUIC, [`crate::wire::UDP`].
        pub transport: u16,
    }
}

impl Endpoint {
    /// Where exchanges with a server are counted: under it where this host asks, else under the own port alone.
    pub const fn of(transport: u8, role: u32, server: PeerKey, own_port: u16) -> Self {
        let server = if role == Role::Asking as u32 {
            server
        } else {
            PeerKey::own_port(server.netns, own_port)
        };
        Self {
            server,
            role: role as u16,
            transport: transport as u16,
        }
    }
}

counters! {
    /// How handshakes with one server, or at one port, ended since it was first seen.
    pub struct Outcomes {
        /// Completed with TLS 1.3.
        pub tls13,
        /// With TLS 1.2.
        pub tls12,
        /// With an older version.
        pub older,
        /// With TLS 1.3 in version 1 of QUIC.
        pub quic_v1,
        /// In its version 2.
        pub quic_v2,
        /// In a draft of it.
        pub quic_draft,
        /// Of the completed ones: nobody saw when.
        pub unmeasured,
        /// Ended by an alert of the client.
        pub client_alert,
        /// By one of the server.
        pub server_alert,
        /// By a server that does not speak the client's version of QUIC.
        pub version_refused,
        /// The connection ended before the server said hello.
        pub aborted_unanswered,
        /// And after that.
        pub aborted_answered,
        /// The server said nothing for [`UNANSWERED_NS`].
        pub no_answer,
        /// Neither an end nor the end of the connection came for as long.
        pub unfinished,
    }
}

impl Outcomes {
    /// Handshakes that came to a good end.
    pub const fn completed(&self) -> u64 {
        self.tls13 + self.tls12 + self.older + self.quic_v1 + self.quic_v2 + self.quic_draft
    }

    /// Those that did not.
    pub const fn failed(&self) -> u64 {
        self.client_alert
            + self.server_alert
            + self.version_refused
            + self.aborted()
            + self.no_answer
    }

    /// Those whose connection ended first.
    pub const fn aborted(&self) -> u64 {
        self.aborted_unanswered + self.aborted_answered
    }
}

kernel_struct! {
    /// A server's or a port's value in the map.
    #[derive(Default)]
    pub struct Handshakes {
        /// Outcomes.
        pub outcomes: Outcomes,
        /// The client's hello → the end of the handshake.
        pub times: Span,
    }
}

impl Handshakes {
    /// Nothing happened yet.
    pub const ZERO: Self = Self {
        outcomes: Outcomes::ZERO,
        times: Span::ZERO,
    };
}

/// Set in the code of a failure that is the server's doing.
pub const BY_SERVER: u32 = 0x100;
/// An alert that is encrypted, whatever it says.
pub const ENCRYPTED: u32 = 0x1000;
/// The connection ended before the server said hello.
pub const ABORTED_UNANSWERED: u32 = 0x2000;
/// And after that.
pub const ABORTED_ANSWERED: u32 = 0x3000;
/// The server said nothing.
pub const NO_ANSWER: u32 = 0x4000;
/// The server does not speak the client's version of QUIC.
pub const VERSION_REFUSED: u32 = 0x5000;
/// QUIC: the server answered, and the handshake did not end. Why is encrypted.
pub const UNFINISHED: u32 = 0x6000;

/// Name of a failure, those of alerts as RFC 8446 6 has them; `None` for one without a name.
pub const fn failure(code: u32) -> Option<&'static str> {
    Some(match code & !BY_SERVER {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        ENCRYPTED => "encrypted_alert",
        ABORTED_UNANSWERED => "aborted_before_server_hello",
        ABORTED_ANSWERED => "aborted_after_server_hello",
        NO_ANSWER => "no_answer",
        VERSION_REFUSED => "quic_version_refused",
        UNFINISHED => "quic_unfinished",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
