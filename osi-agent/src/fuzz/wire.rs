//! Rows of the parsers of packets, which run in the kernel as they stand.
//!
//! The first byte of the input says what the packet's transport is.

use osi_common::dns::{self, Header};
use osi_common::http::{self, Message};
use osi_common::quic;
use osi_common::tls::{self, Record};
use osi_common::wire::{FIRST_BYTES, NAME_BYTES, Payload as _, Protocol, TCP, UDP, protocol_of};

/// The transport, and a payload.
fn split(bytes: &[u8]) -> (u8, &[u8]) {
    let transport = |first: &u8| if first & 1 == 0 { UDP } else { TCP };
    bytes
        .split_first()
        .map_or((UDP, bytes), |(first, rest)| (transport(first), rest))
}

/// What a program sees of a payload first, zeros where it ends before.
fn first(payload: &[u8]) -> [u8; FIRST_BYTES] {
    let mut first = [0; FIRST_BYTES];
    let there = payload.len().min(FIRST_BYTES);
    first[..there].copy_from_slice(&payload[..there]);
    first
}

pub(super) fn first_bytes(bytes: &[u8]) {
    let (transport, payload) = split(bytes);
    let first = first(payload);
    let is_dns = dns::first_message(transport, &first).is_some();
    let is_http = http::message(transport, &first).is_some();
    let protocol = protocol_of(transport, &first);
    let is_tls = tls::is_likely(transport, &first);
    // What begins like a long header is no query that anybody follows.
    let is_quic = quic::is_likely(transport, &first);
    assert!(!is_quic || !is_tls && !quic::is_short(transport, &first));
    assert_eq!(protocol == Some(Protocol::Tls), is_tls);
    assert_eq!(protocol == Some(Protocol::Quic), is_quic);
    assert_eq!(
        protocol == Some(Protocol::Dns),
        is_dns && !is_tls && !is_quic
    );
    assert_eq!(
        protocol == Some(Protocol::Http),
        is_http && !is_tls && !is_dns
    );
}

/// As the program does with a packet: nothing behind the path may be left of a request.
pub(super) fn http(bytes: &[u8]) {
    let (transport, payload) = split(bytes);
    match http::message(transport, &first(payload)) {
        Some(Message::Request) => {
            let mut line = [0; NAME_BYTES];
            let there = payload.len().min(NAME_BYTES);
            line[..there].copy_from_slice(&payload[..there]);
            http::cut_line(&mut line);
            let mut words = line.split(|byte| *byte == 0);
            let name = words.next().unwrap_or_default();
            assert!(name.split(|byte| *byte == b' ').count() <= 2);
            assert!(!name.contains(&b'?') && words.all(<[u8]>::is_empty));
        }
        Some(Message::Answer(status)) => assert!((100..600).contains(&status)),
        None => {}
    }
}

/// As the program goes through a packet.
pub(super) fn dns(bytes: &[u8]) {
    let (transport, payload) = split(bytes);
    let Some(mut at) = dns::first_message(transport, &first(payload)) else {
        return;
    };
    for _ in 0..dns::MAX_MESSAGES {
        let Some(header) = payload.read(at).and_then(|bytes| Header::parse(&bytes)) else {
            return;
        };
        assert!(header.code <= 15 && (header.is_answer || header.code == 0));
        let question = at + dns::HEADER;
        let length = dns::name_bytes(payload, question) as usize;
        assert!(length <= NAME_BYTES && question as usize + length <= payload.len());
        let Some(length) = (transport == TCP && at >= dns::PREFIX)
            .then(|| payload.read(at - dns::PREFIX).map(u16::from_be_bytes))
            .flatten()
        else {
            return;
        };
        at += u32::from(length) + dns::PREFIX;
    }
}

/// As the program goes through a packet.
pub(super) fn tls(payload: &[u8]) {
    let first = first(payload);
    match Record::of(&first) {
        Record::ClientHello => {
            let found = tls::server_name(payload, 0);
            let (at, length) = ((found >> 16) as usize, (found & 0xffff) as usize);
            assert!(length <= NAME_BYTES && (length == 0) == (at == 0));
            assert!(tls::record_bytes(&first) > tls::RECORD);
        }
        Record::ServerHello => {
            let _ = (
                tls::version(payload),
                tls::is_retry(payload),
                tls::goes_on(payload, &first),
            );
        }
        Record::CipherChange => {
            let behind = Record::behind_change(&first);
            assert!(tls::alert(&first, true) <= 255);
            assert!(!matches!(behind, Record::Alert) || first[6] == 21);
        }
        Record::Alert => assert!(tls::alert(&first, false) <= 255),
        Record::Ticket | Record::EncryptedAlert | Record::Finished | Record::Other => {}
    }
}

/// As the program does with a packet.
pub(super) fn quic(payload: &[u8]) {
    let first = first(payload);
    let carried = quic::carried(payload, &first);
    let (long, short) = (quic::is_likely(UDP, &first), quic::is_short(UDP, &first));
    let is_padding = first[..5] == [0; 5];
    assert_eq!(carried != 0, long || short && !is_padding);
    assert!(!short || carried & !(quic::Packet::Short as u32) == 0);
    assert!(carried < 64);
}

pub(super) fn quic_seeds() -> Vec<Vec<u8>> {
    let long = |form: u8, version: u32, token: &[u8], body: u8| {
        let mut bytes = vec![form];
        bytes.extend(version.to_be_bytes());
        bytes.extend([4, 1, 2, 3, 4, 4, 5, 6, 7, 8]);
        bytes.extend(token);
        bytes.extend([0x40, body]);
        bytes.extend(vec![0xff; body.into()]);
        bytes
    };
    let initial = long(0xc3, quic::V1, &[2, 9, 9], 60);
    vec![
        [&initial[..], &long(0xe3, quic::V1, &[], 30), &[0x41; 30]].concat(),
        long(0xd3, quic::V2, &[0], 90),
        b"\x80\0\0\0\0\x04abcd\x04efgh\0\0\0\x01".to_vec(),
    ]
}

pub(super) fn tls_seeds() -> Vec<Vec<u8>> {
    let hello = |kind: u8, rest: &[u8]| {
        let mut bytes = vec![22, 3, 3, 0, (rest.len() + 39) as u8];
        bytes.extend([kind, 0, 0, (rest.len() + 35) as u8, 3, 3]);
        bytes.extend([7; 32]);
        bytes.push(0);
        bytes.extend(rest);
        bytes
    };
    let client = b"\0\x02\x13\x01\x01\0\0\x12\0\0\0\x0e\0\x0c\0\0\x09known.lab";
    let server = b"\x13\x01\0\0\x06\0\x2b\0\x02\x03\x04\x14\x03\x03\0\x01\x01";
    vec![
        hello(1, client),
        hello(2, server),
        b"\x14\x03\x03\0\x01\x01\x17\x03\x03\0\x45".to_vec(),
        b"\x15\x03\x03\0\x02\x02\x30".to_vec(),
    ]
}

pub(super) fn http_seeds() -> Vec<Vec<u8>> {
    [
        &b"\x01GET /index.html?user=1#top HTTP/1.1\r\nHost: www.example.com\r\n\r\n"[..],
        b"\x01OPTIONS * HTTP/1.0\r\n\r\n",
        b"\x01HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"\x01HTTP/1.0 200\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let question = b"\x03www\x07example\x03com\0\0\x01\0\x01";
    let message = |flags: u16| {
        let mut message = vec![0x12, 0x34];
        message.extend(flags.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend(question);
        message
    };
    let over_tcp = |message: &[u8]| [&[0, message.len() as u8][..], message].concat();
    let (query, refused) = (message(0x0100), message(0x8185));
    vec![
        [&[0], &query[..]].concat(),
        [&[0], &refused[..]].concat(),
        [&[1], &over_tcp(&query)[..], &over_tcp(&refused)].concat(),
        [&[1], &query[..]].concat(),
    ]
}
