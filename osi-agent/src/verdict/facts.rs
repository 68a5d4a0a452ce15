//! What a condition looks at, and what it says when it holds.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use osi_common::icmp::{self, Meaning};
use osi_common::occurrence::{Kind, Sample};

use super::{Confidence, Evidence, History, Impact, Onset, Severity, text};
use crate::event::of_sample;
use crate::layer::l3_network::icmp::is_own;
use crate::layer::{LayerMap, Meter, Signal, Window, address};
use crate::scope::{Iface, Netns, Scope};
use crate::snapshot::{Link, Mib, NetnsState};

/// What a condition looks at: the window's values, its rates, and what earlier windows left.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Both snapshots.
    pub window: &'a Window<'a>,
    /// Rates, ratios, drops.
    pub map: &'a LayerMap,
    /// Baselines and what was seen before.
    pub history: &'a History,
    /// The cause's limits as configured, by name.
    pub limits: &'a dyn Fn(&str) -> f64,
}

/// A condition that holds in this window.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Where.
    pub scope: Scope,
    /// How soon it opens a finding.
    pub onset: Onset,
    /// How sure.
    pub confidence: Confidence,
    /// How bad.
    pub severity: Severity,
    /// What was measured.
    pub evidence: Vec<Evidence>,
    /// Whom it hurts.
    pub impact: Impact,
    /// One sentence that names the fault and where it is.
    pub summary: String,
}

/// A sample of the ring in words.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Code of its key: reason, errno, phase, ICMP message.
    pub code: u32,
    /// Local address, where there is one.
    pub local: Option<IpAddr>,
    /// Remote address, where there is one.
    pub remote: Option<IpAddr>,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// IP protocol number, 0 when not known.
    pub protocol: u32,
    /// Whether a dropped packet was known to be of an established connection of its namespace.
    pub established: bool,
    /// `ETH_P_*` of a dropped packet; 0 for what is no drop.
    pub ethertype: u16,
    /// Who sent the ICMP error that answers this packet, or ended the TLS handshake.
    pub sender: Option<IpAddr>,
    /// Interface that the packet was on; 0 where it was told from a socket, its sender's or its receiver's.
    pub ifindex: u32,
    /// `name (pid N)`, where the process is certain.
    pub process: Option<String>,
    /// Why a dropped packet was; empty for what is no drop.
    pub reason: Arc<str>,
    /// Name that was asked for, where that failed and names are wanted.
    pub name: Option<String>,
    /// The kernel function that dropped it; empty for what is no drop, and where symbols can not be read.
    pub function: Arc<str>,
}

impl<'a> Facts<'a> {
    /// A limit of the cause as configured.
    pub fn limit(&self, name: &str) -> f64 {
        (self.limits)(name)
    }

    /// Growth of a counter in a namespace.
    pub fn count_in(&self, signal: &'static Signal, netns: &Netns) -> u64 {
        self.map.count(signal, &Scope::netns(netns))
    }

    /// Whether packets of others were forwarded in a namespace.
    pub fn forwards(&self, netns: &Netns) -> bool {
        [Mib::IpForwDatagrams, Mib::Ip6OutForwDatagrams]
            .iter()
            .any(|mib| self.window.mib_in(netns, *mib) > 0)
    }

    /// The row of a meter in a scope.
    pub fn meter(&self, signal: &'static Signal, scope: &Scope) -> Option<&'a Meter> {
        self.map
            .meters(signal)
            .find(|row| row.reading.scope == *scope)
    }

    /// The window's samples of drops with a reason that begins like this, in a namespace, oldest first.
    pub fn dropped(&self, reason: &str, netns: &Netns) -> Vec<Seen> {
        dropped(self.window, reason, netns)
    }

    /// Packets dropped in the window for these reasons, in all namespaces in scope.
    pub fn packets_dropped(&self, reasons: &[&str]) -> u64 {
        self.map
            .drops()
            .filter(|row| reasons.contains(&&*row.reason))
            .map(|row| row.packets)
            .sum()
    }

    /// Where a fault of a host-wide resource is: a namespace that is watched alone is concerned only where so many of its own
    /// packets, not none, were hit.
    pub fn host_or_watched(&self, hit: u64) -> Option<Scope> {
        match self.window.now.namespaces.as_slice() {
            [only] if self.window.single_netns && hit > 0 => Some(Scope::netns(&only.netns)),
            _ if self.window.single_netns => None,
            _ => Some(Scope::host()),
        }
    }

    /// The window's samples of one kind in a namespace, oldest first.
    pub fn samples(&self, kind: Kind, netns: &Netns) -> impl Iterator<Item = Seen> + use<'a> {
        samples(self.window, kind, netns)
    }

    /// The window's samples of packets that others answered by an ICMP error of this meaning, oldest first.
    pub fn answered(&self, netns: &Netns, wanted: fn(Meaning) -> bool) -> Vec<Seen> {
        answered(self.window, netns, wanted)
    }
}

/// Samples by where their packets were going.
pub(super) fn by_destination(samples: &[Seen]) -> BTreeMap<IpAddr, Vec<&Seen>> {
    let mut all: BTreeMap<IpAddr, Vec<&Seen>> = BTreeMap::new();
    for seen in samples {
        if let Some(destination) = seen.remote {
            all.entry(destination).or_default().push(seen);
        }
    }
    all
}

/// How many of a total some of its samples stand for. A few stand for themselves: they may be the only ones of their kind.
pub(super) fn of_all(total: u64, some: usize, samples: usize) -> u64 {
    const FEW: usize = 3;
    if some < FEW {
        return some as u64;
    }
    total * some as u64 / (samples as u64).max(1)
}

/// The interface that most of these packets were on, where they tell.
pub(super) fn interface_of<'a>(state: &'a NetnsState, samples: &[Seen]) -> Option<&'a Iface> {
    let on = |link: &Link| {
        samples
            .iter()
            .filter(|seen| seen.ifindex == link.iface.ifindex)
            .count()
    };
    let links = state.links.iter().filter(|link| on(link) > 0);
    links.max_by_key(|link| on(link)).map(|link| &link.iface)
}

/// [`Facts::dropped`] for who has no facts yet.
pub(super) fn dropped(window: &Window, reason: &str, netns: &Netns) -> Vec<Seen> {
    let names = &window.now.kernel.reasons;
    let meant = |sample: &Sample| {
        let (name, function) = names.get(&(sample.key.code, sample.key.location))?;
        name.starts_with(reason).then(|| Seen {
            reason: name.clone(),
            function: function.clone(),
            ..seen(sample)
        })
    };
    of_kind(window, Kind::Drop, netns)
        .filter_map(meant)
        .collect()
}

/// [`Facts::answered`] for who has no facts yet. What a router hands on answers the packets of others.
pub(super) fn answered(window: &Window, netns: &Netns, wanted: fn(Meaning) -> bool) -> Vec<Seen> {
    let mut states = window.now.namespaces.iter();
    let Some(state) = states.find(|state| state.netns == *netns) else {
        return Vec::new();
    };
    samples(window, Kind::IcmpErrorReceived, netns)
        .filter(|seen| icmp::message(seen.code).is_some_and(|says| wanted(says.meaning)))
        .filter(|seen| !is_own(window, netns, seen.ifindex))
        .filter(|seen| seen.local.is_none_or(|source| state.may_own(source)))
        .collect()
}

/// [`Facts::samples`] for who has no facts yet.
pub(super) fn samples<'a>(
    window: &Window<'a>,
    kind: Kind,
    netns: &Netns,
) -> impl Iterator<Item = Seen> + use<'a> {
    of_kind(window, kind, netns).map(seen)
}

fn of_kind<'a>(
    window: &Window<'a>,
    kind: Kind,
    netns: &Netns,
) -> impl Iterator<Item = &'a Sample> + use<'a> {
    let inode = netns.inode;
    let of_kind =
        move |sample: &&Sample| sample.key.kind == kind as u32 && sample.key.netns == inode;
    window.now.samples.iter().filter(of_kind)
}

fn seen(sample: &Sample) -> Seen {
    let known = sample.family != 0;
    let process =
        (sample.pid != 0).then(|| format!("{} (pid {})", text::name(&sample.comm), sample.pid));
    Seen {
        code: sample.key.code,
        local: known.then(|| address(sample.family, &sample.local)),
        remote: known.then(|| address(sample.family, &sample.remote)),
        local_port: sample.local_port,
        remote_port: sample.remote_port,
        protocol: u32::from(sample.protocol),
        established: sample.established != 0,
        ethertype: sample.ethertype,
        sender: (sample.sender != [0; 16]).then(|| address(sample.family, &sample.sender)),
        ifindex: sample.key.ifindex,
        process,
        name: of_sample(sample),
        reason: Arc::default(),
        function: Arc::default(),
    }
}
