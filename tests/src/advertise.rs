//! Router advertisements (RFC 4861, 4.2), as a router sends them.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use anyhow::Result;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket, sockopt};

use crate::link;
use crate::netns::Namespace;

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Receivers refuse what may have come over a router.
const HOPS: u32 = 255;

/// Tells everybody on the link of an interface that this host is a way out for so long; zero takes it back.
pub fn router(host: &Namespace, interface: &str, lifetime: Duration) -> Result<()> {
    let index = u32::try_from(link::index(host, interface)?)?;
    let [high, low] = u16::try_from(lifetime.as_secs())?.to_be_bytes();
    // Checksum (the kernel's part), hop limit and flags unspecified, then lifetime, reachable time and retransmission timer.
    let message = [
        ROUTER_ADVERTISEMENT,
        0,
        0,
        0,
        0,
        0,
        high,
        low,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    host.run(|| {
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))?;
        sockopt::set_ipv6_multicast_hops(&socket, HOPS)?;
        let everybody = SocketAddrV6::new(ALL_NODES, 0, 0, index);
        sendto(&socket, &message, SendFlags::empty(), &everybody)?;
        Ok(())
    })
}
