//! What a packet of a handshake is, by its first bytes (RFC 8446 5.1).

use super::RECORD;
use crate::wire::{FIRST_BYTES, TCP};

/// Bytes of a change of the cipher, behind which the header of what follows is looked at.
const CIPHER_CHANGE_BYTES: u32 = 6;

/// Length of an encrypted record that holds an alert and nothing else (TLS 1.3): two bytes, their type, sixteen to prove them.
const ENCRYPTED_ALERT: u8 = 2 + 1 + 16;
/// Of one that holds the end of a handshake: four bytes, a hash of 32 or 48, and the same.
const FINISHED_256: u8 = 4 + 32 + 1 + 16;
const FINISHED_384: u8 = 4 + 48 + 1 + 16;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const NEW_SESSION_TICKET: u8 = 4;

/// What a payload begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Record {
    /// Nothing that tells of a handshake, such as data.
    Other = 0,
    /// The client's first message.
    ClientHello = 1,
    /// The server's.
    ServerHello = 2,
    /// What a server sends in the open right before it ends a handshake (up to TLS 1.2).
    Ticket = 3,
    /// What follows is encrypted (up to TLS 1.2); of no meaning but at the same place in TLS 1.3, for who looks from outside.
    CipherChange = 4,
    /// An alert in the open.
    Alert = 5,
    /// An encrypted record as short as an alert.
    EncryptedAlert = 6,
    /// One as long as the end of a handshake.
    Finished = 7,
}

impl Record {
    /// The record that a payload's first bytes begin.
    #[inline(always)]
    pub fn of(first: &[u8; FIRST_BYTES]) -> Self {
        Self::at(first, 0)
    }

    /// The one behind a change of the cipher; what is encrypted and no alert is taken for the end.
    #[inline(always)]
    pub fn behind_change(first: &[u8; FIRST_BYTES]) -> Self {
        let behind = CIPHER_CHANGE_BYTES as usize;
        let record = Self::at(first, behind);
        if matches!(record, Self::Other) && first[behind] == APPLICATION_DATA {
            return Self::Finished;
        }
        record
    }

    #[inline(always)]
    fn at(first: &[u8; FIRST_BYTES], at: usize) -> Self {
        let kind = first[at];
        if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
            || first[at + 1] != 3
            || first[at + 2] > 4
        {
            return Self::Other;
        }
        let length = u16::from_be_bytes([first[at + 3], first[at + 4]]);
        let message = first[at + 5];
        match kind {
            HANDSHAKE if message == CLIENT_HELLO && length > 4 => Self::ClientHello,
            HANDSHAKE if message == SERVER_HELLO && length > 4 => Self::ServerHello,
            HANDSHAKE if message == NEW_SESSION_TICKET && length > 4 => Self::Ticket,
            CHANGE_CIPHER_SPEC if length == 1 && message == 1 => Self::CipherChange,
            ALERT if length == 2 && (message == 1 || message == FATAL) => Self::Alert,
            APPLICATION_DATA if length == u16::from(ENCRYPTED_ALERT) => Self::EncryptedAlert,
            APPLICATION_DATA
                if length == u16::from(FINISHED_256) || length == u16::from(FINISHED_384) =>
            {
                Self::Finished
            }
            _ => Self::Other,
        }
    }
}

/// Whether a payload begins like a record that tells of a handshake. Data does not, so that it costs no look-up; but for records
/// as short as an alert, such as the last of a connection.
#[inline(always)]
pub fn is_likely(transport: u8, first: &[u8; FIRST_BYTES]) -> bool {
    transport == TCP && !matches!(Record::of(first), Record::Other)
}

/// Bytes of the record at the beginning of these, its header included: it may end in a later segment.
#[inline(always)]
pub fn record_bytes(first: &[u8; FIRST_BYTES]) -> u32 {
    RECORD + u32::from(u16::from_be_bytes([first[3], first[4]]))
}

/// Bytes of a change of the cipher.
#[inline(always)]
pub const fn cipher_change_bytes() -> u32 {
    CIPHER_CHANGE_BYTES
}

/// What the alert says that begins at a place of a payload's first bytes.
#[inline(always)]
pub fn alert(first: &[u8; FIRST_BYTES], behind_change: bool) -> u32 {
    let at = if behind_change {
        CIPHER_CHANGE_BYTES as usize
    } else {
        0
    };
    u32::from(first[at + 6])
}

/// Whether the alert that begins there ends its connection: a fatal one, and one by which a side takes its leave.
#[inline(always)]
pub fn is_last(first: &[u8; FIRST_BYTES], behind_change: bool) -> bool {
    let at = if behind_change {
        CIPHER_CHANGE_BYTES as usize
    } else {
        0
    };
    first[at + 5] == FATAL || matches!(first[at + 6], CLOSE_NOTIFY | USER_CANCELED)
}

/// Whether a sender's last bytes are as many as an encrypted alert takes that it sends alone, as it does before it closes: record
/// header, level, description, and what the cipher adds (RFC 8446 5.2; RFC 5288 3, RFC 7905 2, RFC 5246 6.2.3.2).
#[inline(always)]
pub fn is_as_long_as_an_alert(bytes: u32) -> bool {
    matches!(
        bytes,
        // 1.3; 1.2 with ChaCha20; with GCM or CCM; with CBC and SHA-1, SHA-256, SHA-384.
        24 | 23 | 31 | 53 | 69 | 85
    )
}

const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
