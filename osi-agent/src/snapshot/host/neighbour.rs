//! The neighbour table: `RTM_GETNEIGH`.

use std::io;
use std::ops::ControlFlow;

use super::Scratch;
use super::decode::{self, attributes, u8_at, u16_at, u32_at};
use super::netlink::{Family, Request, dump};
use crate::scope::Iface;
use crate::snapshot::{Holder, LinkAddress, Neighbour, Neighbours};

/// Unresolved neighbours that are kept per namespace, those used last first: somebody wants them now.
const UNRESOLVED: usize = 64;

/// Resolved neighbours that are kept per namespace, those updated last first: an address that changes hands is among them.
const RESOLVED: usize = 256;

/// `MAX_ADDR_LEN`.
const LINK_ADDRESS_MAX: usize = 32;

/// `struct ndmsg`.
const HEADER: usize = 12;

/// Ages come in clock ticks of 1/100 s (`USER_HZ`) on every architecture that Linux still has but Alpha.
const TICK_NS: u64 = 10_000_000;

/// States of an entry with a hardware address that ARP or neighbour discovery gave it.
const ANSWERED: u16 = libc::NUD_REACHABLE | libc::NUD_STALE | libc::NUD_DELAY | libc::NUD_PROBE;

/// `NTF_EXT_LEARNED`.
const EXTERNALLY_LEARNED: u8 = 0x10;

/// What a namespace's neighbour table comes to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Counts, and the entries without an answer.
    pub(crate) neighbours: Neighbours,
    /// The others with the time since they were updated.
    resolved: Vec<(u64, Holder)>,
}

impl Found {
    /// Who holds which address, in an order that stays.
    pub(crate) fn holders(mut self) -> (Neighbours, Vec<Holder>) {
        cap_resolved(&mut self.resolved);
        let rows = self.resolved.into_iter();
        let mut holders: Vec<_> = rows.map(|(_, holder)| holder).collect();
        holders.sort_by_key(|holder| (holder.iface.ifindex, holder.address));
        (self.neighbours, holders)
    }
}

/// Counts the entries that `gc_thresh3` limits, and keeps those in state FAILED or INCOMPLETE apart from those that were
/// answered. The links must have been read in the same pass: they name the interfaces.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<(Neighbours, Vec<Holder>)> {
    let Scratch {
        netlink, devices, ..
    } = scratch;
    let request = Request {
        family: Family::Route,
        kind: libc::RTM_GETNEIGH,
        body: &[0; HEADER],
    };
    let found = dump(request, netlink, Found::default, |found, payload| {
        add(found, payload);
        ControlFlow::Continue(())
    })?;
    let (mut neighbours, mut holders) = found.holders();
    cap(&mut neighbours.unresolved);
    let unresolved = neighbours.unresolved.iter_mut().map(|row| &mut row.iface);
    let resolved = holders.iter_mut().map(|row| &mut row.iface);
    for iface in unresolved.chain(resolved) {
        if let Some(device) = devices.get(&iface.ifindex) {
            iface.name.clone_from(&device.name);
        }
    }
    Ok((neighbours, holders))
}

fn cap(unresolved: &mut Vec<Neighbour>) {
    unresolved.sort_by_key(|neighbour| (neighbour.used_ns, neighbour.address));
    unresolved.truncate(UNRESOLVED);
}

fn cap_resolved(resolved: &mut Vec<(u64, Holder)>) {
    resolved.sort_by_key(|(updated_ns, holder)| (*updated_ns, holder.address));
    resolved.truncate(RESOLVED);
}

pub(crate) fn add(found: &mut Found, payload: &[u8]) -> Option<()> {
    let (family, ifindex) = (i32::from(u8_at(payload, 0)?), u32_at(payload, 4)?);
    let (state, flags) = (u16_at(payload, 8)?, u8_at(payload, 10)?);
    // neigh_alloc() leaves these two out of the number that it compares with gc_thresh3.
    let counts = state & libc::NUD_PERMANENT == 0 && flags & EXTERNALLY_LEARNED == 0;
    let neighbours = &mut found.neighbours;
    match family {
        libc::AF_INET => neighbours.entries_v4 += u64::from(counts),
        libc::AF_INET6 => neighbours.entries_v6 += u64::from(counts),
        _ => return None,
    }
    let answered = counts && state & ANSWERED != 0;
    if !answered && state & (libc::NUD_FAILED | libc::NUD_INCOMPLETE) == 0 {
        return None;
    }
    let (mut address, mut link_address) = (None, None);
    let (mut used_ns, mut updated_ns) = (0, 0);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            libc::NDA_DST => address = decode::address(value),
            libc::NDA_LLADDR if (1..=LINK_ADDRESS_MAX).contains(&value.len()) => {
                link_address = Some(LinkAddress(value.to_vec()));
            }
            // `struct nda_cacheinfo`: confirmed, used, updated, refcnt.
            libc::NDA_CACHEINFO => {
                let ticks = |offset| u64::from(u32_at(value, offset).unwrap_or(0));
                (used_ns, updated_ns) = (ticks(4) * TICK_NS, ticks(8) * TICK_NS);
            }
            _ => {}
        }
    }
    let address = address?;
    let iface = Iface {
        ifindex,
        name: String::new(),
    };
    // A scan of an empty subnet, or a large one, must not grow a list without bound; a little slack keeps the sorting rare.
    if answered {
        let holder = Holder {
            address,
            iface,
            link_address: link_address?,
        };
        found.resolved.push((updated_ns, holder));
        if found.resolved.len() >= 8 * RESOLVED {
            cap_resolved(&mut found.resolved);
        }
    } else {
        neighbours.unresolved.push(Neighbour {
            address,
            iface,
            failed: state & libc::NUD_FAILED != 0,
            used_ns,
            updated_ns,
        });
        if neighbours.unresolved.len() >= 8 * UNRESOLVED {
            cap(&mut neighbours.unresolved);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `struct ndmsg` of interface 7 with an IPv4 address, ages and a hardware address.
    fn message(last: u8, state: u16, used: u32, updated: u32) -> Vec<u8> {
        let mut bytes = vec![libc::AF_INET as u8, 0, 0, 0, 7, 0, 0, 0];
        bytes.extend(state.to_ne_bytes());
        bytes.extend([0, 1, 8, 0, 1, 0, 10, 0, 0, last, 20, 0, 3, 0]);
        bytes.extend([1, used, updated, 3].map(u32::to_ne_bytes).concat());
        bytes.extend([10, 0, 2, 0, 2, 0, 0, 0, 0, last, 0, 0]);
        bytes
    }

    #[test]
    fn ages_are_nanoseconds_and_permanent_ones_are_left_out() {
        let mut found = Found::default();
        add(&mut found, &message(1, libc::NUD_FAILED, 250, 300));
        add(&mut found, &message(2, libc::NUD_REACHABLE, 1, 1));
        add(&mut found, &message(3, libc::NUD_PERMANENT, 1, 1));
        let (neighbours, holders) = found.holders();
        assert_eq!((neighbours.entries_v4, neighbours.entries_v6), (2, 0));
        let [failed] = neighbours.unresolved.as_slice() else {
            panic!("{neighbours:?}")
        };
        assert_eq!(
            (failed.used_ns, failed.updated_ns),
            (2_500_000_000, 3_000_000_000)
        );
        assert!(
            failed.failed && failed.iface.ifindex == 7 && failed.address.to_string() == "10.0.0.1"
        );
        let [holder] = holders.as_slice() else {
            panic!("{holders:?}")
        };
        assert_eq!(holder.address.to_string(), "10.0.0.2");
        assert_eq!(holder.link_address.to_string(), "02:00:00:00:00:02");
    }

    #[test]
    fn those_that_changed_last_are_kept() {
        let mut found = Found::default();
        for age in (0..3000u32).rev() {
            let last = (age % 250) as u8;
            add(&mut found, &message(last, libc::NUD_STALE, 0, age));
            assert!(found.resolved.len() < 8 * RESOLVED);
        }
        cap_resolved(&mut found.resolved);
        assert_eq!(found.resolved[RESOLVED - 1].0, 255 * TICK_NS);
        assert_eq!(found.holders().1.len(), RESOLVED);
    }

    #[test]
    fn those_used_last_are_kept() {
        let mut found = Found::default();
        for age in (0..2000u32).rev() {
            let last = (age % 200) as u8;
            add(&mut found, &message(last, libc::NUD_INCOMPLETE, age, 0));
            assert!(found.neighbours.unresolved.len() < 8 * UNRESOLVED);
        }
        let mut neighbours = found.neighbours;
        cap(&mut neighbours.unresolved);
        assert_eq!(neighbours.entries_v4, 2000);
        assert_eq!(neighbours.unresolved.len(), UNRESOLVED);
        assert_eq!(neighbours.unresolved[63].used_ns, 63 * TICK_NS);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            add(&mut Found::default(), &bytes);
        }
    }
}
