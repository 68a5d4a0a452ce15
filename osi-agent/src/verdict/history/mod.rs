//! What outlives a window: baselines, memories of what was healthy, and the findings themselves.

use crate::layer::l6_presentation::{plaintext::plain, tls::shaken};
use crate::layer::{LayerMap, Signal, Window};
use crate::scope::Scope;

mod answers;

mod expired;

mod leaks;

mod filtered;

mod stalls;

mod stopped;

mod links;

mod listened;

mod loss;

mod moves;

mod pace;

mod peers;

mod recent;

mod repeats;

mod routes;

mod searches;

mod trend;

mod unknown_names;

pub(super) use answers::{Answer, Answers};
pub(super) use expired::{Expired, Messages};
pub(super) use filtered::{Filtered, Inbound, TCP, is_passing};
pub(super) use leaks::Leaks;
pub(super) use links::{FLAP_SPAN_NS, LinkMemory, Links};
pub(super) use listened::{Listened, Ports, RECENT};
pub(super) use loss::{Loss, Losses};
pub(super) use moves::{MOVE_SPAN_NS, Moves};
pub(super) use pace::{Paces, times_of};
pub(super) use peers::Peers;
use recent::Recent;
pub(super) use repeats::{Plaintexts, Refusals};
pub(super) use routes::{Routes, covers, gateway, is_global};
pub(super) use searches::Searches;
pub(super) use stalls::{Stall, Stalls};
pub(super) use stopped::Stopped;
pub(super) use trend::Trends;
pub(super) use unknown_names::UnknownNames;

use super::Cause;
use super::l7_application::dns_failing::DNS_FAILING;
use super::rule::Ledger;
use super::slow::SLOW;

/// What outlives a window. Part of a recording, so that a replay from any point gives the same verdict.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Windows judged so far, this one included.
    pub(super) windows: u64,
    /// How meters moved.
    pub(super) trends: Trends,
    /// What links were when they worked.
    pub(super) links: Links,
    /// Routes that went away.
    pub(super) routes: Routes,
    /// Neighbours whose hardware address changed.
    pub(super) moves: Moves,
    /// Connect outcomes by peer.
    pub(super) peers: Peers,
    /// What others said of destinations.
    pub(super) answers: Answers,
    /// Who said that hops ran out.
    pub(super) expired: Expired,
    /// Connections that stall at their first full-size segment.
    pub(super) stalls: Stalls,
    /// Packets to listeners that a filter dropped.
    pub(super) filtered: Filtered,
    /// Whose packets filters stopped.
    pub(super) stopped: Stopped,
    /// Ports that were listened on.
    pub(super) ports: Ports,
    /// Connections that applications do not close.
    pub(super) leaks: Leaks,
    /// TLS servers that clients refuse.
    pub(super) refusals: Refusals,
    /// Ports of TLS to which plain text is spoken.
    pub(super) plaintexts: Plaintexts,
    /// How long things usually take.
    pub(super) paces: Paces,
    /// How many names usually do not exist.
    pub(super) unknown_names: UnknownNames,
    /// How long connects usually search for a port.
    pub(super) searches: Searches,
    /// How much each namespace usually loses.
    pub(super) losses: Losses,
    /// Findings, and conditions on their way to become one.
    pub(super) ledger: Ledger,
}

impl History {
    /// Takes in a window before it is judged.
    pub(super) fn observe(&mut self, window: &Window, map: &LayerMap) {
        self.windows += 1;
        self.trends.observe(map);
        self.routes.observe(self.windows, window);
        self.links.observe(self.windows, window);
        self.moves.observe(window);
        self.peers.observe(self.windows, window);
        self.answers.observe(self.windows, window, map, &self.peers);
        self.expired.observe(self.windows, window);
        self.stalls.observe(self.windows, window);
        self.filtered
            .observe(self.windows, window, map, &self.routes);
        self.stopped.observe(self.windows, window);
        self.ports.observe(self.windows, window);
        self.leaks.observe(self.windows, window);
        let refused = shaken(window).into_iter().map(|row| {
            let outcomes = &row.outcomes;
            (row.scope, outcomes.client_alert, outcomes.completed())
        });
        self.refusals.observe(self.windows, refused);
        let plain = plain(window).into_iter();
        let plain = plain.map(|row| (row.scope, row.refused + row.unanswered, row.secured));
        self.plaintexts.observe(self.windows, plain);
    }

    /// Takes in what may only be learned after the judgement: a window is no baseline for itself.
    pub(super) fn learn(&mut self, window: &Window, map: &LayerMap) {
        self.losses.learn(window);
        self.searches.learn(map);
        let Self {
            paces,
            unknown_names,
            ledger,
            windows,
            ..
        } = self;
        let slow = |signal: &Signal, scope: &Scope| {
            let reads = |cause: &&&Cause| cause.reads.iter().any(|read| read.id == signal.id);
            let mut causes = SLOW.iter().filter(reads);
            causes.any(|cause| ledger.is_pending(cause.id, scope))
        };
        paces.learn(*windows, window, slow);
        let failing = |resolver: &Scope| ledger.is_pending(DNS_FAILING.id, resolver);
        unknown_names.learn(*windows, window, failing);
    }
}
