//! The agent's histograms, by what is written of them: how many buckets an octave has.

use anyhow::Result;

use crate::agent::Agent;

/// Of the host's histograms.
pub const FINE: f64 = 8.0;
/// Of those by peer and by port.
pub const COARSE: f64 = 2.0;

/// The number of the bucket that holds a time, on a grid of so many an octave.
pub fn bucket(ns: u64, an_octave: f64) -> i64 {
    (an_octave * (ns as f64 / 1e9).log2()).ceil() as i64
}

/// A quantile of what a client waited, and the same of what the agent measured.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// What the wire or the server takes at least, in nanoseconds.
    pub least: u64,
    /// What the client says, whose clock starts before what it sends is on its way, and stops once it has read what came back.
    pub client: u64,
    /// What the agent says.
    pub agent: u64,
}

/// Fails with what the agent said, unless its figure is in the bucket of the client's or the next one to it, for the client was woken up
/// at the end of its wait; and never below the bucket of what it takes at least. On a busy machine that itself is late: then both are.
pub fn agree(agent: &Agent, what: &str, waits: Waits, an_octave: f64) -> Result<()> {
    let Waits {
        least,
        client,
        agent: told,
    } = waits;
    let [at_least, at_client, at] = [least, client, told].map(|ns| bucket(ns, an_octave));
    agent.compare(at >= at_least && at.abs_diff(at_client) <= 1, || {
        format!(
            "{what}: it takes {least} or more, the client waited {client}, the agent says {told}, bucket {at} beside {at_least} and {at_client}"
        )
    })
}
