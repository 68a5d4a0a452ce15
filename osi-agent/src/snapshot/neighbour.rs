//! Who is on the link: neighbours, their hardware addresses, and own addresses that somebody else has.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::scope::Iface;

/// The neighbour table of a namespace (`RTM_GETNEIGH`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Neighbours {
    /// Entries that count against `gc_thresh3`, IPv4: all but permanent and externally learned ones.
    pub entries_v4: u64,
    /// The same, IPv6.
    pub entries_v6: u64,
    /// Entries in state FAILED or INCOMPLETE.
    pub unresolved: Vec<Neighbour>,
}

/// A neighbour that did not answer (yet).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Interface it should be on.
    pub iface: Iface,
    /// FAILED (true) or INCOMPLETE (false).
    pub failed: bool,
    /// Time since the entry was last used to send (`nda_cacheinfo.ndm_used`).
    pub used_ns: u64,
    /// Time since the entry changed its state (`nda_cacheinfo.ndm_updated`).
    pub updated_ns: u64,
}

/// A neighbour that has answered: which hardware address holds which IP address (`RTM_GETNEIGH`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its address.
    pub address: IpAddr,
    /// Interface it is on.
    pub iface: Iface,
    /// Who answered (`NDA_LLADDR`).
    pub link_address: LinkAddress,
}

/// A hardware address: 6 bytes on Ethernet, 20 on InfiniBand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkAddress(pub Vec<u8>);

impl fmt::Display for LinkAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            let colon = if position == 0 { "" } else { ":" };
            write!(out, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// An address of this host (`RTM_GETADDR`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// Interface it is set on.
    pub iface: Iface,
    /// Duplicate address detection found it in use elsewhere, so that the kernel does not use it (RFC 4862, 5.4). Of IPv4
    /// addresses the kernel asks nobody whether they are taken.
    pub refused: bool,
}

/// The neighbour table of a family: one for all namespaces. Only the initial one shows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourTable {
    /// `neigh.default.gc_thresh3`.
    pub limit: Option<u64>,
    /// Entries that could not be made because the table was full (`table_fulls` of `/proc/net/stat`).
    pub overflows: Option<u64>,
}
