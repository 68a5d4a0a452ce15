//! Where nftables can drop packets: rules, and policies of base chains.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Table;

/// The family of an nftables table (`NFPROTO_*`): which packets it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
    /// What a bridge forwards.
    Bridge,
    /// What passes an interface.
    Netdev,
}

impl Family {
    /// Its name in nft's language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

/// A place in nftables whose verdict can be to drop a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropPlace {
    /// Family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// The hook that its chain hangs on; `None` for a chain that others jump to.
    pub hook: Option<String>,
    /// Handle of the rule; `None` for the policy of the chain.
    pub rule: Option<u64>,
    /// Whatever comes so far is dropped. A verdict map may also decide otherwise, and a `reject` answers.
    pub always: bool,
    /// Packets that came so far, where they are counted.
    pub packets: Option<u64>,
}

impl DropPlace {
    /// Whether it is the same place, at another time.
    pub fn is(&self, other: &Self) -> bool {
        let place = |place: &Self| (place.family, place.rule);
        place(self) == place(other) && self.table == other.table && self.chain == other.chain
    }
}

/// `rule handle 7 of chain drops (hook input) in table inet lab`.
impl fmt::Display for DropPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, chain, .. } = self;
        match self.rule {
            Some(handle) => write!(out, "rule handle {handle} of chain {chain}")?,
            None => write!(out, "the drop policy of chain {chain}")?,
        }
        if let Some(hook) = &self.hook {
            write!(out, " (hook {hook})")?;
        }
        write!(out, " in table {} {table}", self.family.name())
    }
}

/// The places of a namespace, as they were when somebody last asked for them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Filters {
    /// Those that are kept.
    pub places: Table<DropPlace>,
    /// These are all, and none changed while they were read.
    pub complete: bool,
}

impl Filters {
    /// Takes over what was known `before`, where this pass brought nothing.
    pub(super) fn or_keep(&mut self, before: &Self) {
        if self.places.read_ns == 0 {
            self.clone_from(before);
        }
    }
}
