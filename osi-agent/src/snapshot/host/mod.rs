//! Readers of what the host shows of itself by netlink, `sock_diag` and procfs.
//!
//! Each file reads one thing and knows nothing of the others. `readers` is the one list of them: the sampler runs its
//! rows, and a row that fails or is late blinds exactly what it names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use self::accepted::Accepted;
use self::drivers::Drivers;
use self::holders::Lookups;
use self::link::Device;
use self::moved::Moved;
use self::programs::Programs;
use self::sockets::Listening;

pub(crate) mod bytecode;

pub(crate) mod decode;

pub(crate) mod descriptors;

pub(crate) mod netlink;

pub(crate) mod enter;

pub(crate) mod procfs;

pub(crate) mod link;

pub(crate) mod ethtool;

pub(crate) mod settings;

pub(crate) mod drivers;

pub(crate) mod qdisc;

pub(crate) mod queue;

pub(crate) mod programs;

pub(crate) mod filters;

pub(crate) mod filling;

pub(crate) mod route;

pub(crate) mod neighbour;

pub(crate) mod accepted;

pub(crate) mod closest;

pub(crate) mod address;

pub(crate) mod moved;

pub(crate) mod load;

pub(crate) mod mibs;

pub(crate) mod conntrack;

pub(crate) mod datagrams;

pub(crate) mod diag;

pub(crate) mod ports;

pub(crate) mod pools;

pub(crate) mod holders;

pub(crate) mod udp;

pub(crate) mod sockets;

pub(crate) mod sessions;

pub(crate) mod stalled;

pub(crate) mod syn_queues;

pub(crate) mod gauges;

pub(crate) mod softnet;

pub(crate) mod pressure;

pub(crate) mod quotas;

pub(crate) mod readers;

/// Interfaces: state, kind, speed, counters.
pub const LINKS: &str = "links";
/// Drivers' own counters.
pub const DRIVERS: &str = "drivers";
/// Queueing disciplines.
pub const QDISCS: &str = "qdiscs";
/// eBPF programs and tc filters on interfaces.
pub const PROGRAMS: &str = "programs";
/// Rules and policies of nftables.
pub const FILTERS: &str = "filters";
/// Routes of the main table.
pub const ROUTES: &str = "routes";
/// Neighbour entries.
pub const NEIGHBOURS: &str = "neighbours";
/// Own addresses.
pub const ADDRESSES: &str = "addresses";
/// The host's limits for neighbour entries, which only the initial network namespace shows.
pub const NEIGHBOUR_TABLES: &str = "neighbour_tables";
/// SNMP counters.
pub const MIBS: &str = "mibs";
/// Listening TCP sockets.
pub const LISTENERS: &str = "listeners";
/// Unfinished handshakes per listener.
pub const SYN_QUEUES: &str = "syn_queues";
/// Local ports in use, sockets in SYN_SENT, and those whose peers do not read.
pub const PORTS: &str = "ports";
/// Local UDP ports in use.
pub const UDP_PORTS: &str = "udp_ports";
/// Connection tracking entries.
pub const CONNTRACK: &str = "conntrack";
/// What connection tracking dropped.
pub const CONNTRACK_COUNTS: &str = "conntrack_counts";
/// UDP sockets that dropped datagrams.
pub const DATAGRAM_SOCKETS: &str = "datagram_sockets";
/// TIME_WAIT, fragments, TCP and UDP memory, orphans.
pub const SOCKSTAT: &str = "sockstat";
/// Established connections by listener and by peer.
pub const SESSIONS: &str = "sessions";
/// Descriptors in use, of processes and of the host.
pub const DESCRIPTORS: &str = "descriptors";
/// Time that runnable processes waited for a CPU.
pub const PRESSURE: &str = "cpu_pressure";
/// CPU time that cgroups were denied.
pub const QUOTAS: &str = "cpu_quotas";
/// The receive backlog of each CPU.
pub const SOFTNET: &str = "softnet";

/// Rows up to a bound, and how many were beyond it.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    /// The first ones.
    rows: Vec<T>,
    /// Number of the others.
    omitted: u64,
    bound: usize,
}

impl<T> Kept<T> {
    fn new(bound: usize) -> Self {
        Self {
            rows: Vec::new(),
            omitted: 0,
            bound,
        }
    }

    fn push(&mut self, row: T) {
        if self.rows.len() < self.bound {
            self.rows.push(row);
        } else {
            self.omitted += 1;
        }
    }

    fn append(&mut self, other: Self) {
        let Self {
            rows,
            omitted,
            bound: _,
        } = other;
        for row in rows {
            self.push(row);
        }
        self.omitted += omitted;
    }

    /// The rows, and how many there are beyond them.
    fn into_parts(self) -> (Vec<T>, u64) {
        let Self {
            rows,
            omitted,
            bound: _,
        } = self;
        (rows, omitted)
    }
}

/// What a sampler thread keeps between readers: buffers, and what one reader of a pass leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Netlink answers.
    netlink: Vec<u8>,
    /// Files.
    text: String,
    /// Interfaces of the namespace at hand, from the links reader.
    devices: HashMap<u32, Device>,
    /// Those of them that have tc filters, and the packets that these dropped, from the reader of queueing disciplines.
    filtered: BTreeMap<u32, u64>,
    /// Ports of the namespace at hand, from the listeners reader.
    listening: Listening,
    /// What tells whether SYN queues are worth a look.
    syns_lost: Moved,
    /// What tells whether connections in front of closed windows are worth one.
    windows_closed: Moved,
    /// Speed and duplex of the links of all namespaces.
    settings: settings::Known,
    /// Drivers of all namespaces.
    drivers: Drivers,
    /// Programs of all namespaces.
    programs: Programs,
    /// Processes that hold the sockets of pools.
    holders: Lookups,
    /// UDP datagrams that the namespace at hand lost for full buffers, from the reader of SNMP counters.
    datagrams_lost: Option<u64>,
    /// The same of all namespaces, when their sockets were asked.
    datagrams: datagrams::Known,
    /// Connections of all namespaces that are followed from pass to pass.
    followed: sessions::Followed,
    /// The walk through the processes of the host.
    descriptors: descriptors::Round,
    /// The groups with a quota of CPU time.
    quotas: quotas::Search,
    /// Inodes of the namespaces whose rule sets are asked for in this pass.
    rule_sets: Arc<[u32]>,
    /// Inode of the namespace that the last pass had no time for.
    pub(super) broke_off: Option<u32>,
    /// Inodes of the listeners whose connections are asked for in this pass.
    served: Arc<[u32]>,
    /// Those of the namespace at hand.
    accepted: Vec<Accepted>,
}

impl Scratch {
    /// Notes what is asked for in this pass only.
    pub(super) fn begin(&mut self, rule_sets: Arc<[u32]>, served: Arc<[u32]>) {
        self.rule_sets = rule_sets;
        self.served = served;
        self.holders.begin();
        self.followed.begin();
    }

    /// What was accepted in the namespace at hand, where that was asked for.
    pub(super) fn take_accepted(&mut self) -> Vec<Accepted> {
        std::mem::take(&mut self.accepted)
    }

    /// Forgets what the previous namespace left.
    pub(super) fn reset(&mut self) {
        self.devices.clear();
        self.filtered.clear();
        self.listening.reset();
        self.datagrams_lost = None;
        self.syns_lost.reset();
        self.windows_closed.reset();
        self.accepted.clear();
    }
}
