//! What others answered about destinations that are not reached, over the last windows: a router says it now and then only.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use super::super::facts::{Seen, answered, by_destination};
use crate::layer::Window;
use crate::layer::l3_network::icmp::is_not_reached;
use crate::scope::Netns;

/// Windows that are added up. Where a route refuses, Linux sends two messages and then one in two seconds (`ip_error` and
/// `icmpv4_xrlim_allow` take from one purse).
const WINDOWS: u64 = 10;

/// Destinations that are followed at most; while it is full, new ones are not.
const BOUND: usize = 1024;

/// Answers by destination and window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    rows: BTreeMap<Netns, BTreeMap<IpAddr, VecDeque<Row>>>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    window: u64,
    examples: u64,
    usual: Answer,
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
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        self.rows.retain(|_, destinations| {
            destinations.retain(|_, answers| {
                answers.retain(|row| row.window + WINDOWS > windows);
                !answers.is_empty()
            });
            !destinations.is_empty()
        });
        let mut followed: usize = self.rows.values().map(BTreeMap::len).sum();
        for state in &window.now.namespaces {
            let samples = answered(window, &state.netns, is_not_reached);
            for (destination, seen) in by_destination(&samples) {
                let Some(usual) = usual(&seen) else {
                    continue;
                };
                let destinations = self.rows.entry(state.netns.clone()).or_default();
                if !destinations.contains_key(&destination) {
                    if followed == BOUND {
                        continue;
                    }
                    followed += 1;
                }
                destinations.entry(destination).or_default().push_back(Row {
                    window: windows,
                    examples: seen.len() as u64,
                    usual,
                });
            }
        }
    }

    /// Destinations that others answered about in the last windows, this one included: how many examples there are, and the
    /// latest of the usual answers.
    pub(crate) fn within(&self, netns: &Netns) -> impl Iterator<Item = (IpAddr, u64, Answer)> {
        let destinations = self.rows.get(netns).into_iter().flatten();
        destinations.filter_map(|(destination, answers)| {
            let examples = answers.iter().map(|row| row.examples).sum();
            Some((*destination, examples, answers.back()?.usual))
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
