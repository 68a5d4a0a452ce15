//! Hosts wired together by veth pairs: client–server, client–router–server, and three hosts on a switch.
//!
//! Every link speaks IPv4 and IPv6. Addresses are the same in every lab: namespaces keep them apart.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::netns::Namespace;
use crate::{command, link, wait};

/// Nothing in the lab listens here.
const CLOSED_PORT: u16 = 1;
const READY: Duration = Duration::from_secs(10);
const ATTEMPT: Duration = Duration::from_millis(200);

/// The IP version that a scenario uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// One of two values.
    pub fn pick<T>(self, v4: T, v6: T) -> T {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }
}

/// One end of a link: host, interface, and its number on the link (1 or 2).
struct End<'a> {
    host: &'a Namespace,
    interface: &'a str,
    number: u8,
}

/// The IPv4 address of end `number` on subnet `subnet`.
const fn v4(subnet: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, subnet, 0, number)
}

/// The IPv6 address of end `number` on subnet `subnet`.
const fn v6(subnet: u8, number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, subnet as u16, 0, 0, 0, 0, 0, number as u16)
}

fn address(family: Family, subnet: u8, number: u8) -> IpAddr {
    family.pick(
        IpAddr::V4(v4(subnet, number)),
        IpAddr::V6(v6(subnet, number)),
    )
}

/// A client and a server on one link.
#[derive(Debug)]
pub struct Pair {
    /// Has `eth0`, end 1.
    pub client: Namespace,
    /// Has `eth0`, end 2.
    pub server: Namespace,
}

impl Pair {
    /// IPv4 address of the client.
    pub const CLIENT: Ipv4Addr = v4(1, 1);
    /// IPv4 address of the server.
    pub const SERVER: Ipv4Addr = v4(1, 2);
    /// IPv6 address of the client.
    pub const CLIENT_V6: Ipv6Addr = v6(1, 1);
    /// IPv6 address of the server.
    pub const SERVER_V6: Ipv6Addr = v6(1, 2);

    /// Makes both hosts and the link.
    pub fn build() -> Result<Self> {
        let pair = Self {
            client: Namespace::create("client")?,
            server: Namespace::create("server")?,
        };
        connect(
            1,
            &End {
                host: &pair.client,
                interface: "eth0",
                number: 1,
            },
            &Self::server_end(&pair.server),
        )?;
        await_path(&pair.client, Self::server_at)?;
        Ok(pair)
    }

    /// Deletes the link and makes another one with the same names, addresses and index on the client, in one go.
    pub fn replace_link(&self) -> Result<()> {
        let orders = format!(
            "link del eth0\n\
             link add eth0 index {} type veth peer name eth0 netns {}\n\
             address add {}/24 dev eth0\n\
             address add {}/64 dev eth0 nodad\n\
             link set eth0 up\n",
            link::index(&self.client, "eth0")?,
            self.server.name(),
            v4(1, 1),
            v6(1, 1),
        );
        let mut ip = Command::new("ip");
        ip.args(["-n", self.client.name(), "-batch", "-"]);
        command::output_with_input(&mut ip, &orders)?;
        set_up(1, &Self::server_end(&self.server))?;
        await_path(&self.client, Self::server_at)
    }

    const fn server_end(server: &Namespace) -> End<'_> {
        End {
            host: server,
            interface: "eth0",
            number: 2,
        }
    }

    /// An address of the server.
    pub fn server_at(family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 1, 2), port)
    }

    /// An address of the client.
    pub fn client_at(family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 1, 1), port)
    }

    /// Gives the client a second address, which is one of another client to the server.
    pub fn add_client(&self, family: Family) -> Result<IpAddr> {
        let second = address(family, 1, 3);
        let prefix = family.pick(24, 64);
        let words = [
            "address",
            "add",
            &format!("{second}/{prefix}"),
            "dev",
            "eth0",
        ];
        let nodad = family.pick(None, Some("nodad"));
        self.client
            .ip(&words.into_iter().chain(nodad).collect::<Vec<_>>())?;
        Ok(second)
    }

    /// Everybody on the link.
    pub fn broadcast_at(port: u16) -> SocketAddr {
        SocketAddr::new(address(Family::V4, 1, 255), port)
    }
}

/// A client and a server with a router between them.
#[derive(Debug)]
pub struct Routed {
    /// Has `eth0` towards the router, and default routes.
    pub client: Namespace,
    /// Has `west` towards the client and `east` towards the server, and forwards.
    pub router: Namespace,
    /// Has `eth0` towards the router, and default routes.
    pub server: Namespace,
}

impl Routed {
    /// The router's interface towards the client.
    pub const WEST: &str = "west";
    /// The router's interface towards the server.
    pub const EAST: &str = "east";

    /// Makes the three hosts and both links.
    pub fn build() -> Result<Self> {
        let lab = Self {
            client: Namespace::create("client")?,
            router: Namespace::create("router")?,
            server: Namespace::create("server")?,
        };
        connect(
            1,
            &End {
                host: &lab.router,
                interface: Self::WEST,
                number: 1,
            },
            &End {
                host: &lab.client,
                interface: "eth0",
                number: 2,
            },
        )?;
        connect(
            2,
            &End {
                host: &lab.router,
                interface: Self::EAST,
                number: 1,
            },
            &End {
                host: &lab.server,
                interface: "eth0",
                number: 2,
            },
        )?;
        lab.router.set_sysctl("net/ipv4/ip_forward", "1")?;
        lab.router.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
        add_default_routes(&lab.client, 1)?;
        add_default_routes(&lab.server, 2)?;
        await_path(&lab.client, Self::server_at)?;
        Ok(lab)
    }

    /// An address of the server.
    pub fn server_at(family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 2, 2), port)
    }

    /// An address on the server's subnet that nobody owns.
    pub fn beside_server(family: Family, number: u8, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 2, number), port)
    }

    /// The router's address on the client's link.
    pub fn router_at(family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 1, 1), port)
    }

    /// An address on the client's own subnet that nobody owns.
    pub fn nobody_at(family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(address(family, 1, 99), port)
    }

    /// Takes the client's default route away.
    pub fn remove_client_route(&self, family: Family) -> Result<()> {
        self.client
            .ip(&[family.pick("-4", "-6"), "route", "del", "default"])
            .map(drop)
    }

    /// Puts the client's default route back.
    pub fn restore_client_route(&self, family: Family) -> Result<()> {
        add_default_route(&self.client, family, 1)
    }
}

/// Three hosts on one switch.
#[derive(Debug)]
pub struct Switched {
    /// Has `eth0` with number 1.
    pub client: Namespace,
    /// Has `eth0` with number 2.
    pub server: Namespace,
    /// Has `eth0` without an address.
    pub spare: Namespace,
    /// Joins them by `br0`.
    switch: Namespace,
}

impl Switched {
    /// IPv4 address of the client.
    pub const CLIENT: Ipv4Addr = v4(1, 1);
    /// IPv4 address of the server.
    pub const SERVER: Ipv4Addr = v4(1, 2);

    /// Makes the hosts and the switch.
    pub fn build() -> Result<Self> {
        let lab = Self {
            client: Namespace::create("client")?,
            server: Namespace::create("server")?,
            spare: Namespace::create("spare")?,
            switch: Namespace::create("switch")?,
        };
        lab.switch.ip(&["link", "add", "br0", "type", "bridge"])?;
        link::set_up(&lab.switch, "br0", true)?;
        for (host, port) in [
            (&lab.client, "port1"),
            (&lab.server, "port2"),
            (&lab.spare, "port3"),
        ] {
            link::add_veth((host, "eth0"), (&lab.switch, port))?;
            lab.switch
                .ip(&["link", "set", port, "master", "br0", "up"])?;
        }
        for (host, number) in [(&lab.client, 1), (&lab.server, 2)] {
            let interface = "eth0";
            set_up(
                1,
                &End {
                    host,
                    interface,
                    number,
                },
            )?;
        }
        link::set_up(&lab.spare, "eth0", true)?;
        await_path(&lab.client, |family, port| {
            SocketAddr::new(address(family, 1, 2), port)
        })?;
        Ok(lab)
    }
}

fn connect(subnet: u8, left: &End<'_>, right: &End<'_>) -> Result<()> {
    link::add_veth((left.host, left.interface), (right.host, right.interface))?;
    for end in [left, right] {
        set_up(subnet, end)?;
    }
    Ok(())
}

/// Gives an end its addresses and sets it up.
fn set_up(subnet: u8, end: &End<'_>) -> Result<()> {
    let v4 = format!("{}/24", v4(subnet, end.number));
    let v6 = format!("{}/64", v6(subnet, end.number));
    end.host
        .ip(&["address", "add", &v4, "dev", end.interface])?;
    end.host
        .ip(&["address", "add", &v6, "dev", end.interface, "nodad"])?;
    link::set_up(end.host, end.interface, true)
}

/// Waits until a connect to a closed port is refused, which proves the whole path and resolves every neighbour on it.
///
/// A new link takes up to a second until IPv6 is ready on it, and what is sent before may be lost.
fn await_path(client: &Namespace, server_at: fn(Family, u16) -> SocketAddr) -> Result<()> {
    for family in [Family::V4, Family::V6] {
        let target = server_at(family, CLOSED_PORT);
        wait::until(&format!("{target} can be reached"), READY, || {
            let outcome = client.run(|| Ok(TcpStream::connect_timeout(&target, ATTEMPT)))?;
            Ok(outcome
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
                .then_some(()))
        })?;
    }
    Ok(())
}

fn add_default_routes(host: &Namespace, subnet: u8) -> Result<()> {
    add_default_route(host, Family::V4, subnet)?;
    add_default_route(host, Family::V6, subnet)
}

fn add_default_route(host: &Namespace, family: Family, subnet: u8) -> Result<()> {
    let router = address(family, subnet, 1).to_string();
    host.ip(&[
        family.pick("-4", "-6"),
        "route",
        "add",
        "default",
        "via",
        &router,
    ])
    .map(drop)
}
