//! Handshakes as OpenSSL, Go and browsers send them.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::record::{CLIENT_HELLO, SERVER_HELLO};
use super::*;
use crate::wire::{TCP, UDP};

fn first(bytes: &[u8]) -> [u8; FIRST_BYTES] {
    let mut first = [0; FIRST_BYTES];
    let there = bytes.len().min(FIRST_BYTES);
    first[..there].copy_from_slice(&bytes[..there]);
    first
}

/// A record of a handshake's message.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u16;
    let mut bytes = vec![HANDSHAKE, 3, 3];
    bytes.extend((length + 4).to_be_bytes());
    bytes.extend([kind, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Version, random bytes, an id of 32 bytes, and what follows.
fn hello(kind: u8, random: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([random; 32]);
    body.push(32);
    body.extend([9; 32]);
    body.extend(rest.concat());
    record(kind, &body)
}

const OTHER_EXTENSIONS: &[u8] = b"\x0a\x0a\0\0\0\x17\0\0\0\x0b\0\x02\x01\0";

fn client_hello(extension: &[u8]) -> Vec<u8> {
    let length = (OTHER_EXTENSIONS.len() + extension.len()) as u16;
    let rest: [&[u8]; 5] = [
        &[0, 4, 0x13, 1, 0x13, 2],
        &[1, 0],
        &length.to_be_bytes(),
        OTHER_EXTENSIONS,
        extension,
    ];
    hello(CLIENT_HELLO, 7, &rest)
}

fn server_hello(random: u8, extension: &[u8]) -> Vec<u8> {
    let length = extension.len() as u16;
    let rest: [&[u8]; 3] = [&[0x13, 1, 0], &length.to_be_bytes(), extension];
    hello(SERVER_HELLO, random, &rest)
}

#[test]
fn records_are_told_by_their_first_bytes() {
    for (bytes, record) in [
        (
            &b"\x16\x03\x01\x00\xc5\x01\x00\x00\xc1"[..],
            Record::ClientHello,
        ),
        (b"\x16\x03\x03\x00\x5d\x02\x00\x00\x59", Record::ServerHello),
        (b"\x16\x03\x03\x00\xca\x04\x00\x00\xc6", Record::Ticket),
        (b"\x16\x03\x03\x00\x25\x10\x00\x00\x21", Record::Other),
        (b"\x14\x03\x03\x00\x01\x01", Record::CipherChange),
        (b"\x15\x03\x03\x00\x02\x02\x30", Record::Alert),
        (b"\x15\x03\x03\x00\x1a\xd8\x0d", Record::Other),
        (b"\x17\x03\x03\x00\x13\x45\xe0", Record::EncryptedAlert),
        (b"\x17\x03\x03\x00\x35\x45\xe0", Record::Finished),
        (b"\x17\x03\x03\x00\x45\x45\xe0", Record::Finished),
        (b"\x17\x03\x03\x11\x13\x45\xe0", Record::Other),
        (b"\x16\x02\x01\x00\xc5\x01", Record::Other),
        (b"\x16\x03\x05\x00\xc5\x01", Record::Other),
        // What it is stands in the sixth byte.
        (b"\x16\x03\x01\x00\xc5\x01", Record::ClientHello),
        (b"\x16\x03\x01\x00\xc5", Record::Other),
        (b"GET / HTTP/1.1\r\n", Record::Other),
        (b"", Record::Other),
    ] {
        assert_eq!(Record::of(&first(bytes)), record, "{bytes:x?}");
        assert_eq!(is_likely(TCP, &first(bytes)), record != Record::Other);
        assert!(!is_likely(UDP, &first(bytes)));
    }
}

#[test]
fn what_follows_a_change_of_the_cipher_tells_how_it_ended() {
    let behind = |bytes: &[u8]| {
        let whole = [b"\x14\x03\x03\0\x01\x01", bytes].concat();
        Record::behind_change(&first(&whole))
    };
    assert_eq!(behind(b""), Record::Other);
    assert_eq!(behind(b"\x17\x03\x03\0\x45"), Record::Finished);
    assert_eq!(
        behind(b"\x17\x03\x03\x04\0"),
        Record::Finished,
        "a certificate"
    );
    assert_eq!(behind(b"\x17\x03\x03\0\x13"), Record::EncryptedAlert);
    assert_eq!(behind(b"\x15\x03\x03\0\x02\x02\x30"), Record::Alert);
    assert_eq!(behind(b"\x16\x03\x03\0\x80\x01"), Record::ClientHello);
    assert_eq!(behind(b"\x16\x03\x03\0\x28\xc4"), Record::Other);
}

#[test]
fn alerts_end_a_handshake_unless_they_only_warn() {
    let told = |bytes: &[u8], behind| {
        let first = first(bytes);
        (alert(&first, behind), is_last(&first, behind))
    };
    assert_eq!(told(b"\x15\x03\x03\0\x02\x02\x30", false), (48, true));
    assert_eq!(told(b"\x15\x03\x03\0\x02\x01\x70", false), (112, false));
    assert_eq!(told(b"\x15\x03\x03\0\x02\x01\0", false), (0, true));
    let behind = b"\x14\x03\x03\0\x01\x01\x15\x03\x03\0\x02\x02\x2d";
    assert_eq!(told(behind, true), (45, true));
    assert_eq!(failure(BY_SERVER + 48), Some("unknown_ca"));
    assert_eq!(failure(255), None);
    assert_eq!(failure(NO_ANSWER), Some("no_answer"));
}

#[test]
fn a_client_names_the_server() {
    let name = |extension: &[u8], cut: usize| {
        let mut bytes = client_hello(extension);
        bytes.truncate(bytes.len() - cut);
        let found = server_name(&bytes[..], 0);
        let (at, length) = ((found >> 16) as usize, (found & 0xffff) as usize);
        bytes.get(at..at + length).map(<[u8]>::to_vec)
    };
    let known = b"\0\0\0\x0e\0\x0c\0\0\x09known.lab";
    assert_eq!(name(known, 0).as_deref(), Some(&b"known.lab"[..]));
    assert_eq!(name(known, 12), Some(Vec::new()), "in a later segment");
    assert_eq!(name(b"\0\x10\0\0", 0), Some(Vec::new()), "without one");
    // Three others stand before these.
    let behind = |others| [b"\0\x10\0\0".repeat(others), known.to_vec()].concat();
    assert_eq!(name(&behind(20), 0).as_deref(), Some(&b"known.lab"[..]));
    assert_eq!(name(&behind(21), 0), Some(Vec::new()), "behind 24 others");
    let mut long = b"\0\0\0\x69\0\x67\0\0\x64".to_vec();
    long.extend([b'a'; 100]);
    assert_eq!(name(&long, 0).map(|name| name.len()), Some(NAME_BYTES));
}

#[test]
fn a_server_says_which_version_it_chose() {
    let old = server_hello(1, b"\xff\x01\0\x01\0");
    assert_eq!(version(&old[..]), TLS_1_2);
    let new = server_hello(1, b"\0\x33\0\x02\0\x1d\0\x2b\0\x02\x03\x04");
    assert_eq!(version(&new[..]), TLS_1_3);
    assert_eq!(version(&new[..8]), 0);
    assert!(!is_retry(&new[..]));
    let mut retry = new;
    retry[11..19].copy_from_slice(&RETRY);
    assert!(is_retry(&retry[..]));
}

#[test]
fn a_server_that_goes_on_with_a_session_ends_its_part_at_once() {
    let goes_on = |next: &[u8]| {
        let bytes = [server_hello(1, b""), next.to_vec()].concat();
        goes_on(&bytes[..], &first(&bytes))
    };
    assert!(goes_on(b"\x14\x03\x03\0\x01\x01"));
    assert!(goes_on(&record(NEW_SESSION_TICKET, &[0; 40])));
    assert!(!goes_on(&record(11, &[0; 40])), "its certificate");
    assert!(!goes_on(b""));
}
