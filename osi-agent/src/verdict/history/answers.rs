//! What others answered about destinations that are not reached: a router says it now and then only.
//!
//! Where a route refuses, Linux sends two messages and then one in two seconds at most, and none at all to who tries every
//! second: `ip_error` and `icmpv4_xrlim_allow` take from one purse, and the first one empties it. What was said last holds
//! therefore while all tries go unanswered.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use super::super::facts::{Seen, answered, by_destination};
use super::{Peers, Recent};
use crate::layer::l3_network::icmp::{ICMP_NOT_REACHED, is_not_reached};
use crate::layer::{LayerMap, Window};
use crate::scope::{Netns, Scope};

/// Answers of the last windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// Examples in a window, and the usual answer among them.
    recent: Recent<(u64, Answer)>,
    /// Namespaces that were sent any in the last window.
    taken: BTreeSet<Netns>,
}

/// Who answers what about which packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    /// Sender of the message.
    pub(crate) sender: IpAddr,
    /// See [`osi_common::icmp::number`].
    pub(crate) number: u32,
    /// IP protocol number of the packet.
    pub(crate) protocol: u32,
    /// Port that the packet was going to; 0 where it has none.
    pub(crate) port: u16,
}

impl Answers {
    pub(super) fn observe(&mut self, windows: u64, window: &Window, map: &LayerMap, peers: &Peers) {
        let in_vain = |netns: &Netns, destination| peers.in_vain(netns, destination, windows);
        self.recent.forget_unless(windows, in_vain);
        for state in &window.now.namespaces {
            let taken = map.count(&ICMP_NOT_REACHED, &Scope::netns(&state.netns)) > 0;
            let taken_before = self.taken.contains(&state.netns);
            if taken {
                self.taken.insert(state.netns.clone());
            } else {
                self.taken.remove(&state.netns);
            }
            // A gateway that translates addresses hands on what seems to be for itself. An example may come a window late.
            if !taken && !taken_before {
                continue;
            }
            let samples = answered(window, &state.netns, is_not_reached);
            for (destination, seen) in by_destination(&samples) {
                if let Some(usual) = usual(&seen) {
                    let row = (seen.len() as u64, usual);
                    self.recent
                        .remember(windows, &state.netns, destination, row);
                }
            }
        }
    }

    /// Destinations that others answered about in the last windows, this one included, or whose last answer still holds: how
    /// many examples there are, and the latest of the usual answers.
    pub(crate) fn within(&self, netns: &Netns) -> impl Iterator<Item = (IpAddr, u64, Answer)> {
        self.recent.of(netns).filter_map(|(destination, rows)| {
            let examples = rows.iter().map(|(_, (examples, _))| examples).sum();
            let (_, (_, usual)) = rows.back()?;
            Some((destination, examples, *usual))
        })
    }
}

fn usual(seen: &[&Seen]) -> Option<Answer> {
    let mut answers: BTreeMap<Answer, u64> = BTreeMap::new();
    for seen in seen {
        let answer = Answer {
            sender: seen.sender?,
            number: seen.code,
            protocol: seen.protocol,
            port: seen.remote_port,
        };
        *answers.entry(answer).or_default() += 1;
    }
    let commonest = answers.into_iter().max_by_key(|(_, times)| *times);
    commonest.map(|(answer, _)| answer)
}
