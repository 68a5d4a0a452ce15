//! How often others answered that a destination is not reached, over the last windows: a router says it now and then only.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use super::super::facts::{answered, by_destination};
use crate::layer::Window;
use crate::layer::l3_network::icmp::is_not_reached;
use crate::scope::Netns;

/// Windows that are added up. Where a route refuses, Linux sends two messages and then one in two seconds (`ip_error` and
/// `icmpv4_xrlim_allow` take from one purse).
const WINDOWS: u64 = 10;

/// Destinations that are followed at most; while it is full, new ones are not.
const BOUND: usize = 1024;

/// Examples of such answers by destination and window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    rows: BTreeMap<(Netns, IpAddr), VecDeque<(u64, usize)>>,
}

impl Answers {
    pub(super) fn observe(&mut self, windows: u64, window: &Window) {
        self.rows.retain(|_, answers| {
            answers.retain(|(at, _)| at + WINDOWS > windows);
            !answers.is_empty()
        });
        for state in &window.now.namespaces {
            let samples = answered(window, &state.netns, is_not_reached);
            for (destination, seen) in by_destination(&samples) {
                let key = (state.netns.clone(), destination);
                if self.rows.len() < BOUND || self.rows.contains_key(&key) {
                    let answers = self.rows.entry(key).or_default();
                    answers.push_back((windows, seen.len()));
                }
            }
        }
    }

    /// Examples of answers about a destination in the last windows, this one included.
    pub(crate) fn about(&self, netns: &Netns, destination: IpAddr) -> u64 {
        let answers = self.rows.get(&(netns.clone(), destination));
        answers
            .into_iter()
            .flatten()
            .map(|(_, seen)| *seen as u64)
            .sum()
    }
}
