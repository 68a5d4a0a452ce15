//! Every parser of outside bytes, on random bytes and on damaged messages: no panic, no more memory than the bytes are
//! worth, and an end. The rows and what else they promise stand in `osi_agent::fuzz`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use osi_agent::fuzz::{PARSERS, Parser};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// Random inputs per parser and test.
const CASES: u32 = 512;
/// What a parser may hold at once: this, and so much per byte.
const MEMORY: usize = 1 << 20;
const MEMORY_PER_BYTE: usize = 64;
/// Far beyond what any of them takes, even on a busy machine.
const TIME: Duration = Duration::from_secs(10);

/// Counts what the thread holds, and its most.
struct Counting;

thread_local! {
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn note(bytes: isize) {
    // The thread may be ending, and then nobody asks.
    let _ending = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call is the system allocator's, with the arguments as they came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a parser under watch.
fn watched(parser: &Parser, bytes: &[u8]) -> Result<(), TestCaseError> {
    let (before, started) = (HELD.get().0, Instant::now());
    HELD.set((before, before));
    (parser.run)(bytes);
    let most = (HELD.get().1 - before) as usize;
    let name = parser.name;
    prop_assert!(
        most <= MEMORY + MEMORY_PER_BYTE * bytes.len(),
        "{name} held {most} bytes for an input of {}",
        bytes.len()
    );
    prop_assert!(
        started.elapsed() <= TIME,
        "{name} took {:?}",
        started.elapsed()
    );
    Ok(())
}

fn holds(parser: &Parser, inputs: &impl Strategy<Value = Vec<u8>>) {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    };
    if let Err(failure) = TestRunner::new(config).run(inputs, |bytes| watched(parser, &bytes)) {
        panic!("{}: {failure}", parser.name);
    }
}

/// One thing that may befall a message on its way.
#[derive(Clone, Debug)]
enum Damage {
    /// A byte becomes another.
    Byte(Index, u8),
    /// A 16 bit word becomes a length of this much too little or too much.
    Length(Index, i16),
    /// A 32 bit word becomes one at the edge of what it can say.
    Word(Index, u32),
    /// It ends early.
    Cut(Index),
    /// A part of it comes twice.
    Twice(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let edges = select(vec![0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX]);
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (at(), -9_i16..9).prop_map(|(at, by)| Damage::Length(at, by)),
        (at(), edges).prop_map(|(at, word)| Damage::Word(at, word)),
        at().prop_map(Damage::Cut),
        (at(), at()).prop_map(|(from, to)| Damage::Twice(from, to)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        let end = bytes.len() + 1;
        match damage {
            Damage::Byte(at, byte) => {
                if let Some(found) = bytes.get_mut(at.index(end)) {
                    *found = byte;
                }
            }
            Damage::Length(at, by) => {
                if let Some(found) = bytes[at.index(end) & !1..].first_chunk_mut() {
                    *found = u16::from_ne_bytes(*found)
                        .wrapping_add_signed(by)
                        .to_ne_bytes();
                }
            }
            Damage::Word(at, word) => {
                if let Some(found) = bytes[at.index(end) & !3..].first_chunk_mut() {
                    *found = word.to_ne_bytes();
                }
            }
            Damage::Cut(at) => bytes.truncate(at.index(end)),
            Damage::Twice(from, to) => {
                let (from, to) = (from.index(end), to.index(end));
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
        }
    }
    bytes
}

#[test]
fn what_the_outside_sends_is_read() {
    for parser in PARSERS {
        let seeds = (parser.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", parser.name);
        for seed in seeds {
            watched(parser, &seed).expect(parser.name);
        }
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let inputs = proptest::collection::vec(any::<u8>(), 0..512);
    for parser in PARSERS {
        holds(parser, &inputs);
    }
}

#[test]
fn damaged_messages_do_no_harm() {
    for parser in PARSERS {
        let damages = proptest::collection::vec(damage(), 0..6);
        let inputs =
            (select((parser.seeds)()), damages).prop_map(|(seed, damages)| damaged(seed, damages));
        holds(parser, &inputs);
    }
}
