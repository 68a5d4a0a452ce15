//! Interfaces as netlink tells them.

use serde::{Deserialize, Serialize};

use crate::scope::Iface;

/// An interface (`RTM_GETLINK`, `SIOCETHTOOL`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Identity.
    pub iface: Iface,
    /// Kind of a software device (`veth`, `bridge`, `bond`, …), `None` for hardware.
    pub kind: Option<String>,
    /// Administratively up (`IFF_UP`).
    pub admin_up: bool,
    /// Carrier (`IFLA_CARRIER`).
    pub carrier: bool,
    /// Loopback device.
    pub loopback: bool,
    /// How many want frames that are not for it, too, such as captures and bridges (`IFLA_PROMISCUITY`).
    pub promiscuity: u32,
    /// Index of the bond, bridge or team it belongs to.
    pub master: Option<u32>,
    /// Times the carrier came or went (`IFLA_CARRIER_CHANGES`).
    pub carrier_changes: u64,
    /// Speed in bit/s where the device really has one; `None` for software devices, whose claims mean nothing.
    pub speed_bits_per_s: Option<u64>,
    /// What the user says that it carries (`--link-speed`).
    pub stated_bits_per_s: Option<u64>,
    /// Full duplex, or half; `None` where it is not told.
    pub full_duplex: Option<bool>,
    /// The best mode that this device supports and the other end advertises, where the device sees that.
    pub best: Option<LinkMode>,
    /// Id of the XDP program on it, whoever's (`IFLA_XDP_PROG_ID`); the kernel tells none where several modes are in use.
    pub xdp_program: Option<u32>,
    /// Of a bridge: what it has learned; `None` before 6.7.
    pub fdb: Option<Fdb>,
    /// Kernel counters (`rtnl_link_stats64`).
    pub stats: LinkStats,
}

impl Link {
    /// What it carries in bit/s: what the user says, else what its device says.
    pub fn bits_per_s(&self) -> Option<u64> {
        self.stated_bits_per_s.or(self.speed_bits_per_s)
    }
}

/// The forwarding database of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fdb {
    /// Link addresses that it has learned (`IFLA_BR_FDB_N_LEARNED`); those that were set by hand do not count.
    pub learned: u64,
    /// As many it learns (`IFLA_BR_FDB_MAX_LEARNED`); `None` is no limit.
    pub limit: Option<u64>,
}

/// A mode that a link could run in (`ETHTOOL_GLINKSETTINGS`). The order is from worse to better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkMode {
    /// Speed.
    pub bits_per_s: u64,
    /// Full duplex, or half.
    pub full_duplex: bool,
    /// This end offers it to the other.
    pub advertised: bool,
}

/// The counters of `rtnl_link_stats64` that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Received packets.
    pub rx_packets: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Received bytes.
    pub rx_bytes: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Receive errors, all kinds.
    pub rx_errors: u64,
    /// Send errors, all kinds.
    pub tx_errors: u64,
    /// Received and dropped by the host.
    pub rx_dropped: u64,
    /// Dropped on the way out.
    pub tx_dropped: u64,
    /// Missed by the device for lack of buffers.
    pub rx_missed: u64,
    /// CRC errors.
    pub rx_crc: u64,
    /// Frame alignment errors.
    pub rx_frame: u64,
    /// Fifo overruns, both directions.
    pub fifo: u64,
    /// Received where nobody is to take them, as on the members of a bond that stand by (`rx_nohandler`).
    pub rx_nohandler: u64,
}
