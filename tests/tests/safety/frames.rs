//! No frame, however odd, has its fate changed by the packet programs: those of a running agent, run by the kernel itself.

use std::time::Instant;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::program::Program;
use osi_tests::topology::Pair;
use osi_tests::{scale, skip};

/// Frames, each through every program.
const FRAMES: u64 = 1_000_000;
/// The seed of what is random here: a failure comes again.
const SEED: u64 = 0x6f73_692d_6167_656e;
/// The shortest frame that the kernel takes, and the longest that is sent.
const SHORTEST: usize = 14;
const LONGEST: usize = 2048;

/// Programs and what they must return: `XDP_PASS`; `TCX_NEXT`, which is `TC_ACT_UNSPEC`.
const PROGRAMS: [(&str, i32); 3] = [
    ("osi_xdp", 2),
    ("osi_tc_ingress", -1),
    ("osi_tc_egress", -1),
];
/// Protocols of IP.
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;

/// For a test run at tc, kernels refuse frames that end within the headers of their protocol (Ethernet and IPv6).
const HEADERS: usize = 14 + 40;

#[test]
fn no_frame_has_its_fate_changed() -> Result<()> {
    let test = "safety::frames::no_frame_has_its_fate_changed";
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    // A test run arrives at lo, so that is where a slot must be for the programs to do all of their work.
    let agent = Agent::watch_with(&pair.client, &["--xdp", "generic", "--iface", "lo"])?;
    let programs = PROGRAMS
        .iter()
        .map(|row| Ok((Program::held_by(agent.pid(), row.0)?, row)))
        .collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let frames = scale::rate(FRAMES);
    let runs = pair.client.run(|| {
        let mut runs = 0_u64;
        let mut random = Random(SEED);
        let (mut frame, mut after) = (Vec::with_capacity(LONGEST), vec![0; LONGEST + 64]);
        for number in 0..frames {
            make(&mut random, &mut frame);
            for (program, (name, verdict)) in &programs {
                let ran = match program.run(&frame, &mut after) {
                    Err(_) if frame.len() < HEADERS && *name != "osi_xdp" => continue,
                    ran => ran?,
                };
                runs += 1;
                ensure!(
                    ran.verdict == *verdict && after.get(..ran.length) == Some(frame.as_slice()),
                    "frame {number} of {} bytes: {name} returns {} and leaves {} bytes: {frame:02x?}",
                    frame.len(),
                    ran.verdict,
                    ran.length
                );
            }
        }
        Ok(runs)
    })?;
    println!(
        "{frames} frames, {runs} runs of {} programs in {:?}",
        programs.len(),
        started.elapsed()
    );
    agent.stop().map(drop)
}

/// Half of the frames are noise; the others begin as what a network carries and are damaged here and there.
fn make(random: &mut Random, frame: &mut Vec<u8>) {
    let length = SHORTEST + random.below(LONGEST - SHORTEST + 1);
    frame.clear();
    while frame.len() < length {
        frame.extend(random.next().to_ne_bytes());
    }
    frame.truncate(length);
    if random.below(2) == 0 {
        return;
    }
    let mut at = 12;
    if random.below(4) == 0 {
        at = put(frame, at, &[0x81, 0x00, 0x00, 0x07]);
    }
    let there = length.saturating_sub(at + 2) as u16;
    let is_v4 = random.below(2) == 0;
    let [high, low] = there.to_be_bytes();
    let protocol = [TCP, UDP, if is_v4 { ICMP } else { ICMPV6 }][random.below(3)];
    // Addresses and ports stay random.
    at = if is_v4 {
        let head = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0];
        8 + put(frame, at, &[&[0x08, 0x00][..], &head].concat())
    } else {
        let [high, low] = there.saturating_sub(40).to_be_bytes();
        let head = [0x60, 0, 0, 0, high, low, protocol, 64];
        32 + put(frame, at, &[&[0x86, 0xdd][..], &head].concat())
    };
    match protocol {
        TCP => {
            // A data offset and flags.
            put(frame, at + 12, &[0x50, 0x02]);
        }
        UDP => {}
        _ => {
            // An error, and the packet that it answers.
            let kinds = if is_v4 { [3, 11, 12] } else { [1, 2, 3] };
            put(frame, at, &[kinds[random.below(3)], 0]);
            put(frame, at + 8, &[if is_v4 { 0x45 } else { 0x60 }]);
        }
    }
    // Of the loopback interface, so that it is for this host.
    if random.below(2) == 0 {
        put(frame, 0, &[0; 6]);
    }
    for _ in 0..random.below(4) {
        let position = random.below(length.min(128));
        frame[position] = random.next() as u8;
    }
}

/// Writes as much as fits, and says where it ends.
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    for (to, from) in frame.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
    at + bytes.len()
}

/// xorshift64*: enough for noise.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 32) as usize % bound
    }
}
