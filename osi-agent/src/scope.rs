//! Where something is measured or broken: a host, a namespace, an interface, a peer, a pool, a listener, a process.

use core::cmp::Ordering;
use core::net::IpAddr;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::workload::Workload;

/// What a scope names. The order is from wide to narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// The whole machine.
    Host,
    /// One network namespace.
    Netns,
    /// One interface in a namespace.
    Iface,
    /// A remote address (and port, where it is one service).
    Peer,
    /// The local ports usable towards one destination, or those of UDP.
    Pool,
    /// A listening socket.
    Listener,
    /// A process.
    Process,
    /// A DNS server.
    Resolver,
}

/// A network namespace. Identity is inode and cookie: inodes are reused.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Netns {
    /// Inode number, as `ls -i /run/netns` and `lsns` show it.
    pub inode: u32,
    /// Kernel cookie of the namespace (`SO_NETNS_COOKIE`), never reused; 0 where the kernel has none.
    pub cookie: u64,
    /// Name under /run/netns, `host` for the agent's own namespace, else null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it has no name: the container or pod, as far as all of its processes that were looked at are in the same one.
    #[serde(flatten)]
    pub workload: Workload,
}

/// An interface. Identity is the index within its namespace.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Iface {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name, escaped.
    pub name: String,
}

/// A process. Identity is pid and start time: pids are reused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id in the agent's pid namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat` field 22); 0 when the process was gone before it was asked.
    pub start_time: u64,
    /// Name of the main thread, lossy UTF-8, escaped.
    pub comm: String,
    /// cgroup path, null when not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// What that path tells.
    #[serde(flatten)]
    pub workload: Workload,
}

/// Transport protocol of a scope or flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
}

impl Proto {
    /// Its name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// Where something is measured or broken. Keys that do not apply are absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Scope {
    /// Which of the keys below make up the scope.
    pub kind: ScopeKind,
    /// Network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
    /// Interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<Iface>,
    /// Local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Remote address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// Port: the remote one of a peer or pool, the local one of a listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Transport protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<Proto>,
    /// Process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

impl Scope {
    const fn empty(kind: ScopeKind) -> Self {
        Self {
            kind,
            netns: None,
            iface: None,
            local: None,
            remote: None,
            port: None,
            proto: None,
            process: None,
        }
    }

    /// The whole machine.
    pub const fn host() -> Self {
        Self::empty(ScopeKind::Host)
    }

    /// One namespace.
    pub fn netns(netns: &Netns) -> Self {
        Self {
            netns: Some(netns.clone()),
            ..Self::empty(ScopeKind::Netns)
        }
    }

    /// One interface.
    pub fn iface(netns: &Netns, ifindex: u32, name: &str) -> Self {
        let iface = Iface {
            ifindex,
            name: name.to_owned(),
        };
        Self {
            netns: Some(netns.clone()),
            iface: Some(iface),
            ..Self::empty(ScopeKind::Iface)
        }
    }

    /// A remote address, with the port where one service is meant.
    pub fn peer(netns: &Netns, remote: IpAddr, port: Option<u16>) -> Self {
        let proto = port.map(|_| Proto::Tcp);
        Self {
            netns: Some(netns.clone()),
            remote: Some(remote),
            port,
            proto,
            ..Self::empty(ScopeKind::Peer)
        }
    }

    /// A DNS server, over whatever transport it is asked.
    pub fn resolver(netns: &Netns, remote: IpAddr, port: u16) -> Self {
        Self {
            netns: Some(netns.clone()),
            remote: Some(remote),
            port: Some(port),
            ..Self::empty(ScopeKind::Resolver)
        }
    }

    /// The local ports usable from one source address to one destination.
    pub fn pool(netns: &Netns, local: IpAddr, remote: IpAddr, port: u16) -> Self {
        Self {
            netns: Some(netns.clone()),
            local: Some(local),
            remote: Some(remote),
            port: Some(port),
            proto: Some(Proto::Tcp),
            ..Self::empty(ScopeKind::Pool)
        }
    }

    /// The local UDP ports of a namespace.
    pub fn udp_ports(netns: &Netns) -> Self {
        Self {
            proto: Some(Proto::Udp),
            kind: ScopeKind::Pool,
            ..Self::netns(netns)
        }
    }

    /// A listening TCP socket.
    pub fn listener(netns: &Netns, local: IpAddr, port: u16) -> Self {
        Self {
            netns: Some(netns.clone()),
            local: Some(local),
            port: Some(port),
            proto: Some(Proto::Tcp),
            ..Self::empty(ScopeKind::Listener)
        }
    }

    /// A local TCP port, whatever the address.
    pub fn local_port(netns: &Netns, port: u16) -> Self {
        Self {
            netns: Some(netns.clone()),
            port: Some(port),
            proto: Some(Proto::Tcp),
            ..Self::empty(ScopeKind::Listener)
        }
    }

    /// A process, in the namespace that it is in where that is known.
    pub fn process(netns: Option<&Netns>, process: &Process) -> Self {
        Self {
            netns: netns.cloned(),
            process: Some(process.clone()),
            ..Self::empty(ScopeKind::Process)
        }
    }

    /// A neighbour: an address on one interface.
    pub fn neighbour(netns: &Netns, iface: &Iface, remote: IpAddr) -> Self {
        Self {
            iface: Some(iface.clone()),
            ..Self::peer(netns, remote, None)
        }
    }

    /// An own address on one interface.
    pub fn own_address(netns: &Netns, iface: &Iface, local: IpAddr) -> Self {
        Self {
            local: Some(local),
            ..Self::iface(netns, iface.ifindex, &iface.name)
        }
    }

    /// Whether everything in `narrow` also lies in `self`: host ⊇ namespace ⊇ interface, listener, process; peers by address.
    ///
    /// An interface also covers what its namespace as a whole suffers, because what it carries is seen only there. One of its
    /// addresses covers only what has that address.
    pub fn covers(&self, narrow: &Self) -> bool {
        let same_netns = self.netns.is_some() && self.netns == narrow.netns;
        match self.kind {
            ScopeKind::Host => true,
            ScopeKind::Netns => same_netns,
            ScopeKind::Iface => {
                let same_address = self.local.is_none() || narrow.local == self.local;
                same_netns && same_address && (narrow.iface.is_none() || self.iface == narrow.iface)
            }
            ScopeKind::Peer => {
                let same_port =
                    self.port.is_none() || narrow.port.is_none() || narrow.port == self.port;
                same_netns && self.remote.is_some() && narrow.remote == self.remote && same_port
            }
            ScopeKind::Listener => {
                let same_address =
                    self.local == narrow.local || self.local.is_none() || narrow.local.is_none();
                let same_port = (self.port, self.proto) == (narrow.port, narrow.proto);
                narrow.kind == ScopeKind::Listener && same_netns && same_port && same_address
            }
            ScopeKind::Pool | ScopeKind::Process | ScopeKind::Resolver => self == narrow,
        }
    }

    /// The identity in one stable line of text, for hashes: names are not part of it.
    pub fn key(&self) -> String {
        let Self {
            kind,
            netns,
            iface,
            local,
            remote,
            port,
            proto,
            process,
        } = self;
        let mut key = format!("{kind:?}");
        let mut part = |name: char, value: Option<String>| {
            if let Some(value) = value {
                let _infallible = write!(key, "|{name}{value}");
            }
        };
        part(
            'n',
            netns
                .as_ref()
                .map(|netns| format!("{}:{}", netns.inode, netns.cookie)),
        );
        part('i', iface.as_ref().map(|iface| iface.ifindex.to_string()));
        part('l', local.map(|local| local.to_string()));
        part('r', remote.map(|remote| remote.to_string()));
        part('p', port.map(|port| port.to_string()));
        part('t', proto.map(|proto| format!("{proto:?}")));
        part(
            'x',
            process
                .as_ref()
                .map(|process| format!("{}:{}", process.pid, process.start_time)),
        );
        key
    }
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        (self.inode, self.cookie) == (other.inode, other.cookie)
    }
}
impl Eq for Netns {}
impl Ord for Netns {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.inode, self.cookie).cmp(&(other.inode, other.cookie))
    }
}
impl PartialOrd for Netns {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Hash for Netns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.inode, self.cookie).hash(state);
    }
}

impl PartialEq for Iface {
    fn eq(&self, other: &Self) -> bool {
        self.ifindex == other.ifindex
    }
}
impl Eq for Iface {}
impl Ord for Iface {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ifindex.cmp(&other.ifindex)
    }
}
impl PartialOrd for Iface {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Hash for Iface {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ifindex.hash(state);
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.start_time) == (other.pid, other.start_time)
    }
}
impl Eq for Process {}
impl Ord for Process {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.pid, self.start_time).cmp(&(other.pid, other.start_time))
    }
}
impl PartialOrd for Process {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Hash for Process {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.pid, self.start_time).hash(state);
    }
}
