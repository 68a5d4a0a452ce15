//! Queueing disciplines: `RTM_GETQDISC`, and `RTM_GETTCLASS` for the ceiling of an htb.

use std::io;
use std::ops::ControlFlow;

use super::decode::{attribute, attributes, string, u32_at, u64_at};
use super::link::NAME_MAX;
use super::netlink::{Family, Request, dump};
use super::{Kept, Scratch, queue};
use crate::host::text::clean;
use crate::scope::Iface;
use crate::snapshot::Qdisc;

/// Disciplines that are kept per namespace: a card with 64 queues has 65.
const QDISCS: usize = 8192;

/// Classes that are looked at per interface.
const CLASSES: usize = 1024;

/// `struct tcmsg`.
const HEADER: usize = 20;

/// Statistics within `TCA_STATS2`, as uapi/linux/gen_stats.h numbers them.
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
const TCA_STATS_PKT64: u16 = 8;

/// `TC_H_ROOT`.
const ROOT: u32 = u32::MAX;

/// Reads all queueing disciplines. The links must have been read in the same pass: they name the interfaces.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Kept<Qdisc>> {
    let Scratch {
        netlink,
        devices,
        filtered,
        ..
    } = scratch;
    let request = Request {
        family: Family::Route,
        kind: libc::RTM_GETQDISC,
        body: &[0; HEADER],
    };
    let mut qdiscs = dump(
        request,
        netlink,
        || Kept::new(QDISCS),
        |qdiscs, payload| {
            if let Some(mut qdisc) = parse(payload) {
                if let Some(device) = devices.get(&qdisc.iface.ifindex) {
                    qdisc.iface.name.clone_from(&device.name);
                    if qdisc.kind == "pfifo_fast" {
                        // Each of its three bands holds as many packets as the device's queue is long.
                        qdisc.limit_packets = device.queue_length.map(u64::from);
                    }
                }
                qdiscs.push(qdisc);
            }
            ControlFlow::Continue(())
        },
    )?;
    for qdisc in qdiscs
        .rows
        .iter_mut()
        .filter(|qdisc| qdisc.kind == "htb" && qdisc.parent == ROOT)
    {
        let root = root_class(qdisc.iface.ifindex, netlink)?;
        qdisc.rate_bits_per_s = root.and_then(|class| class.ceiling);
        qdisc.shaped_bytes = root.map(|class| class.bytes);
    }
    let of_filters = qdiscs.rows.iter().filter(|qdisc| qdisc.holds_filters());
    filtered.extend(of_filters.map(|qdisc| (qdisc.iface.ifindex, qdisc.drops)));
    Ok(qdiscs)
}

/// The root class of an htb, through which all goes that it shapes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootClass {
    /// What it lets through at most.
    pub(crate) ceiling: Option<u64>,
    /// What it let through.
    pub(crate) bytes: u64,
}

/// The root class of an htb, where it has exactly one. Traffic that is in no class passes unshaped.
fn root_class(ifindex: u32, buffer: &mut Vec<u8>) -> io::Result<Option<RootClass>> {
    let mut body = [0; HEADER];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let request = Request {
        family: Family::Route,
        kind: libc::RTM_GETTCLASS,
        body: &body,
    };
    let start = || (0, Vec::new());
    let (looked_at, roots) = dump(request, buffer, start, |(seen, roots), payload| {
        *seen += 1;
        if u32_at(payload, 12) == Some(ROOT) {
            roots.push(class(payload));
        }
        // A second root class settles it, and a shaper with so many classes is not read every second.
        if roots.len() > 1 || *seen >= CLASSES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(match roots.as_slice() {
        [only] if looked_at < CLASSES => *only,
        _ => None,
    })
}

/// A message of `RTM_GETTCLASS`.
pub(crate) fn class(payload: &[u8]) -> Option<RootClass> {
    let rest = payload.get(HEADER..)?;
    let stats = attribute(rest, libc::TCA_STATS2)?;
    Some(RootClass {
        ceiling: queue::htb_ceiling(attribute(rest, libc::TCA_OPTIONS)?),
        bytes: u64_at(attribute(stats, TCA_STATS_BASIC)?, 0)?,
    })
}

pub(crate) fn parse(payload: &[u8]) -> Option<Qdisc> {
    let mut qdisc = Qdisc {
        iface: Iface {
            ifindex: u32_at(payload, 4)?,
            name: String::new(),
        },
        kind: String::new(),
        handle: u32_at(payload, 8)?,
        parent: u32_at(payload, 12)?,
        bytes: 0,
        packets: 0,
        drops: 0,
        overlimits: 0,
        backlog_bytes: 0,
        backlog_packets: 0,
        limit_packets: None,
        limit_bytes: None,
        rate_bits_per_s: None,
        shaped_bytes: None,
    };
    let rest = payload.get(HEADER..)?;
    qdisc.kind = clean(string(attribute(rest, libc::TCA_KIND)?), NAME_MAX);
    for (kind, value) in attributes(rest) {
        match kind {
            libc::TCA_OPTIONS => {
                let queue::Options {
                    limit_packets,
                    limit_bytes,
                    rate_bits_per_s,
                } = queue::options(&qdisc.kind, value);
                (qdisc.limit_packets, qdisc.limit_bytes) = (limit_packets, limit_bytes);
                qdisc.rate_bits_per_s = rate_bits_per_s;
            }
            libc::TCA_STATS2 => statistics(value, &mut qdisc),
            _ => {}
        }
    }
    Some(qdisc)
}

/// `TCA_STATS2`: `gnet_stats_basic` and `gnet_stats_queue`; drops and overlimits are 32 bit in the kernel and wrap.
fn statistics(bytes: &[u8], qdisc: &mut Qdisc) {
    for (kind, value) in attributes(bytes) {
        match kind {
            TCA_STATS_BASIC => {
                qdisc.bytes = u64_at(value, 0).unwrap_or(0);
                qdisc.packets = qdisc.packets.max(u32_at(value, 8).unwrap_or(0).into());
            }
            // The same count where 32 bit do not hold it.
            TCA_STATS_PKT64 => qdisc.packets = u64_at(value, 0).unwrap_or(qdisc.packets),
            TCA_STATS_QUEUE => {
                let at = |position: usize| u64::from(u32_at(value, position * 4).unwrap_or(0));
                (qdisc.backlog_packets, qdisc.backlog_bytes) = (at(0), at(1));
                (qdisc.drops, qdisc.overlimits) = (at(2), at(4));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }
    }
}
