//! Interfaces: `RTM_GETLINK`, and `SIOCETHTOOL` for speed and duplex of hardware.

use std::io;
use std::ops::ControlFlow;

use super::decode::{attribute, attributes, string, u8_at, u32_at, u64_at};
use super::netlink::{Family, Request, dump};
use super::{Kept, Scratch};
use crate::host::text::clean;
use crate::scope::{Iface, Netns};
use crate::snapshot::{Fdb, Link, LinkStats};

/// Interfaces that are kept per namespace.
const LINKS: usize = 4096;

/// Longest interface name in characters, escapes included (`IFNAMSIZ` is 16 bytes).
pub(crate) const NAME_MAX: usize = 64;

/// `struct ifinfomsg`.
const HEADER: usize = 16;

/// Reads all interfaces, by index.
pub(super) fn read(netns: &Netns, scratch: &mut Scratch) -> io::Result<Kept<Link>> {
    let request = Request {
        family: Family::Route,
        kind: libc::RTM_GETLINK,
        body: &[0; HEADER],
    };
    let mut raws = dump(request, &mut scratch.netlink, Vec::new, |raws, payload| {
        raws.extend(parse(payload));
        ControlFlow::Continue(())
    })?;
    raws.sort_by_key(|raw| raw.link.iface.ifindex);
    raws.dedup_by_key(|raw| raw.link.iface.ifindex);

    scratch.devices.clear();
    let mut links = Kept::new(LINKS);
    for mut raw in raws {
        let index = raw.link.iface.ifindex;
        let asked = Asked::of(&raw.link);
        // What a software device claims means nothing: veth says 10 Gbit/s whatever it carries.
        if asked == Asked::Hardware {
            let changes = raw.link.carrier_changes;
            let settings = scratch.settings.get(netns, index, &raw.name, changes);
            raw.link.speed_bits_per_s = settings.bits_per_s;
            raw.link.full_duplex = settings.full_duplex;
            raw.link.best = settings.best;
        }
        let stats = &raw.link.stats;
        scratch.devices.insert(
            index,
            Device {
                name: raw.link.iface.name.clone(),
                raw: raw.name,
                queue_length: raw.queue_length,
                xdp_program: raw.link.xdp_program,
                asked,
                frames: stats.rx_packets.saturating_add(stats.tx_packets),
                faults: faults(stats),
            },
        );
        links.push(raw.link);
    }
    Ok(links)
}

/// What the other readers of the same pass need to know of an interface.
#[derive(Debug)]
pub(super) struct Device {
    /// Its name, escaped.
    pub(super) name: String,
    /// Its name as it is.
    pub(super) raw: Vec<u8>,
    /// `IFLA_TXQLEN`, the limit of each band of `pfifo_fast`.
    pub(super) queue_length: Option<u32>,
    /// Id of the XDP program on it.
    pub(super) xdp_program: Option<u32>,
    /// Whether its driver has something to tell.
    pub(super) asked: Asked,
    /// Frames that it carried, both ways.
    pub(super) frames: u64,
    /// Errors and drops of every kind that the kernel knows: whether they moved, not how many.
    pub(super) faults: u64,
}

/// When a device's driver is asked for its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Now and then: it knows more than the kernel.
    Hardware,
    /// When the kernel's counters moved: it only tells them apart.
    WhenMoved,
    /// It counts nothing of its own.
    Never,
}

impl Asked {
    fn of(link: &Link) -> Self {
        match link.kind.as_deref() {
            // Asking wakes a device that sleeps, and one without a carrier has nothing to tell.
            None if !link.loopback && link.admin_up && link.carrier => Self::Hardware,
            Some("veth") => Self::WhenMoved,
            Some(_) | None => Self::Never,
        }
    }
}

fn faults(stats: &LinkStats) -> u64 {
    [
        stats.rx_errors,
        stats.tx_errors,
        stats.rx_dropped,
        stats.tx_dropped,
        stats.rx_missed,
        stats.rx_crc,
        stats.rx_frame,
        stats.fifo,
    ]
    .into_iter()
    .fold(0, u64::wrapping_add)
}

/// A link, and what is not kept of it.
#[derive(Debug)]
pub(crate) struct RawLink {
    pub(crate) link: Link,
    name: Vec<u8>,
    queue_length: Option<u32>,
}

/// Inside `IFLA_XDP` (`include/uapi/linux/if_link.h`).
const IFLA_XDP_PROG_ID: u16 = 4;

/// Inside `IFLA_INFO_DATA` of a bridge, since 6.7 (the same).
const IFLA_BR_FDB_N_LEARNED: u16 = 48;
const IFLA_BR_FDB_MAX_LEARNED: u16 = 49;

pub(crate) fn parse(payload: &[u8]) -> Option<RawLink> {
    let flags = u32_at(payload, 8)?;
    let mut link = Link {
        iface: Iface {
            ifindex: u32_at(payload, 4)?,
            name: String::new(),
        },
        kind: None,
        admin_up: flags & libc::IFF_UP as u32 != 0,
        carrier: false,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        promiscuity: 0,
        master: None,
        carrier_changes: 0,
        speed_bits_per_s: None,
        stated_bits_per_s: None,
        full_duplex: None,
        best: None,
        xdp_program: None,
        fdb: None,
        stats: LinkStats::default(),
    };
    let (mut name, mut queue_length) = (Vec::new(), None);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => string(value).clone_into(&mut name),
            libc::IFLA_CARRIER => link.carrier = u8_at(value, 0)? != 0,
            libc::IFLA_PROMISCUITY => link.promiscuity = u32_at(value, 0)?,
            libc::IFLA_MASTER => link.master = u32_at(value, 0),
            libc::IFLA_CARRIER_CHANGES => link.carrier_changes = u32_at(value, 0)?.into(),
            libc::IFLA_TXQLEN => queue_length = u32_at(value, 0),
            libc::IFLA_XDP => {
                link.xdp_program =
                    attribute(value, IFLA_XDP_PROG_ID).and_then(|value| u32_at(value, 0));
            }
            libc::IFLA_STATS64 => link.stats = stats(value),
            libc::IFLA_LINKINFO => {
                link.kind = attribute(value, libc::IFLA_INFO_KIND)
                    .map(|kind| clean(string(kind), NAME_MAX));
                if link.kind.as_deref() == Some("bridge") {
                    link.fdb = attribute(value, libc::IFLA_INFO_DATA).and_then(fdb);
                }
            }
            _ => {}
        }
    }
    link.iface.name = clean(&name, NAME_MAX);
    Some(RawLink {
        link,
        name,
        queue_length,
    })
}

/// What a bridge says of its forwarding database.
fn fdb(bridge: &[u8]) -> Option<Fdb> {
    let number = |kind| Some(u64::from(u32_at(attribute(bridge, kind)?, 0)?));
    Some(Fdb {
        learned: number(IFLA_BR_FDB_N_LEARNED)?,
        limit: number(IFLA_BR_FDB_MAX_LEARNED).filter(|limit| *limit > 0),
    })
}

/// `struct rtnl_link_stats64`, by position of its u64 fields.
fn stats(bytes: &[u8]) -> LinkStats {
    let at = |position: usize| u64_at(bytes, position * 8).unwrap_or(0);
    LinkStats {
        rx_packets: at(0),
        tx_packets: at(1),
        rx_bytes: at(2),
        tx_bytes: at(3),
        rx_errors: at(4),
        tx_errors: at(5),
        rx_dropped: at(6),
        tx_dropped: at(7),
        rx_crc: at(12),
        rx_frame: at(13),
        rx_missed: at(15),
        fifo: at(14).saturating_add(at(18)),
        rx_nohandler: at(23),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_of_a_short_stats_struct_are_zero() {
        let mut bytes = Vec::new();
        for value in 1u64..=16 {
            bytes.extend(value.to_ne_bytes());
        }
        let stats = stats(&bytes);
        assert_eq!(
            (
                stats.rx_packets,
                stats.tx_dropped,
                stats.rx_crc,
                stats.rx_missed
            ),
            (1, 8, 13, 16)
        );
        assert_eq!(stats.fifo, 15);
    }

    #[test]
    fn every_host_has_a_loopback() {
        let netns = Netns {
            inode: 0,
            cookie: 0,
            name: None,
            ..Netns::default()
        };
        let links = read(&netns, &mut Scratch::default()).expect("links").rows;
        let loopback = links.iter().find(|link| link.loopback).expect("loopback");
        assert_eq!(
            (loopback.iface.name.as_str(), loopback.iface.ifindex),
            ("lo", 1)
        );
        assert_eq!((loopback.speed_bits_per_s, loopback.best), (None, None));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }
    }
}
