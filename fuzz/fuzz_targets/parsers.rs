//! Every parser of outside bytes under libFuzzer: the first byte picks a row of the table, the rest is what it reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osi_agent::fuzz::PARSERS;

fuzz_target!(|input: &[u8]| {
    if let Some((pick, bytes)) = input.split_first() {
        (PARSERS[usize::from(*pick) % PARSERS.len()].run)(bytes);
    }
});
