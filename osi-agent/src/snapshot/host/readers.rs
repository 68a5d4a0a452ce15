//! The list of readers, where their readings belong in a snapshot, and what stays of them while they are late.

use std::io;

use osi_common::layer::Layer;

pub(in crate::snapshot) use super::filling::Filling;
use super::{
    ADDRESSES, CONNTRACK, CONNTRACK_COUNTS, DATAGRAM_SOCKETS, DESCRIPTORS, DRIVERS, FILTERS, Kept,
    LINKS, LISTENERS, MIBS, NEIGHBOUR_TABLES, NEIGHBOURS, PORTS, PRESSURE, PROGRAMS, QDISCS,
    QUOTAS, ROUTES, SESSIONS, SOCKSTAT, SOFTNET, SYN_QUEUES, Scratch, UDP_PORTS, address,
    conntrack, datagrams, descriptors, drivers, filters, gauges, link, mibs, neighbour, pressure,
    programs, qdisc, quotas, route, sessions, sockets, softnet, syn_queues, udp,
};
use crate::scope::Netns;
use crate::snapshot::{Filters, HostState, Mibs, NeighbourTable, NetnsState, Table, Waited};

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

/// How often a reader reads, and what it leaves as it was in a pass that it is late for: `keep` gives what only means
/// something over time its previous value, so that its growth is told a window later. What tells of one moment is not kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) enum Read {
    /// Once per namespace.
    Namespace {
        /// Reads the namespace that the thread is in.
        read: fn(&Netns, &mut Scratch) -> io::Result<Filling<NetnsState>>,
        /// Takes over from the previous state (the second) what this one has not.
        keep: fn(&mut NetnsState, &NetnsState),
    },
    /// Once for the host.
    Host {
        /// Reads.
        read: fn(&mut Scratch) -> io::Result<Filling<HostState>>,
        /// As for a namespace.
        keep: fn(&mut HostState, &HostState),
    },
}

/// A reader of one of a namespace's tables: the field, and the function that reads its rows.
macro_rules! table {
    ($field:ident, $read:expr) => {
        Read::Namespace {
            read: |netns, scratch| {
                let read: fn(&Netns, &mut Scratch) -> io::Result<Kept<_>> = $read;
                let found = read(netns, scratch)?;
                Ok(Filling::table(found, |state: &mut NetnsState| {
                    &mut state.$field
                }))
            },
            keep: |state, before| state.$field.or_keep(&before.$field),
        }
    };
}

/// The same of a reader that does not read in every pass: what it read last stays meanwhile.
macro_rules! seldom {
    ($field:ident, $read:expr) => {
        Read::Namespace {
            read: |netns, scratch| {
                let Some(found) = $read(netns, scratch)? else {
                    return Ok(Filling::of(|_| {}));
                };
                Ok(Filling::table(found, |state: &mut NetnsState| {
                    &mut state.$field
                }))
            },
            keep: |state, before| state.$field.or_keep(&before.$field),
        }
    };
}

/// All readers. Those of a group run in this order: links first, because they name the interfaces of the tables after
/// them, and listeners before ports.
pub(crate) static READERS: &[Reader] = &[
    Reader {
        id: LINKS,
        layers: &[Layer::L1],
        group: Group::Tables,
        read: table!(links, link::read),
    },
    Reader {
        id: QDISCS,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: table!(qdiscs, |_, scratch| qdisc::read(scratch)),
    },
    Reader {
        id: NEIGHBOURS,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: Read::Namespace {
            read: |_, scratch| {
                let (neighbours, rows) = neighbour::read(scratch)?;
                Ok(Filling(Box::new(move |state, read_ns| {
                    (state.neighbours, state.holders) = (neighbours, Table { read_ns, rows });
                    0
                })))
            },
            keep: |state, before| state.holders.or_keep(&before.holders),
        },
    },
    Reader {
        id: ADDRESSES,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: table!(addresses, |_, scratch| address::read(scratch)),
    },
    Reader {
        id: ROUTES,
        layers: &[Layer::L3],
        group: Group::Tables,
        read: table!(routes, |_, scratch| route::read(scratch)),
    },
    Reader {
        id: PROGRAMS,
        layers: &[Layer::L2],
        group: Group::Tables,
        read: table!(programs, programs::read),
    },
    Reader {
        id: FILTERS,
        layers: &[Layer::L3],
        group: Group::Tables,
        read: Read::Namespace {
            read: |netns, scratch| {
                let Some((found, whole)) = filters::read(netns, scratch)? else {
                    return Ok(Filling::of(|_| {}));
                };
                let (rows, omitted) = found.into_parts();
                Ok(Filling(Box::new(move |state, read_ns| {
                    state.filters = Filters {
                        places: Table { read_ns, rows },
                        complete: omitted == 0 && whole,
                    };
                    omitted
                })))
            },
            keep: |state, before| state.filters.or_keep(&before.filters),
        },
    },
    // Last of its thread: a driver that asks its firmware may take long.
    Reader {
        id: DRIVERS,
        layers: &[Layer::L1],
        group: Group::Tables,
        read: table!(drivers, drivers::read),
    },
    Reader {
        id: MIBS,
        layers: &[Layer::L3, Layer::L4, Layer::L5],
        group: Group::Counters,
        read: Read::Namespace {
            read: |_, scratch| {
                let mibs = mibs::read(scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| state.mibs = mibs))
            },
            keep: |state, before| {
                if state.mibs == Mibs::default() {
                    state.mibs = before.mibs.clone();
                }
            },
        },
    },
    Reader {
        id: SOCKSTAT,
        layers: &[Layer::L3, Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |_, scratch| {
                let gauges = gauges::namespace(scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| {
                    (state.time_wait, state.fragments) = (gauges.time_wait, gauges.fragments);
                }))
            },
            keep: |_, _| {},
        },
    },
    Reader {
        id: CONNTRACK,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |_, scratch| {
                let entries = gauges::conntrack(scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| {
                    state.conntrack = entries;
                }))
            },
            keep: |_, _| {},
        },
    },
    Reader {
        id: CONNTRACK_COUNTS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |_, scratch| {
                let counts = conntrack::read(scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| {
                    state.conntrack_counts = counts;
                }))
            },
            keep: |state, before| {
                state.conntrack_counts = state.conntrack_counts.or(before.conntrack_counts);
            },
        },
    },
    Reader {
        id: DATAGRAM_SOCKETS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: seldom!(datagram_sockets, datagrams::read),
    },
    Reader {
        id: LISTENERS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |_, scratch| {
                let found = sockets::listeners(scratch)?;
                Ok(Filling::table(found, |state: &mut NetnsState| {
                    &mut state.listeners
                }))
            },
            keep: |_, _| {},
        },
    },
    Reader {
        id: SYN_QUEUES,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |netns, scratch| {
                let found = syn_queues::read(netns, scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| {
                    (state.syn_queues, state.syn_cookies) = (found.queues, found.cookies);
                }))
            },
            keep: |state, before| state.syn_cookies = state.syn_cookies.or(before.syn_cookies),
        },
    },
    Reader {
        id: PORTS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |netns, scratch| {
                let ports = sockets::ports(netns, scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| {
                    (state.pools, state.port_range) = (ports.pools, ports.range);
                    state.stalled = ports.stalled;
                }))
            },
            keep: |_, _| {},
        },
    },
    Reader {
        id: SESSIONS,
        layers: &[Layer::L5],
        group: Group::Counters,
        read: seldom!(sessions, sessions::read),
    },
    Reader {
        id: UDP_PORTS,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Namespace {
            read: |netns, scratch| {
                let ports = udp::ports(netns, scratch)?;
                Ok(Filling::of(move |state: &mut NetnsState| {
                    state.udp_ports = ports;
                }))
            },
            keep: |_, _| {},
        },
    },
    Reader {
        id: SOFTNET,
        layers: &[Layer::L1],
        group: Group::Counters,
        read: Read::Host {
            read: |scratch| {
                let (cpus, limit) = softnet::read(scratch)?;
                Ok(Filling::of(move |host: &mut HostState| {
                    (host.softnet, host.netdev_max_backlog) = (cpus, limit);
                }))
            },
            keep: |host, before| {
                if host.softnet.is_empty() {
                    host.softnet.clone_from(&before.softnet);
                }
            },
        },
    },
    Reader {
        id: SOCKSTAT,
        layers: &[Layer::L4],
        group: Group::Counters,
        read: Read::Host {
            read: |scratch| {
                let memory = gauges::host(scratch)?;
                Ok(Filling::of(move |host: &mut HostState| {
                    (host.tcp_memory, host.udp_memory) = (memory.tcp, memory.udp);
                    (host.orphans, host.tcp_pressure) = (memory.orphans, memory.tcp_pressure);
                }))
            },
            keep: |_, _| {},
        },
    },
    Reader {
        id: DESCRIPTORS,
        layers: &[Layer::L5],
        group: Group::Counters,
        read: Read::Host {
            read: |scratch| {
                let (files, processes) = descriptors::read(scratch)?;
                Ok(Filling::of(move |host: &mut HostState| {
                    (host.files, host.open_files) = (files, processes);
                }))
            },
            keep: HostState::keep_files,
        },
    },
    Reader {
        id: PRESSURE,
        layers: &[Layer::L7],
        group: Group::Counters,
        read: Read::Host {
            read: |scratch| {
                let waited_ns = pressure::read(scratch)?;
                Ok(Filling(Box::new(move |host: &mut HostState, read_ns| {
                    host.waited_for_cpu = Some(Waited { read_ns, waited_ns });
                    0
                })))
            },
            keep: |host, before| {
                host.waited_for_cpu = host.waited_for_cpu.or(before.waited_for_cpu);
            },
        },
    },
    Reader {
        id: QUOTAS,
        layers: &[Layer::L7],
        group: Group::Counters,
        read: Read::Host {
            read: |scratch| {
                let quotas = quotas::read(scratch)?;
                Ok(Filling::table(quotas, |host: &mut HostState| {
                    &mut host.quotas
                }))
            },
            keep: |host, before| host.quotas.or_keep(&before.quotas),
        },
    },
    Reader {
        id: NEIGHBOUR_TABLES,
        layers: &[Layer::L2],
        group: Group::Counters,
        read: Read::Host {
            read: |scratch| {
                let tables = gauges::neighbour_tables(scratch)?;
                Ok(Filling::of(move |host: &mut HostState| {
                    (host.neighbour_table_v4, host.neighbour_table_v6) = tables;
                }))
            },
            keep: |host, before| {
                let keep = |table: &mut NeighbourTable, before: NeighbourTable| {
                    table.overflows = table.overflows.or(before.overflows);
                };
                keep(&mut host.neighbour_table_v4, before.neighbour_table_v4);
                keep(&mut host.neighbour_table_v6, before.neighbour_table_v6);
            },
        },
    },
];
