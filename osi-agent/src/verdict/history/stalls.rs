//! Connections that stall at their first full-size segment: a time-out doubles each time, so that signs come seconds apart.

use core::net::IpAddr;
use std::collections::BTreeSet;

use osi_common::occurrence::Kind;

use super::super::facts::{by_destination, of_all, samples};
use super::Recent;
use crate::layer::Window;
use crate::layer::l4_transport::retransmit::is_payload;
use crate::scope::Netns;

/// Stalls of the last windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls {
    recent: Recent<Stall>,
}

/// What stalls towards one destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stall {
    /// Full-size segments that were sent again in vain.
    pub(crate) segments: u64,
    /// All payload that the namespace sent again in the same windows.
    pub(crate) again: u64,
    /// Local and remote port of the connections that are known.
    pub(crate) connections: BTreeSet<(u16, u16)>,
    /// Whether the destination has acknowledged smaller segments.
    pub(crate) passes_smaller: bool,
    /// Window of the last.
    pub(crate) last: u64,
}

impl Stalls {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        self.recent.forget(windows);
        for state in &window.now.namespaces {
            let netns = &state.netns;
            let total = window.occurred_in(netns, Kind::FullSizeUnacked);
            let samples: Vec<_> = samples(window, Kind::FullSizeUnacked, netns).collect();
            for (destination, seen) in by_destination(&samples) {
                let stall = Stall {
                    segments: of_all(total, seen.len(), samples.len()),
                    again: window.occurred_as(netns, Kind::Retransmit, is_payload),
                    connections: seen
                        .iter()
                        .map(|seen| (seen.local_port, seen.remote_port))
                        .collect(),
                    passes_smaller: seen.iter().any(|seen| seen.code != 0),
                    last: windows,
                };
                self.recent.remember(windows, netns, destination, stall);
            }
        }
    }

    /// Destinations of the last windows, each with all its windows together.
    pub(crate) fn within(&self, netns: &Netns) -> impl Iterator<Item = (IpAddr, Stall)> {
        self.recent.of(netns).map(|(destination, rows)| {
            let mut sum = Stall::default();
            for (_, stall) in rows {
                let Stall {
                    segments,
                    again,
                    connections,
                    passes_smaller,
                    last,
                } = stall;
                sum.segments += segments;
                sum.again += again;
                sum.connections.extend(connections);
                sum.passes_smaller |= passes_smaller;
                sum.last = *last;
            }
            (destination, sum)
        })
    }
}
