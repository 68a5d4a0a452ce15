//! The list of readers, and where their readings belong in a snapshot.

use std::io;

use osi_common::layer::Layer;

use super::gauges::{self, NamespaceGauges};
use super::sockets::{self, PortUse};
use super::{
    ADDRESSES, CONNTRACK, DRIVERS, Kept, LINKS, LISTENERS, MIBS, NEIGHBOUR_TABLES, NEIGHBOURS,
    PORTS, PROGRAMS, QDISCS, ROUTES, SOCKSTAT, SOFTNET, Scratch, address, drivers, link, mibs,
    neighbour, programs, qdisc, route, softnet,
};
use crate::scope::Netns;
use crate::snapshot::{
    Driver, Gauge, Holder, HostState, Link, Listener, Mibs, NeighbourTable, Neighbours, NetnsState,
    OwnAddress, Program, Qdisc, Route, Softnet, Table,
};

/// Which of the two sampler threads runs a reader. Route netlink may wait for the kernel's rtnl lock while somebody
/// else reconfigures the network; the counters must not wait with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::snapshot) enum Group {
    /// Route netlink and drivers.
    Tables,
    /// procfs and `sock_diag`.
    Counters,
}

/// A reader: a row of [`READERS`].
#[derive(Debug)]
pub(crate) struct Reader {
    /// Its name in `fed_by` and in what is blind.
    pub(crate) id: &'static str,
    /// The layers that see less without it.
    pub(crate) layers: &'static [Layer],
    /// Its thread.
    pub(in crate::snapshot) group: Group,
    /// How it reads.
    pub(in crate::snapshot) read: Read,
}

/// How often a reader reads.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) enum Read {
    /// Once per namespace.
    Namespace(fn(&Netns, &mut Scratch) -> io::Result<NamespaceReading>),
    /// Once for the host.
    Host(fn(&mut Scratch) -> io::Result<HostReading>),
}

/// All readers. Those of a group run in this order: links first, because they name the interfaces of the tables after
/// them, and listeners before ports.
pub(crate) static READERS: &[Reader] = &[
    Reader {
        id: LINKS,
        layers: &[Layer::L1],
        group: Group::Tables,
        read: Read::Namespace(|netns, scratch| {
            Ok(NamespaceReading::Links(link::read(netns, scratch)?))
        }),
    },
    Reader {
        id: QDISCS,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: Read::Namespace(|_, scratch| Ok(NamespaceReading::Qdiscs(qdisc::read(scratch)?))),
    },
    Reader {
        id: NEIGHBOURS,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: Read::Namespace(|_, scratch| {
            neighbour::read(scratch)
                .map(|(all, holders)| NamespaceReading::Neighbours(all, holders))
        }),
    },
    Reader {
        id: ADDRESSES,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: Read::Namespace(|_, scratch| {
            Ok(NamespaceReading::Addresses(address::read(scratch)?))
        }),
    },
    Reader {
        id: ROUTES,
        layers: &[Layer::L3],
        group: Group::Tables,
        read: Read::Namespace(|_, scratch| Ok(NamespaceReading::Routes(route::read(scratch)?))),
    },
    Reader {
        id: PROGRAMS,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: Read::Namespace(|netns, scratch| {
            Ok(NamespaceReading::Programs(programs::read(netns, scratch)?))
        }),
    },
    // Last of its thread: a driver that asks its firmware may take long.
    Reader {
        id: DRIVERS,
        layers: &[Layer::L1],
        group: Group::Tables,
        read: Read::Namespace(|netns, scratch| {
            Ok(NamespaceReading::Drivers(drivers::read(netns, scratch)?))
        }),
    },
    Reader {
        id: MIBS,
        layers: &[Layer::L3, Layer::L4],
        group: Group::Counters,
        read: Read::Namespace(|_, scratch| {
            Ok(NamespaceReading::Mibs(Box::new(mibs::read(scratch)?)))
        }),
    },
    Reader {
        id: SOCKSTAT,
        layers: &[Layer::L3, Layer::L4],
        group: Group::Counters,
        read: Read::Namespace(|_, scratch| {
            Ok(NamespaceReading::Sockstat(gauges::namespace(scratch)?))
        }),
    },
    Reader {
        id: CONNTRACK,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace(|_, scratch| {
            Ok(NamespaceReading::Conntrack(gauges::conntrack(scratch)?))
        }),
    },
    Reader {
        id: LISTENERS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace(|_, scratch| {
            Ok(NamespaceReading::Listeners(sockets::listeners(scratch)?))
        }),
    },
    Reader {
        id: PORTS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace(|_, scratch| Ok(NamespaceReading::Ports(sockets::ports(scratch)?))),
    },
    Reader {
        id: SOFTNET,
        layers: &[Layer::L1],
        group: Group::Counters,
        read: Read::Host(|scratch| {
            softnet::read(scratch).map(|(cpus, limit)| HostReading::Softnet(cpus, limit))
        }),
    },
    Reader {
        id: SOCKSTAT,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Host(|scratch| Ok(HostReading::Memory(gauges::host(scratch)?))),
    },
    Reader {
        id: NEIGHBOUR_TABLES,
        layers: &[Layer::L2],
        group: Group::Counters,
        read: Read::Host(|scratch| {
            gauges::neighbour_tables(scratch).map(|(v4, v6)| HostReading::NeighbourTables(v4, v6))
        }),
    },
];

/// What one reader found in a namespace.
#[derive(Debug)]
pub(in crate::snapshot) enum NamespaceReading {
    /// Of [`LINKS`].
    Links(Kept<Link>),
    /// Of [`DRIVERS`].
    Drivers(Kept<Driver>),
    /// Of [`QDISCS`].
    Qdiscs(Kept<Qdisc>),
    /// Of [`PROGRAMS`].
    Programs(Kept<Program>),
    /// Of [`NEIGHBOURS`].
    Neighbours(Neighbours, Vec<Holder>),
    /// Of [`ADDRESSES`].
    Addresses(Kept<OwnAddress>),
    /// Of [`ROUTES`].
    Routes(Kept<Route>),
    /// Of [`MIBS`].
    Mibs(Box<Mibs>),
    /// Of [`SOCKSTAT`].
    Sockstat(NamespaceGauges),
    /// Of [`CONNTRACK`].
    Conntrack(Option<Gauge>),
    /// Of [`LISTENERS`].
    Listeners(Kept<Listener>),
    /// Of [`PORTS`].
    Ports(PortUse),
}

impl NamespaceReading {
    /// Puts what was read at `read_ns` where it belongs; answers how many rows were beyond the reader's bound.
    pub(in crate::snapshot) fn apply(self, state: &mut NetnsState, read_ns: u64) -> u64 {
        match self {
            Self::Links(links) => return keep(links, read_ns, &mut state.links),
            Self::Drivers(drivers) => return keep(drivers, read_ns, &mut state.drivers),
            Self::Qdiscs(qdiscs) => return keep(qdiscs, read_ns, &mut state.qdiscs),
            Self::Programs(programs) => return keep(programs, read_ns, &mut state.programs),
            Self::Routes(routes) => return keep(routes, read_ns, &mut state.routes),
            Self::Listeners(listeners) => {
                let omitted;
                (state.listeners, omitted) = listeners.into_parts();
                return omitted;
            }
            Self::Addresses(addresses) => return keep(addresses, read_ns, &mut state.addresses),
            Self::Neighbours(neighbours, rows) => {
                (state.neighbours, state.holders) = (neighbours, Table { read_ns, rows });
            }
            Self::Mibs(mibs) => state.mibs = *mibs,
            Self::Conntrack(conntrack) => state.conntrack = conntrack,
            Self::Sockstat(NamespaceGauges {
                time_wait,
                fragments,
            }) => {
                (state.time_wait, state.fragments) = (time_wait, fragments);
            }
            Self::Ports(PortUse {
                pools,
                range,
                syn_sent,
            }) => {
                (state.pools, state.port_range, state.syn_sent) = (pools, range, Some(syn_sent));
            }
        }
        0
    }
}

fn keep<T>(found: Kept<T>, read_ns: u64, table: &mut Table<T>) -> u64 {
    let (rows, omitted) = found.into_parts();
    *table = Table { read_ns, rows };
    omitted
}

/// What one reader found of the host.
#[derive(Debug)]
pub(in crate::snapshot) enum HostReading {
    /// Of [`SOFTNET`].
    Softnet(Vec<Softnet>, Option<u64>),
    /// Of [`SOCKSTAT`].
    Memory(gauges::Memory),
    /// Of [`NEIGHBOUR_TABLES`].
    NeighbourTables(NeighbourTable, NeighbourTable),
}

impl HostReading {
    /// Puts what was read where it belongs.
    pub(in crate::snapshot) fn apply(self, host: &mut HostState) {
        match self {
            Self::Softnet(cpus, limit) => (host.softnet, host.netdev_max_backlog) = (cpus, limit),
            Self::Memory(gauges::Memory { tcp, udp, orphans }) => {
                (host.tcp_memory, host.udp_memory, host.orphans) = (tcp, udp, orphans);
            }
            Self::NeighbourTables(v4, v6) => {
                (host.neighbour_table_v4, host.neighbour_table_v6) = (v4, v6);
            }
        }
    }
}
