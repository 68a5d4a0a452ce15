//! Routes of the main table: `RTM_GETROUTE`.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::ControlFlow;

use super::decode::{address, attributes, u8_at, u16_at, u32_at};
use super::netlink::{Family, Request, dump};
use super::{Kept, Scratch};
use crate::snapshot::Route;

/// Routes that are kept per namespace and family.
const ROUTES: usize = 1024;

/// Messages that are looked at per family: a router may have a million routes, and other tables come in the same dump.
const MESSAGES: usize = 4096;

/// `struct rtmsg`.
const HEADER: usize = 12;

/// `RTM_F_CLONED`: an exception learned from ICMP, not a route.
const CLONED: u32 = 0x200;

/// The kernel, or what configures the network, has it of a router advertisement (`uapi/linux/rtnetlink.h`).
const RTPROT_RA: u8 = 9;

/// Reads the unicast routes of the main table and those that refuse (`unreachable`, `blackhole`, …: no interface).
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Kept<Route>> {
    let mut routes = Kept::new(2 * ROUTES);
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0; HEADER];
        body[0] = family as u8;
        let request = Request {
            family: Family::Route,
            kind: libc::RTM_GETROUTE,
            body: &body,
        };
        let start = || (Kept::new(ROUTES), 0usize);
        let (part, looked_at) = dump(
            request,
            &mut scratch.netlink,
            start,
            |(routes, seen), payload| {
                *seen += 1;
                parse(payload, |route| routes.push(route));
                // The default route is the first of its table, so what is cut off are specific ones.
                if *seen >= MESSAGES {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        )?;
        routes.append(part);
        routes.omitted += u64::from(looked_at >= MESSAGES);
    }
    Ok(routes)
}

pub(crate) fn parse(payload: &[u8], mut found: impl FnMut(Route)) -> Option<()> {
    let (family, prefix, table, protocol, kind) = (
        u8_at(payload, 0)?,
        u8_at(payload, 1)?,
        u8_at(payload, 4)?,
        u8_at(payload, 5)?,
        u8_at(payload, 7)?,
    );
    let flags = u32_at(payload, 8)?;
    let forwards = kind == libc::RTN_UNICAST;
    let refuses = [
        libc::RTN_BLACKHOLE,
        libc::RTN_UNREACHABLE,
        libc::RTN_PROHIBIT,
        libc::RTN_THROW,
    ]
    .contains(&kind);
    if !(forwards || refuses) || flags & CLONED != 0 {
        return None;
    }
    let v6 = i32::from(family) == libc::AF_INET6;
    let mut route = Route {
        destination: None,
        prefix,
        ifindex: None,
        gateway: None,
        v6,
        advertised: protocol == RTPROT_RA,
    };
    let (mut table, mut hops) = (u32::from(table), Vec::new());
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            libc::RTA_TABLE => table = u32_at(value, 0)?,
            libc::RTA_DST => route.destination = address(value),
            libc::RTA_OIF if forwards => route.ifindex = u32_at(value, 0),
            libc::RTA_GATEWAY => route.gateway = address(value),
            libc::RTA_MULTIPATH if forwards => hops.extend(next_hops(value)),
            _ => {}
        }
    }
    if table != u32::from(libc::RT_TABLE_MAIN) {
        return None;
    }
    if v6 && prefix == 0 && route.destination == Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        route.destination = None;
    }
    if hops.is_empty() {
        found(route);
    } else {
        // One row per interface that the route may take.
        hops.sort_unstable();
        hops.dedup();
        for hop in hops {
            found(Route {
                ifindex: Some(hop),
                ..route.clone()
            });
        }
    }
    Some(())
}

/// Interface indexes of `struct rtnexthop` entries: length, flags, hops, index, attributes.
fn next_hops(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?).max(8);
        let index = u32_at(rest, 4)?;
        rest = rest.get(super::decode::align(length)..).unwrap_or_default();
        Some(index)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn next_hops_are_walked() {
        let mut bytes = vec![8, 0, 0, 0, 3, 0, 0, 0];
        bytes.extend([16, 0, 0, 0, 4, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1]);
        assert_eq!(next_hops(&bytes).collect::<Vec<_>>(), [3, 4]);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes, |_| {});
            let _ = next_hops(&bytes).count();
        }
    }
}
