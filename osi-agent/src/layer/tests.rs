//! The table of signals as a whole.

use std::collections::BTreeSet;

use super::{Read, signals};
use crate::probe::table::PROBES;
use crate::snapshot::host::readers::READERS;

#[test]
fn ids_are_unique_words() {
    let mut seen = BTreeSet::new();
    for signal in signals() {
        assert!(seen.insert(signal.id), "{} is there twice", signal.id);
        let snake = signal
            .id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        assert!(snake, "{} is not snake case", signal.id);
    }
}

#[test]
fn every_row_has_its_help() {
    for signal in signals() {
        assert!(
            signal.help.ends_with('.') && signal.help.len() > 10,
            "{}: {}",
            signal.id,
            signal.help
        );
        assert!(!signal.since.is_empty(), "{}", signal.id);
    }
}

#[test]
fn every_signal_is_fed() {
    for signal in signals() {
        assert!(!signal.fed_by.is_empty(), "{} is fed by nobody", signal.id);
        for feeder in signal.fed_by {
            let reads = READERS.iter().any(|reader| reader.id == *feeder);
            let probes = PROBES.iter().any(|probe| probe.name == *feeder);
            assert!(
                reads || probes,
                "{} is fed by {feeder}, which does not exist",
                signal.id
            );
        }
    }
}

#[test]
fn latencies_keep_the_names_of_the_stream() {
    let ids: Vec<_> = signals()
        .filter(|signal| matches!(signal.read, Read::Latency(_)))
        .map(|s| s.id)
        .collect();
    assert_eq!(
        ids,
        [
            "neighbour_resolution",
            "forwarding",
            "tcp_handshake_client",
            "tcp_handshake_server",
            "tcp_handshake_retried",
            "tcp_port_search",
            "tcp_rtt",
            "tcp_rtt_least",
            "session_lifetime",
            "tls_handshake",
            "quic_handshake",
            "request_dwell",
            "response_time",
            "dependency_time",
            "dns_time",
            "http_time"
        ]
    );
}
