//! How much each namespace retransmits, and how much is usual there.

use std::collections::BTreeMap;

use crate::layer::Window;
use crate::scope::Netns;
use crate::snapshot::Mib;

/// Fewer segments in a window teach nothing.
const MIN_SEGMENTS: u64 = 200;

/// No window with more than this is healthy: loss that creeps in must not become usual.
const HEALTHY: f64 = 0.01;

/// Weight of a healthy window in the mean.
const WEIGHT: f64 = 1.0 / 16.0;

/// Weight of another one: what a host loses for good, as one whose clients are phones does, becomes usual in the course of an hour, and
/// not in minutes.
const LOSSY_WEIGHT: f64 = 1.0 / 4096.0;

/// No loss above this is ever usual.
const MAX_USUAL: f64 = 0.05;

/// Payload sent again in the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// Segments sent again, handshakes excluded.
    pub(crate) again: u64,
    /// Of these, segments that their receivers say had arrived before (DSACK): late or overtaken, not lost.
    pub(crate) needless: u64,
    /// Segments sent.
    pub(crate) sent: u64,
}

impl Loss {
    /// A namespace in a window. SYNs and SYN-ACKs are taken out: a peer that does not answer is no lossy path.
    pub(crate) fn of(window: &Window, netns: &Netns) -> Self {
        let again = window.mib_in(netns, Mib::TcpRetransSegs);
        let handshakes = window.mib_in(netns, Mib::TcpSynRetrans);
        let again = again.saturating_sub(handshakes);
        Self {
            again,
            // A report may come in the window after the retransmission.
            needless: window.mib_in(netns, Mib::TcpDsackRecvSegs).min(again),
            sent: window.mib_in(netns, Mib::TcpOutSegs),
        }
    }

    /// Segments sent again that nobody says were needless.
    pub(crate) fn lost(self) -> u64 {
        self.again - self.needless
    }

    /// Lost per segment sent.
    pub(crate) fn ratio(self) -> f64 {
        self.lost() as f64 / self.sent.max(1) as f64
    }
}

/// Exponentially weighted mean loss by namespace; lossy windows weigh next to nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    usual: BTreeMap<Netns, f64>,
}

impl Losses {
    /// The usual loss, 0 where none has been learned.
    pub(crate) fn usual(&self, netns: &Netns) -> f64 {
        self.usual.get(netns).copied().unwrap_or(0.0)
    }

    pub(super) fn learn(&mut self, window: &Window) {
        let mut known = std::mem::take(&mut self.usual);
        for state in &window.now.namespaces {
            let loss = Loss::of(window, &state.netns);
            let before = known.remove(&state.netns);
            let healthy = loss.ratio() <= HEALTHY;
            let weight = if healthy { WEIGHT } else { LOSSY_WEIGHT };
            let after = match before {
                _ if loss.sent < MIN_SEGMENTS => before,
                None if healthy => Some(loss.ratio()),
                Some(_) | None => {
                    let mean = before.unwrap_or(0.0);
                    Some(mean + weight * (loss.ratio().min(MAX_USUAL) - mean))
                }
            };
            self.usual
                .extend(after.map(|mean| (state.netns.clone(), mean)));
        }
    }
}
