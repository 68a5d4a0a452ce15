//! Why the kernel freed a packet that it did not deliver: layer, class, meaning and advice for every known reason.
//!
//! The kernel names reasons in `enum skb_drop_reason` and in the enums of its subsystems (queueing disciplines,
//! mac80211, Open vSwitch). Their numbers move between kernels, even inside a stable series; so rows are found by
//! name, and who asks has read the running kernel's BTF for the name. Kernels before 5.17 name nothing, and later
//! ones not always: then the function that freed the packet tells the layer ([`caller`]).
//!
//! A row's class is what a rule may conclude. Normal life frees packets too (duplicates, closed sockets, frames for
//! other hosts), so only what is not [`Class::Benign`] counts against a layer, and what the kernel did not explain
//! ([`Class::Unclassified`]) is shown but never blamed.

mod core;
mod openvswitch;
mod qdisc;
mod wireless;

pub mod caller;

use crate::layer::Layer;

/// The reason of kernels, or of their functions, that name none.
pub const UNNAMED: &str = "NOT_SPECIFIED";

/// What kind of fault a freed packet is evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Normal life of a healthy host: nothing was lost that anyone waited for. Opens no finding.
    Benign,
    /// Someone decided so on this host: a packet filter, an eBPF program, a security module, a rate limit.
    Policy,
    /// A finite resource of this host was full.
    Capacity,
    /// The packet came damaged or malformed.
    Corruption,
    /// The settings of this host do not fit the traffic.
    Config,
    /// The other side, or the path to it, did what it should not, or nothing.
    Peer,
    /// The kernel did not say. Shown, never blamed.
    Unclassified,
}

impl Class {
    /// Name as outputs print it, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Policy => "policy",
            Self::Capacity => "capacity",
            Self::Corruption => "corruption",
            Self::Config => "config",
            Self::Peer => "peer",
            Self::Unclassified => "unclassified",
        }
    }
}

/// One reason that some kernel gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kernel's name, without `SKB_DROP_REASON_`.
    pub name: &'static str,
    /// The layer that the packet failed on.
    pub layer: Layer,
    /// What it is evidence of.
    pub class: Class,
    /// What happened, in one sentence.
    pub meaning: &'static str,
    /// How to confirm it without changing anything, in one sentence.
    pub advice: &'static str,
}

/// Where and how a freed packet counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The layer that the packet failed on.
    pub layer: Layer,
    /// What it is evidence of.
    pub class: Class,
    /// What happened, in one sentence.
    pub meaning: &'static str,
    /// How to confirm it, in one sentence.
    pub advice: &'static str,
}

/// All rows; each table is sorted by name.
const TABLES: [&[Reason]; 4] = [
    core::REASONS,
    qdisc::REASONS,
    wireless::REASONS,
    openvswitch::REASONS,
];

/// Every row of the table.
pub fn all() -> impl Iterator<Item = &'static Reason> {
    TABLES.into_iter().flatten()
}

/// Name of a reason by the kernel's enumerator: `SKB_DROP_REASON_NO_SOCKET` is `NO_SOCKET`.
///
/// The first two values of the core enum lack the prefix (`SKB_CONSUMED`), and mac80211 has a twin of each of its own
/// with underscores in front. Names of other subsystems are whole as they are.
pub fn short_name(enumerator: &str) -> &str {
    match enumerator {
        "SKB_CONSUMED" => "CONSUMED",
        "SKB_NOT_DROPPED_YET" => "NOT_DROPPED_YET",
        other => other
            .strip_prefix("SKB_DROP_REASON_")
            .or_else(|| other.strip_prefix("___"))
            .unwrap_or(other),
    }
}

/// The row of a reason, by the kernel's name with or without prefix; `None` for reasons of later kernels.
pub fn lookup(name: &str) -> Option<&'static Reason> {
    let name = short_name(name);
    TABLES.into_iter().find_map(|table| {
        let position = table
            .binary_search_by_key(&name, |reason| reason.name)
            .ok()?;
        table.get(position)
    })
}

/// Layer of a reason that has no row: by its prefix if a subsystem's, else by the function that freed the packet.
pub fn classify_unknown(name: &str, caller: &str) -> Layer {
    const SUBSYSTEMS: [(&str, Layer); 9] = [
        ("OVS_", Layer::L2),
        ("QDISC_", Layer::L2),
        ("RX_DROP_", Layer::L2),
        ("NEIGH_", Layer::L2),
        ("TC_", Layer::L2),
        ("IP_", Layer::L3),
        ("IPV6_", Layer::L3),
        ("TCP_", Layer::L4),
        ("UDP_", Layer::L4),
    ];
    SUBSYSTEMS
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or_else(|| caller::layer(caller), |(_, layer)| layer)
}

/// Judges one freed packet by the reason's name and the function that freed it.
///
/// A named reason decides alone. Where the kernel gave none (`NOT_SPECIFIED`, or an empty name on kernels without
/// reasons) well-known callers decide; everything else is unclassified, on the most plausible layer.
pub fn blame(reason: &str, caller: &str) -> Blame {
    let reason = short_name(reason);
    let unspecified = matches!(reason, "" | "NOT_SPECIFIED");
    if let Some(row) = lookup(reason).filter(|_| !unspecified) {
        return Blame {
            layer: row.layer,
            class: row.class,
            meaning: row.meaning,
            advice: row.advice,
        };
    }
    if let Some(row) = caller::lookup(caller).filter(|_| unspecified) {
        return Blame {
            layer: row.layer,
            class: row.class,
            meaning: row.meaning,
            advice: ADVICE_UNCLASSIFIED,
        };
    }
    Blame {
        layer: classify_unknown(reason, caller),
        class: Class::Unclassified,
        meaning: "The kernel freed the packet without a reason that is known here.",
        advice: ADVICE_UNCLASSIFIED,
    }
}

const ADVICE_UNCLASSIFIED: &str =
    "See which function frees it: `perf trace -e skb:kfree_skb --max-events 20`.";

#[cfg(test)]
mod tests;
