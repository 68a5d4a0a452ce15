//! Rows of a snapshot's tables, as a quiet client's host has them.

use core::net::{IpAddr, Ipv4Addr};

use crate::scope::{Iface, Netns};
use crate::snapshot::{
    Holder, Link, LinkAddress, LinkStats, Listener, Mib, Mibs, Neighbour, NetnsState, OwnAddress,
    PortPool, Qdisc, Route, Table,
};

pub(super) const ETH0: u32 = 2;

/// An address of the network that the client is on.
pub(super) fn near(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

/// An address behind the client's gateway, 10.0.0.254.
pub(super) fn far(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

pub(super) fn namespace(inode: u32, name: &str) -> NetnsState {
    let mut mibs = Mibs::default();
    for (mib, _, _, _) in Mib::TABLE {
        mibs.set(*mib, 0);
    }
    let network = Route {
        destination: Some(near(0)),
        prefix: 24,
        ifindex: Some(ETH0),
        gateway: None,
        v6: false,
        advertised: false,
    };
    let default = Route {
        destination: None,
        prefix: 0,
        ifindex: Some(ETH0),
        gateway: None,
        v6: false,
        advertised: false,
    };
    NetnsState {
        netns: Netns {
            inode,
            cookie: u64::from(inode),
            name: Some(name.to_owned()),
            ..Netns::default()
        },
        links: table(vec![link(ETH0, "eth0")]),
        qdiscs: table(vec![qdisc(ETH0, "eth0")]),
        routes: table(vec![network, default]),
        addresses: table(vec![OwnAddress {
            address: near(1),
            iface: link(ETH0, "eth0").iface,
            refused: false,
        }]),
        mibs,
        port_range: Some((32_768, 60_999, 0)),
        ..NetnsState::default()
    }
}

fn table<T>(rows: Vec<T>) -> Table<T> {
    Table { read_ns: 1, rows }
}

pub(super) fn link(ifindex: u32, name: &str) -> Link {
    Link {
        iface: Iface {
            ifindex,
            name: name.to_owned(),
        },
        kind: None,
        admin_up: true,
        carrier: true,
        loopback: false,
        promiscuity: 0,
        master: None,
        carrier_changes: 1,
        speed_bits_per_s: Some(1_000_000_000),
        stated_bits_per_s: None,
        full_duplex: Some(true),
        best: None,
        fdb: None,
        xdp_program: None,
        stats: LinkStats::default(),
    }
}

pub(super) fn qdisc(ifindex: u32, name: &str) -> Qdisc {
    Qdisc {
        iface: Iface {
            ifindex,
            name: name.to_owned(),
        },
        kind: "pfifo".to_owned(),
        handle: 0x1_0000,
        parent: 0xffff_ffff,
        bytes: 0,
        packets: 0,
        drops: 0,
        overlimits: 0,
        backlog_bytes: 0,
        backlog_packets: 0,
        limit_packets: Some(1000),
        limit_bytes: None,
        rate_bits_per_s: None,
        shaped_bytes: None,
    }
}

pub(super) fn listener(address: IpAddr, port: u16, queued: u32, backlog: u32) -> Listener {
    Listener {
        address,
        port,
        queued,
        backlog,
        inode: 7,
        uid: 0,
    }
}

pub(super) fn pool(remote: IpAddr, port: u16, used: u64, time_wait: u64) -> PortPool {
    PortPool {
        local: near(1),
        remote,
        port,
        used,
        time_wait,
        reusable: 0,
        usable: 28_232,
        lower_bound: false,
        holders: None,
    }
}

/// A neighbour that answered, with a hardware address that ends like this.
pub(super) fn holder(address: IpAddr, last: u8) -> Holder {
    let iface = Iface {
        ifindex: ETH0,
        name: "eth0".to_owned(),
    };
    Holder {
        address,
        iface,
        link_address: LinkAddress(vec![2, 0, 0, 0, 0, last]),
    }
}

/// A neighbour that was used just now; its state is `age_ms` old.
pub(super) fn neighbour(address: IpAddr, failed: bool, age_ms: u64) -> Neighbour {
    let iface = Iface {
        ifindex: ETH0,
        name: "eth0".to_owned(),
    };
    Neighbour {
        address,
        iface,
        failed,
        used_ns: 100_000_000,
        updated_ns: age_ms * 1_000_000,
    }
}
