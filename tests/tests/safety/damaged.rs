//! Damaged packets that the kernel drops, and ICMP errors about damaged packets: each is counted once and for what it is, whatever
//! its headers say.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::frame::{self, IPV4, IPV6};
use osi_tests::program::Program;
use osi_tests::stream::{self, Line, event_count, rows, sum};
use osi_tests::topology::Pair;
use osi_tests::{scale, skip};

use super::frames::{ICMP, ICMPV6, Random, TCP, UDP};

const SEED: u64 = 0x6461_6d61_6765_6400;
/// Of each kind of damage.
const EACH: u64 = 60;
/// ICMP errors, through the programs of both directions.
const ERRORS: u64 = 50_000;
const LAYERS: [&str; 7] = ["L1", "L2", "L3", "L4", "L5", "L6", "L7"];
/// Where an IPv4 packet of ours begins to carry something, and an IPv6 packet.
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// What is done to a packet, so that the kernel can but drop it.
type Damage = (&'static str, fn(&mut Vec<u8>, &mut Random));

#[rustfmt::skip]
const OF_V4: &[Damage] = &[
    ("another version", |packet, _| packet[0] = 0x65),
    ("a header that is too short", |packet, random| packet[0] = 0x40 | random.below(5) as u8),
    ("options that are none", |packet, random| packet[0] = 0x46 + random.below(10) as u8),
    ("less than its header", |packet, random| put16(packet, 2, random.below(V4_HEADER) as u16)),
    ("more than there is", |packet, _| put16(packet, 2, u16::MAX)),
    ("cut within the header", |packet, random| packet.truncate(1 + random.below(V4_HEADER - 1))),
    ("a wrong checksum", |packet, _| packet[10] ^= 1),
    ("a segment whose header is too short", |packet, random| {
        packet[9] = TCP;
        packet[V4_HEADER + 12] = (random.below(5) as u8) << 4;
        frame::seal(packet);
    }),
    ("a datagram longer than its packet", |packet, _| put16(packet, V4_HEADER + 4, u16::MAX)),
    ("an error about a packet that is cut off", |packet, random| {
        error_of(packet, [3, 1 + random.below(15) as u8]);
        packet.truncate(V4_HEADER + 8 + random.below(19));
        finish(packet);
    }),
    ("an error about a packet whose header is too short", |packet, random| {
        error_of(packet, [3, 1 + random.below(15) as u8]);
        packet[V4_HEADER + 8] = 0x40 | random.below(5) as u8;
        finish(packet);
    }),
];

#[rustfmt::skip]
const OF_V6: &[Damage] = &[
    ("another version", |packet, _| packet[0] = 0x45),
    ("more than there is", |packet, _| put16(packet, 4, u16::MAX)),
    ("cut within the header", |packet, random| packet.truncate(1 + random.below(V6_HEADER - 1))),
    ("from everybody", |packet, _| packet[8] = 0xff),
    ("a header of options that is cut off", |packet, _| {
        packet[6] = 0;
        packet[V6_HEADER + 1] = u8::MAX;
    }),
    ("a datagram longer than its packet", |packet, _| put16(packet, V6_HEADER + 4, u16::MAX)),
    ("an error about a packet that is cut off", |packet, random| {
        packet[6] = ICMPV6;
        // It was this host's, and nobody knows where it went.
        let source = V6_HEADER + 8 + 8;
        packet[source..source + 16].copy_from_slice(&Pair::SERVER_V6.octets());
        packet.truncate(V6_HEADER + 8 + random.below(V6_HEADER));
        let length = (packet.len() - V6_HEADER) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet[V6_HEADER..V6_HEADER + 2].copy_from_slice(&[1, random.below(7) as u8]);
        let pseudo = [&packet[8..V6_HEADER], &[0, 0, 0, length as u8, 0, 0, 0, ICMPV6]].concat();
        let sum = frame::checksum(&[&pseudo, &packet[V6_HEADER..]].concat());
        packet[V6_HEADER + 2..V6_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    }),
];

#[test]
fn a_damaged_packet_is_one_drop() -> Result<()> {
    let test = "safety::damaged::a_damaged_packet_is_one_drop";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let [v4, v6] = heads(&pair)?;
    let agent = Agent::watch(&pair.server)?;
    let kinds = (OF_V4.len() + OF_V6.len()) as u64;
    let packets = frame::send(&pair.client, "eth0", kinds * EACH, move |number| {
        let mut random = Random(SEED + number);
        // The first numbers are all alike.
        for _ in 0..8 {
            random.next();
        }
        let kind = (number % kinds) as usize;
        let (head, mut packet, damage) = match OF_V4.get(kind) {
            Some((_, damage)) => (&v4, frame::ipv4(Pair::CLIENT, Pair::SERVER, false), damage),
            None => (&v6, ipv6(), &OF_V6[kind - OF_V4.len()].1),
        };
        damage(&mut packet, &mut random);
        [&head[..], &packet].concat()
    })?;
    packets.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let dropped = LAYERS.map(|layer| sum(&lines, |map| all_dropped(map, layer)));
    let what = format!("damaged packets of {kinds} kinds");
    stream::ensure_counted(&lines, &what, kinds * EACH, dropped.iter().sum())?;
    blames_only(&lines, &["ip_header_errors"])
}

/// What lies behind the end of a packet is of an earlier one: its addresses and ports are nobody's.
#[test]
fn what_is_cut_off_tells_nothing() -> Result<()> {
    let test = "safety::damaged::what_is_cut_off_tells_nothing";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let [v4, v6] = heads(&pair)?;
    let agent = Agent::watch(&pair.server)?;
    let packets = frame::send(&pair.client, "eth0", EACH, move |number| {
        let (head, mut packet, header) = if number % 2 == 0 {
            (
                &v4,
                frame::ipv4(Pair::CLIENT, Pair::SERVER, false),
                V4_HEADER,
            )
        } else {
            (&v6, ipv6(), V6_HEADER)
        };
        packet.truncate(1 + number as usize % (header - 1));
        [&head[..], &packet].concat()
    })?;
    packets.join()?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let told = event_count(&lines, "drop", |_| true);
    stream::ensure_counted(&lines, "packets that are cut off", EACH, told)?;
    let named = event_count(&lines, "drop", |event| !event["flow"].is_null());
    stream::ensure(&lines, named == 0, || {
        format!("{named} of {told} events name somebody")
    })
}

/// What is counted as an error is told by its own header, and what it is about by the packet that it quotes.
#[test]
fn an_icmp_error_is_one_whatever_it_quotes() -> Result<()> {
    let test = "safety::damaged::an_icmp_error_is_one_whatever_it_quotes";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // A test run arrives at lo.
    let agent = Agent::watch_with(&pair.client, &["--iface", "lo"])?;
    let programs = ["osi_tc_ingress", "osi_tc_egress"]
        .iter()
        .map(|name| Program::held_by(agent.pid(), name))
        .collect::<Result<Vec<_>>>()?;
    let errors = scale::rate(ERRORS);
    pair.client.run(|| {
        let mut random = Random(SEED);
        let mut after = vec![0; 2048];
        for number in 0..errors {
            let frame = error(&mut random);
            for program in &programs {
                let ran = program.run(&frame, &mut after)?;
                ensure!(
                    ran.verdict == -1 && after.get(..ran.length) == Some(frame.as_slice()),
                    "error {number}: {ran:?} of {frame:02x?}"
                );
            }
        }
        Ok(())
    })?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    for kind in ["icmp_error_received", "icmp_error_sent"] {
        let told = event_count(&lines, kind, |_| true);
        stream::ensure_counted(&lines, kind, errors, told)?;
    }
    blames_only(&lines, &[])
}

/// Packets that a layer dropped, whatever for, but for what is dropped on a healthy host.
fn all_dropped(map: &Line, layer: &str) -> u64 {
    rows(map.layer(layer), "drops_by_reason")
        .filter(|row| row["class"] != "benign")
        .filter_map(|row| row["packets"].as_u64())
        .sum()
}

/// Nobody else is said to be at fault.
fn blames_only(lines: &[Line], causes: &[&str]) -> Result<()> {
    let maps = lines.iter().filter(|line| line.is_fault_map());
    let named: Vec<_> = maps.filter_map(Line::cause).collect();
    let is_wrong = named.iter().any(|cause| !causes.contains(cause));
    stream::ensure(lines, !is_wrong, || {
        format!("these causes were named: {named:?}")
    })
}

/// An ICMP error in a frame for the loopback interface, which quotes a packet that is damaged or cut off.
fn error(random: &mut Random) -> Vec<u8> {
    let is_v4 = random.below(2) == 0;
    let mut quoted: Vec<u8> = (0..random.below(25))
        .flat_map(|_| random.next().to_ne_bytes())
        .collect();
    if let [first, ..] = &mut quoted[..] {
        // Mostly of the right version, with any length of a header.
        let version = if is_v4 { 0x40 } else { 0x60 };
        if random.below(4) > 0 {
            *first = version | *first & 0x0f;
        }
    }
    let protocols = [TCP, UDP, ICMP, ICMPV6, 0, 255];
    let at = if is_v4 { 9 } else { 6 };
    if let Some(protocol) = quoted.get_mut(at) {
        *protocol = protocols[random.below(protocols.len())];
    }
    let (kinds, code) = (
        if is_v4 { [3, 11, 12] } else { [1, 3, 4] },
        random.next() as u8,
    );
    let message = [
        &[kinds[random.below(3)], code, 0, 0, 0, 0, 0, 0][..],
        &quoted,
    ]
    .concat();
    let mut frame = vec![0; 12];
    if is_v4 {
        let [high, low] = ((V4_HEADER + message.len()) as u16).to_be_bytes();
        frame.extend([
            0x08, 0x00, 0x45, 0, high, low, 0, 1, 0x40, 0, 64, ICMP, 0, 0,
        ]);
        frame.extend(random.next().to_ne_bytes());
    } else {
        let [high, low] = (message.len() as u16).to_be_bytes();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, ICMPV6, 64]);
        (0..4).for_each(|_| frame.extend(random.next().to_ne_bytes()));
    }
    frame.extend(message);
    frame
}

/// What frames from the client to the server begin with: those of IPv4, and those of IPv6.
fn heads(pair: &Pair) -> Result<[Vec<u8>; 2]> {
    let (from, to) = ((&pair.client, "eth0"), (&pair.server, "eth0"));
    let head = |ethertype| frame::ethernet(from, to, ethertype, &[]);
    Ok([head(IPV4)?, head(IPV6)?])
}

/// A UDP datagram's IPv6 packet from the client to the server.
fn ipv6() -> Vec<u8> {
    const PAYLOAD: usize = 64;
    let mut packet = vec![0x60, 0, 0, 0, 0, PAYLOAD as u8, UDP, 64];
    for address in [Pair::CLIENT_V6, Pair::SERVER_V6] {
        packet.extend(address.octets());
    }
    packet.resize(V6_HEADER + PAYLOAD, 0);
    packet
}

fn put16(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
    if at < V4_HEADER && packet[0] >> 4 == 4 {
        frame::seal(packet);
    }
}

/// Makes an ICMP error of a datagram's packet; what it carries becomes the packet that it quotes.
fn error_of(packet: &mut [u8], kind: [u8; 2]) {
    packet[9] = ICMP;
    packet[V4_HEADER..V4_HEADER + 2].copy_from_slice(&kind);
    packet[V4_HEADER + 8] = 0x45;
}

/// Gives it the right length and checksums.
fn finish(packet: &mut [u8]) {
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    frame::seal(packet);
    let sum = frame::checksum(&packet[V4_HEADER..]);
    packet[V4_HEADER + 2..V4_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
}
