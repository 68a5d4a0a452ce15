//! Where dropped packets came from, as examples of them tell.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::facts::{Seen, interface_of};
use super::text::{percent, place};
use super::{Confidence, Evidence, Facts, Impact, Onset, Severity, Sighting};
use crate::scope::{Iface, Netns, Scope};
use crate::snapshot::NetnsState;

/// Senders that are named.
const NAMED: usize = 3;

/// The interface that most of the examples came in by, and who sent them.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    netns: &'a Netns,
    /// None where the examples do not tell, or where there are none.
    pub(super) iface: Option<&'a Iface>,
    /// `ETH_P_*` of the first example.
    pub(super) ethertype: Option<u16>,
    /// Source addresses.
    pub(super) senders: BTreeSet<IpAddr>,
}

impl<'a> Origin<'a> {
    /// Of the meant ones among the packets dropped in a namespace.
    pub(super) fn of(facts: &Facts, state: &'a NetnsState, meant: impl Fn(&Seen) -> bool) -> Self {
        let samples: Vec<Seen> = facts
            .dropped("", &state.netns)
            .into_iter()
            .filter(meant)
            .collect();
        Self {
            netns: &state.netns,
            iface: interface_of(state, &samples),
            ethertype: samples.first().map(|seen| seen.ethertype),
            senders: samples.iter().filter_map(|seen| seen.local).collect(),
        }
    }

    /// What came in and was dropped, a share of `lost` of all: `12 packets`, `with a wrong checksum and were dropped`.
    pub(super) fn sighting(
        &self,
        came: &str,
        how: &str,
        lost: f64,
        evidence: Vec<Evidence>,
    ) -> Sighting {
        let scope = self.scope();
        Sighting {
            onset: Onset::Statistical,
            confidence: Confidence::Certain,
            severity: Severity::Warn,
            evidence,
            impact: Impact {
                connections: 0,
                share_ratio: lost,
                peers: self.senders.len() as u64,
            },
            summary: format!(
                "{came} came in{}{} {how}: {} of those received.",
                self.on(),
                place(&scope),
                percent(lost)
            ),
            scope,
        }
    }

    /// The interface, or the namespace where it is not known.
    pub(super) fn scope(&self) -> Scope {
        self.iface.map_or_else(
            || Scope::netns(self.netns),
            |iface| Scope::iface(self.netns, iface.ifindex, &iface.name),
        )
    }

    /// ` on eth0`, or nothing.
    pub(super) fn on(&self) -> String {
        self.iface
            .map_or_else(String::new, |iface| format!(" on {}", iface.name))
    }

    /// `, for example from 192.0.2.1`, or nothing.
    pub(super) fn from(&self) -> String {
        let first = self.senders.first();
        first.map_or_else(String::new, |sender| format!(", for example from {sender}"))
    }

    /// How many senders, and some of them by name.
    pub(super) fn evidence(&self, reason: &str) -> Option<Evidence> {
        let named: Vec<_> = self
            .senders
            .iter()
            .take(NAMED)
            .map(IpAddr::to_string)
            .collect();
        let why = format!("senders among the examples, such as {}", named.join(", "));
        let count = self.senders.len() as f64;
        (!named.is_empty()).then(|| Evidence::new(reason, count, "addresses", why))
    }
}
