//! Messages of known protocols, damaged and in masses, run by the kernel through the programs of a running agent: none has its
//! fate changed, and what the agent remembers of them stays within its bounds and is forgotten.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::program::Program;
use osi_tests::stream::{self, rows, stats};
use osi_tests::topology::Pair;
use osi_tests::{scale, skip};

use super::frames::{Random, TCP, UDP};

/// Messages, each through both programs.
const MESSAGES: u64 = 200_000;
/// Clients of QUIC, more than there is room for, and as fast as they go: the agent makes room in each window.
const CLIENTS: u64 = 12_000;
const SEED: u64 = 0x6d65_7373_6167_6573;
/// Programs of tc; they return `TCX_NEXT`, which is `TC_ACT_UNSPEC`, and so does what they hand a packet to.
const PROGRAMS: [&str; 2] = ["osi_tc_ingress", "osi_tc_egress"];
const NEXT: i32 = -1;
/// Windows after which nothing is in flight any more: queries, handshakes and requests are given up after five, thirty and sixty
/// seconds.
const FORGOTTEN: usize = 64;

/// Bytes of a header of Ethernet.
const ETHERNET: usize = 14;

#[test]
fn no_message_is_too_odd_and_none_is_kept() -> Result<()> {
    let test = "safety::messages::no_message_is_too_odd_and_none_is_kept";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // A test run arrives at lo.
    let agent = Agent::watch_with(&pair.client, &["--iface", "lo"])?;
    let programs = PROGRAMS
        .iter()
        .map(|name| Program::held_by(agent.pid(), name))
        .collect::<Result<Vec<_>>>()?;
    let messages = scale::rate(MESSAGES);
    pair.client.run(|| {
        let mut random = Random(SEED);
        let mut after = vec![0; 2048];
        for _ in 0..CLIENTS {
            for program in &programs {
                program.run(&initial(&mut random), &mut after)?;
            }
        }
        for number in 0..messages {
            let frame = frame(&mut random);
            for (program, name) in programs.iter().zip(PROGRAMS) {
                let ran = program.run(&frame, &mut after)?;
                ensure!(
                    ran.verdict == NEXT && after.get(..ran.length) == Some(frame.as_slice()),
                    "message {number}: {name} returns {} and leaves {} bytes: {frame:02x?}",
                    ran.verdict,
                    ran.length
                );
            }
        }
        Ok(())
    })?;
    agent.wait_for_window(SystemTime::now(), FORGOTTEN)?;
    let lines = agent.stop()?;
    let maps = || lines.iter().filter(|line| line.is_fault_map());
    for (layer, signal, things) in [
        ("L6", "tls_handshake", "TLS handshakes"),
        ("L6", "quic_handshake", "QUIC handshakes"),
        ("L7", "dns_time", "DNS queries"),
        ("L7", "http_time", "HTTP requests"),
    ] {
        let in_flight = |map: &stream::Line| map.latency(layer, signal, "in_flight");
        let most = maps().filter_map(in_flight).max();
        let said = maps().any(|map| map.is_blind(layer, &[things, "too many are in flight"]));
        stream::ensure(&lines, said && most > Some(0), || {
            format!(
                "{messages} messages had {most:?} of {signal} in flight, and that it was full is said: {said}"
            )
        })?;
        let last = maps().next_back().and_then(in_flight);
        stream::ensure(&lines, last == Some(0), || {
            format!("{last:?} of {signal} are in flight after {FORGOTTEN} windows")
        })?;
    }
    for fill in stats(&lines).flat_map(|line| rows(line.value(), "map_fill")) {
        ensure!(
            fill["used"].as_u64() <= fill["capacity"].as_u64(),
            "a map holds more than it can: {fill}"
        );
    }
    // Nothing else tells how many ids of clients are kept.
    let kept = stats(&lines).filter_map(|line| {
        let mut maps = rows(line.value(), "map_fill");
        maps.find(|fill| fill["name"] == "quic_clients")?["used"].as_u64()
    });
    let kept: Vec<_> = kept.collect();
    let said = maps().any(|map| map.is_blind("L6", &["ids of QUIC's clients"]));
    let is_full = said || scale::is_slow();
    let is_empty = kept.iter().any(|used| *used > 0) && kept.last() == Some(&0);
    stream::ensure(&lines, is_full && is_empty, || {
        format!(
            "{kept:?} ids of QUIC's clients were kept, and that there was no room is said: {said}"
        )
    })
}

/// A frame with a message. Half of them are as a client or a server sends them, from and to anywhere; the others are damaged
/// here and there, or cut off.
fn frame(random: &mut Random) -> Vec<u8> {
    let is_tcp = random.below(2) == 0;
    let payload = if is_tcp && random.below(2) == 0 {
        records(random)
    } else if !is_tcp && random.below(3) == 0 {
        datagram(random)
    } else {
        payload(random, is_tcp)
    };
    let mut frame = carried(random, is_tcp, &payload);
    if random.below(2) == 0 {
        for _ in 0..random.below(4) {
            let position = ETHERNET + random.below(frame.len() - ETHERNET);
            frame[position] = random.next() as u8;
        }
        // For a test run, kernels refuse what ends within the header of IP.
        let shortest = ETHERNET + 40;
        if random.below(4) == 0 && frame.len() > shortest {
            frame.truncate(shortest + random.below(frame.len() - shortest));
        }
    }
    frame
}

/// A frame from and to anywhere, over TCP or UDP.
fn carried(random: &mut Random, is_tcp: bool, payload: &[u8]) -> Vec<u8> {
    let (protocol, header) = if is_tcp { (TCP, 20) } else { (UDP, 8) };
    let length = (header + payload.len()) as u16;
    let is_v4 = random.below(2) == 0;
    let mut frame = vec![0; ETHERNET - 2];
    if is_v4 {
        let [high, low] = (20 + length).to_be_bytes();
        frame.extend([
            0x08, 0x00, 0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0,
        ]);
        frame.extend(random.next().to_ne_bytes());
    } else {
        let [high, low] = length.to_be_bytes();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, protocol, 64]);
        (0..4).for_each(|_| frame.extend(random.next().to_ne_bytes()));
    }
    frame.extend((random.next() as u32).to_ne_bytes());
    if is_tcp {
        let flags = if payload.is_empty() { 0x11 } else { 0x18 };
        frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend(payload);
    frame
}

/// A client's first datagram of QUIC, with an id of its own.
fn initial(random: &mut Random) -> Vec<u8> {
    let mut datagram = vec![0xc0, 0, 0, 0, 1];
    for _ in 0..2 {
        datagram.push(8);
        datagram.extend(random.next().to_ne_bytes());
    }
    datagram.extend([0, 0x44, 0x80]);
    datagram.resize(1200, 0xff);
    carried(random, false, &datagram)
}

/// A request of HTTP or an answer to one.
fn http(random: &mut Random) -> Vec<u8> {
    let mut payload = if random.below(2) == 0 {
        let methods = ["GET", "POST", "HEAD", "DELETE", "OPTIONS"];
        format!("{} /", methods[random.below(methods.len())]).into_bytes()
    } else {
        let (version, status) = (random.below(2), random.below(700));
        return format!("HTTP/1.{version} {status} Odd\r\n\r\n").into_bytes();
    };
    let path = random.below(100);
    payload.extend((0..path).map(|_| random.next() as u8));
    payload.extend(b" HTTP/1.1\r\n\r\n");
    payload
}

/// A query or its answer, over TCP several of them; or a message of HTTP, or none at all.
fn payload(random: &mut Random, is_tcp: bool) -> Vec<u8> {
    if is_tcp && random.below(2) == 0 {
        return if random.below(8) == 0 {
            Vec::new()
        } else {
            http(random)
        };
    }
    let mut payload = Vec::new();
    let messages = if is_tcp { 1 + random.below(6) } else { 1 };
    for _ in 0..messages {
        let flags: [u8; 2] = if random.below(2) == 0 {
            [0x01, 0x00]
        } else {
            [0x81, 0x80 | random.below(6) as u8]
        };
        let mut message = (random.next() as u16).to_ne_bytes().to_vec();
        message.extend(flags);
        message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        for _ in 0..=random.below(12) {
            let label = 1 + random.below(20);
            message.push(label as u8);
            message.extend((0..label).map(|_| random.next() as u8));
        }
        message.extend([0, 0, 1, 0, 1]);
        if is_tcp {
            payload.extend((message.len() as u16).to_be_bytes());
        }
        payload.extend(message);
    }
    payload
}

/// Packets of QUIC in one datagram, most of them as long as a client's first one has to be. Ids and kinds are anybody's.
fn datagram(random: &mut Random) -> Vec<u8> {
    let versions: [u32; 5] = [1, 0x6b33_43cf, 0xff00_001d, 0, 0x0bad_0bad];
    let mut datagram = Vec::new();
    for number in 0..=random.below(3) {
        let version = versions[if random.below(2) == 0 {
            0
        } else {
            random.below(versions.len())
        }];
        let kind = if number == 0 {
            0
        } else {
            random.below(4) as u8
        };
        datagram.push(0xc0 | kind << 4);
        datagram.extend(version.to_be_bytes());
        for _ in 0..2 {
            let id = [8, 8, 20, 0, 255][random.below(5)];
            datagram.push(id);
            datagram.extend((0..id.min(20)).map(|_| random.next() as u8));
        }
        if kind == 0 {
            datagram.push(0);
        }
        let body = [20, 300, 1200][random.below(3)];
        datagram.extend((0x4000_u16 | body).to_be_bytes());
        datagram.extend((0..body.min(300)).map(|_| random.next() as u8));
    }
    if random.below(4) == 0 {
        datagram.push(0x40);
    }
    datagram.resize(datagram.len().max([100, 1200, 1350][random.below(3)]), 0);
    datagram
}

/// Records of a TLS handshake, most of them hellos.
fn records(random: &mut Random) -> Vec<u8> {
    let kind = if random.below(4) == 0 { 2 } else { 1 };
    let mut hello = vec![3, 3];
    hello.extend((0..32).map(|_| random.next() as u8));
    hello.extend([0, 0, 2, 0x13, 1, 1, 0, 0, 64]);
    for _ in 0..random.below(4) {
        hello.extend([random.below(64) as u8, 0x2b, 0, 2, 3, 4]);
    }
    let name = 1 + random.below(80) as u8;
    hello.extend([0, 0, 0, name + 5, 0, name + 3, 0, 0, name]);
    hello.extend((0..name).map(|_| random.next() as u8));
    let length = hello.len() as u8;
    let mut records = match random.below(6) {
        0 => vec![20, 3, 3, 0, 1, 1],
        1 => vec![21, 3, 3, 0, 2, 2, random.next() as u8],
        2 => vec![23, 3, 3, 0, [19, 53, 69][random.below(3)]],
        _ => vec![22, 3, 3, 0, length + 4, kind, 0, 0, length],
    };
    records.extend(hello);
    records
}
