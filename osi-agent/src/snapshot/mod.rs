//! The second hop: kernel maps and host files become plain data.
//!
//! A [`Snapshot`] holds what was read at one moment, cumulative as the kernel keeps it, plus what could not be read and why.
//! Nothing here judges; `layer` turns two snapshots into rates and ratios.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use osi_common::dns::Resolver;
use osi_common::exchange::{Dependency, Requests};
use osi_common::handshake::{PeerKey, PeerRecord};
use osi_common::histogram::LatencyHistogram;
use osi_common::http::{Server, ServerKey};
use osi_common::interface::{Frames, Traffic};
use osi_common::layer::Layer;
use osi_common::listener::{ListenerKey, ListenerRecord};
use osi_common::occurrence::{Count, Key, Sample};
use osi_common::opener::Opener;
use osi_common::tls::{Endpoint, Handshakes};

use serde::{Deserialize, Serialize};

use crate::scope::{Iface, Netns};

pub mod conntrack;

pub mod cpu;

pub mod driver;

pub mod filter;

pub mod host;

mod late;

pub mod link;

pub mod maps;

pub mod mib;

pub mod neighbour;

pub mod owner;

pub mod process;

pub mod program;

pub mod sampler;

pub mod session;

pub mod socket;

pub mod table;

pub use conntrack::Conntrack;
pub use cpu::{CpuTime, Quota, Softnet, Waited};
pub use driver::{Driver, DriverCounter};
pub use filter::{DropPlace, Filters};
pub use link::{Fdb, Link, LinkMode, LinkStats};
pub use mib::{Mib, Mibs};
pub use neighbour::{Holder, LinkAddress, Neighbour, NeighbourTable, Neighbours, OwnAddress};
pub use owner::{Holders, Owner, Owners, Wanted};
pub use process::OpenFiles;
pub use program::{Hook, Program};
pub use session::{End, Sessions};
pub use socket::{
    ALWAYS_COOKIES, DatagramSocket, Listener, PortPool, SocketHolders, Stalled, SynQueue, UdpPorts,
};
pub use table::Table;

/// Something that could not be seen, and why. Blind is never shown as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blind {
    /// The layer that is less visible for it.
    pub layer: Layer,
    /// Signal, reader or probe.
    pub what: String,
    /// The reason, as told by the kernel where it told one.
    pub why: String,
}

/// What was read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When (`CLOCK_BOOTTIME`).
    pub boot_ns: u64,
    /// From the eBPF maps.
    pub kernel: KernelMaps,
    /// Per network namespace in scope, from netlink and procfs.
    pub namespaces: Vec<NetnsState>,
    /// Host-wide.
    pub host: HostState,
    /// Who owns the sockets that listen.
    pub owners: Owners,
    /// Samples that arrived since the previous snapshot, oldest first.
    pub samples: Vec<Sample>,
    /// What could not be read this time.
    pub blind: Vec<Blind>,
}

/// Totals of the eBPF maps, merged over CPUs.
#[derive(Clone, Debug, Default)]
pub struct KernelMaps {
    /// Occurrences by key, drops excluded.
    pub occurrences: HashMap<Key, Count>,
    /// Drops, with reason and function by name.
    pub drops: HashMap<DropKey, Count>,
    /// Reason and function by code and location of drops that have samples or ended connects, by the same names as in `drops`.
    pub reasons: HashMap<(u32, u64), (Arc<str>, Arc<str>)>,
    /// The kernel names no reason of any drop (before 5.17).
    pub nameless: bool,
    /// Connect outcomes by peer.
    pub peers: HashMap<PeerKey, PeerRecord>,
    /// What happened at ports that are or were listened on.
    pub listeners: HashMap<ListenerKey, ListenerRecord>,
    /// Waits of requests, by listening port.
    pub requests: HashMap<ListenerKey, Requests>,
    /// Waits for peers, by peer.
    pub dependencies: HashMap<PeerKey, Dependency>,
    /// DNS queries and how they ended, by resolver.
    pub resolvers: HashMap<PeerKey, Resolver>,
    /// DNS queries in flight.
    pub queries_in_flight: u64,
    /// Age of the oldest of them; 0 when there is none.
    pub oldest_query_ns: u64,
    /// DNS queries whose answers may have been missed.
    pub queries_unmeasured: u64,
    /// TLS handshakes and how they ended, by server and by listening port.
    pub endpoints: HashMap<Endpoint, Handshakes>,
    /// TLS handshakes in flight to which the server has not said anything yet, by server and by listening port: how many, and
    /// the age of the oldest.
    pub tls_silent: HashMap<Endpoint, (u64, u64)>,
    /// TLS handshakes in flight, and the age of the oldest; 0 when there is none.
    pub tls_waiting: (u64, u64),
    /// The same of QUIC.
    pub quic_waiting: (u64, u64),
    /// HTTP requests and how they ended, by server.
    pub http_servers: HashMap<ServerKey, Server>,
    /// Those of them that let a request wait until nobody waits for it any more, and answered others later.
    pub http_patient: HashSet<ServerKey>,
    /// HTTP requests in flight.
    pub requests_in_flight: u64,
    /// Age of the oldest of them; 0 when there is none.
    pub oldest_request_ns: u64,
    /// Latency histograms, indexed by `osi_common::latency::Latency`.
    pub latencies: Vec<LatencyHistogram>,
    /// Who opened the sockets that listen, by their inodes.
    pub openers: HashMap<u32, Opener>,
    /// Client handshakes in flight, by inode of their namespace.
    pub handshakes_in_flight: HashMap<u32, u64>,
    /// Age of the oldest client handshake in flight; 0 when there is none.
    pub oldest_handshake_ns: u64,
    /// Per interface that carries programs.
    pub interfaces: Vec<InterfaceMaps>,
    /// What the programs say about themselves, indexed by `osi_common::occurrence::Health`.
    pub health: Vec<u64>,
    /// Keys in use per bounded map: (map, used, capacity).
    pub fill: Vec<(&'static str, u64, u64)>,
}

/// What drops are counted under, with the kernel's numbers turned into names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DropKey {
    /// Reason as the running kernel names it, without its prefix; `reason#N` where it has no name for it.
    pub reason: Arc<str>,
    /// Kernel function that dropped it; empty where symbols can not be read.
    pub function: Arc<str>,
    /// Inode of the namespace, 0 when not known.
    pub netns: u32,
}

/// What the programs on one interface counted.
#[derive(Clone, Debug)]
pub struct InterfaceMaps {
    /// Its namespace.
    pub netns: Netns,
    /// Interface.
    pub iface: Iface,
    /// Which attachment of the programs counted: each begins at zero.
    pub attachment: u64,
    /// tc ingress.
    pub rx: Traffic,
    /// tc egress.
    pub tx: Traffic,
    /// Largest number of bytes in one of the last 1024 milliseconds, received.
    pub rx_peak_ms_bytes: u64,
    /// The same, sent.
    pub tx_peak_ms_bytes: u64,
    /// XDP, where a program is attached.
    pub frames: Option<Frames>,
}

/// One network namespace, as netlink, procfs and `sock_diag` show it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetnsState {
    /// Which.
    pub netns: Netns,
    /// Ids of the readers that brought nothing of it in this pass.
    pub missed: Vec<String>,
    /// Interfaces, by index.
    pub links: Table<Link>,
    /// Drivers with counters of their own, by interface index.
    pub drivers: Table<Driver>,
    /// Queueing disciplines.
    pub qdiscs: Table<Qdisc>,
    /// Programs and filters of others that may drop packets.
    pub programs: Table<Program>,
    /// Where nftables can drop packets; read where packets are missed.
    pub filters: Filters,
    /// IPv4 and IPv6 routes of the main table.
    pub routes: Table<Route>,
    /// How many neighbour entries there are, and those that are not plainly healthy.
    pub neighbours: Neighbours,
    /// Neighbours that have answered.
    pub holders: Table<Holder>,
    /// Own addresses.
    pub addresses: Table<OwnAddress>,
    /// SNMP counters.
    pub mibs: Mibs,
    /// Listening TCP sockets; read at 0 where they could not be read in this pass.
    pub listeners: Table<Listener>,
    /// Unfinished handshakes by listener, where there are any and something made the reader look.
    pub syn_queues: Vec<SynQueue>,
    /// `net.ipv4.tcp_syncookies`, where it was looked at.
    pub syn_cookies: Option<u8>,
    /// Local ports in use per destination; only pools with at least 1 % of the range, worst first.
    pub pools: Vec<PortPool>,
    /// Local UDP ports in use; `None` where they are less than 1 % of the range, or unknown.
    pub udp_ports: Option<UdpPorts>,
    /// Local port range as (first, last, reserved ports within), `net.ipv4.ip_local_port_range`.
    pub port_range: Option<(u16, u16, u16)>,
    /// Connections of this host whose peers do not read, worst peer first.
    pub stalled: Vec<Stalled>,
    /// Established connections by listener and by peer, worst first.
    pub sessions: Table<Sessions>,
    /// Entries and maximum of the connection tracking table; `None` where it is not in use or not readable.
    pub conntrack: Option<Gauge>,
    /// What connection tracking dropped; `None` where nothing is tracked or the kernel does not tell.
    pub conntrack_counts: Option<Conntrack>,
    /// UDP sockets that dropped datagrams, read where some were dropped since the reading before.
    pub datagram_sockets: Table<DatagramSocket>,
    /// TIME_WAIT sockets and `tcp_max_tw_buckets`.
    pub time_wait: Option<Gauge>,
    /// Bytes of fragments waiting for reassembly, and the limit, IPv4.
    pub fragments: Option<Gauge>,
}

impl NetnsState {
    /// A namespace of which nothing has been read yet.
    pub fn unread(netns: &Netns) -> Self {
        Self {
            netns: netns.clone(),
            ..Self::default()
        }
    }

    /// Own addresses that somebody else on the link has.
    pub fn refused_addresses(&self) -> impl Iterator<Item = &OwnAddress> {
        self.addresses.iter().filter(|own| own.refused)
    }

    /// Whether an address is an own one; taken for one where the own ones are not known.
    pub fn may_own(&self, address: IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|own| own.address == address)
    }
}

/// A resource's use and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauge {
    /// In use.
    pub used: u64,
    /// At this value the next unit is refused.
    pub limit: u64,
}

/// A queueing discipline (`RTM_GETQDISC`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Qdisc {
    /// Interface.
    pub iface: Iface,
    /// `pfifo_fast`, `tbf`, `fq_codel`, …
    pub kind: String,
    /// Handle, major in the upper 16 bits.
    pub handle: u32,
    /// Parent handle, `0xffff_ffff` for a root.
    pub parent: u32,
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped.
    pub drops: u64,
    /// Times a packet had to wait for its rate.
    pub overlimits: u64,
    /// Bytes waiting.
    pub backlog_bytes: u64,
    /// Packets waiting.
    pub backlog_packets: u64,
    /// Queue limit in packets, where the discipline has one.
    pub limit_packets: Option<u64>,
    /// Queue limit in bytes, where the discipline has one.
    pub limit_bytes: Option<u64>,
    /// Rate in bit/s of a shaper (`tbf`, `htb` root class), where there is one.
    pub rate_bits_per_s: Option<u64>,
    /// Bytes that the shaper let through, where others pass it by (`htb`: what is in no class).
    pub shaped_bytes: Option<u64>,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination network; `None` is the default route.
    pub destination: Option<IpAddr>,
    /// Prefix length.
    pub prefix: u8,
    /// Outgoing interface.
    pub ifindex: Option<u32>,
    /// The router that it leads to; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// IPv6.
    pub v6: bool,
    /// A router advertised it (`RTPROT_RA`, RFC 4861): it ends when the router falls silent.
    pub advertised: bool,
}

/// Host-wide resources.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostState {
    /// Per CPU: `/proc/net/softnet_stat`.
    pub softnet: Vec<Softnet>,
    /// `net.core.netdev_max_backlog`.
    pub netdev_max_backlog: Option<u64>,
    /// TCP memory in pages and `tcp_mem[2]`.
    pub tcp_memory: Option<Gauge>,
    /// Pages of TCP from which on it saves memory: `tcp_mem[1]`.
    pub tcp_pressure: Option<u64>,
    /// UDP memory in pages and `udp_mem[2]`.
    pub udp_memory: Option<Gauge>,
    /// Orphaned TCP sockets and `tcp_max_orphans`.
    pub orphans: Option<Gauge>,
    /// Open files and `fs.file-max`.
    pub files: Option<Gauge>,
    /// Processes that have most of their descriptors in use, worst first.
    pub open_files: Vec<OpenFiles>,
    /// Time in which at least one runnable task waited for a CPU.
    pub waited_for_cpu: Option<Waited>,
    /// cgroups with a quota of CPU time.
    pub quotas: Table<Quota>,
    /// The neighbour table of IPv4.
    pub neighbour_table_v4: NeighbourTable,
    /// The neighbour table of IPv6.
    pub neighbour_table_v6: NeighbourTable,
}

impl HostState {
    /// Takes over what was known of open files where nothing was read of them: else who was full before would be told as full
    /// anew.
    pub(in crate::snapshot) fn keep_files(&mut self, before: &Self) {
        if self.files.is_none() {
            (self.files, self.open_files) = (before.files, before.open_files.clone());
        }
    }
}
