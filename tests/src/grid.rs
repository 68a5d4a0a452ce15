//! The agent's histograms, by what is written of them: how many buckets an octave has.

/// Of the host's histograms.
pub const FINE: f64 = 8.0;
/// Of those by peer and by port.
pub const COARSE: f64 = 2.0;

/// The number of the bucket that holds a time, on a grid of so many an octave.
pub fn bucket(ns: u64, an_octave: f64) -> i64 {
    (an_octave * (ns as f64 / 1e9).log2()).ceil() as i64
}
