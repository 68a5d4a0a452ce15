//! The neighbour table: `RTM_GETNEIGH`.

use std::io;
use std::ops::ControlFlow;

use super::Scratch;
use super::decode::{address, attributes, u8_at, u16_at, u32_at};
use super::netlink::{Family, Request, dump};
use crate::scope::Iface;
use crate::snapshot::{Neighbour, Neighbours};

/// Unresolved neighbours that are kept per namespace, those used last first: somebody wants them now.
const UNRESOLVED: usize = 64;

/// `struct ndmsg`.
const HEADER: usize = 12;

/// Ages come in clock ticks of 1/100 s (`USER_HZ`) on every architecture that Linux still has but Alpha.
const TICK_NS: u64 = 10_000_000;

/// `NTF_EXT_LEARNED`.
const EXTERNALLY_LEARNED: u8 = 0x10;

/// Counts the entries that `gc_thresh3` limits and keeps those in state FAILED or INCOMPLETE. The links must have been
/// read in the same pass: they name the interfaces.
pub(super) fn read(scratch: &mut Scratch) -> io::Result<Neighbours> {
    let Scratch {
        netlink, devices, ..
    } = scratch;
    let request = Request {
        family: Family::Route,
        kind: libc::RTM_GETNEIGH,
        body: &[0; HEADER],
    };
    let mut neighbours = dump(
        request,
        netlink,
        Neighbours::default,
        |neighbours, payload| {
            add(neighbours, payload);
            ControlFlow::Continue(())
        },
    )?;
    cap(&mut neighbours.unresolved);
    for neighbour in &mut neighbours.unresolved {
        if let Some(device) = devices.get(&neighbour.iface.ifindex) {
            neighbour.iface.name.clone_from(&device.name);
        }
    }
    Ok(neighbours)
}

fn cap(unresolved: &mut Vec<Neighbour>) {
    unresolved.sort_by_key(|neighbour| (neighbour.used_ns, neighbour.address));
    unresolved.truncate(UNRESOLVED);
}

pub(crate) fn add(neighbours: &mut Neighbours, payload: &[u8]) -> Option<()> {
    let (family, ifindex) = (i32::from(u8_at(payload, 0)?), u32_at(payload, 4)?);
    let (state, flags) = (u16_at(payload, 8)?, u8_at(payload, 10)?);
    // neigh_alloc() leaves these two out of the number that it compares with gc_thresh3.
    let counts = state & libc::NUD_PERMANENT == 0 && flags & EXTERNALLY_LEARNED == 0;
    match family {
        libc::AF_INET => neighbours.entries_v4 += u64::from(counts),
        libc::AF_INET6 => neighbours.entries_v6 += u64::from(counts),
        _ => return None,
    }
    if state & (libc::NUD_FAILED | libc::NUD_INCOMPLETE) == 0 {
        return None;
    }
    let (mut found, mut used_ns, mut updated_ns) = (None, 0, 0);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            libc::NDA_DST => found = address(value),
            // `struct nda_cacheinfo`: confirmed, used, updated, refcnt.
            libc::NDA_CACHEINFO => {
                let ticks = |offset| u64::from(u32_at(value, offset).unwrap_or(0));
                (used_ns, updated_ns) = (ticks(4) * TICK_NS, ticks(8) * TICK_NS);
            }
            _ => {}
        }
    }
    let iface = Iface {
        ifindex,
        name: String::new(),
    };
    let failed = state & libc::NUD_FAILED != 0;
    neighbours.unresolved.push(Neighbour {
        address: found?,
        iface,
        failed,
        used_ns,
        updated_ns,
    });
    // A scan of an empty subnet must not grow the list without bound; a little slack keeps the sorting rare.
    if neighbours.unresolved.len() >= 8 * UNRESOLVED {
        cap(&mut neighbours.unresolved);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `struct ndmsg` of interface 7 with an IPv4 address and ages.
    fn message(last: u8, state: u16, used: u32, updated: u32) -> Vec<u8> {
        let mut bytes = vec![libc::AF_INET as u8, 0, 0, 0, 7, 0, 0, 0];
        bytes.extend(state.to_ne_bytes());
        bytes.extend([0, 1, 8, 0, 1, 0, 10, 0, 0, last, 20, 0, 3, 0]);
        bytes.extend([1, used, updated, 3].map(u32::to_ne_bytes).concat());
        bytes
    }

    #[test]
    fn ages_are_nanoseconds_and_only_unresolved_ones_are_kept() {
        let mut neighbours = Neighbours::default();
        add(&mut neighbours, &message(1, libc::NUD_FAILED, 250, 300));
        add(&mut neighbours, &message(2, libc::NUD_REACHABLE, 1, 1));
        add(&mut neighbours, &message(3, libc::NUD_PERMANENT, 1, 1));
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
    }

    #[test]
    fn those_used_last_are_kept() {
        let mut neighbours = Neighbours::default();
        for age in (0..2000u32).rev() {
            add(
                &mut neighbours,
                &message((age % 200) as u8, libc::NUD_INCOMPLETE, age, 0),
            );
            assert!(neighbours.unresolved.len() < 8 * UNRESOLVED);
        }
        cap(&mut neighbours.unresolved);
        assert_eq!(neighbours.entries_v4, 2000);
        assert_eq!(neighbours.unresolved.len(), UNRESOLVED);
        assert_eq!(neighbours.unresolved[63].used_ns, 63 * TICK_NS);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            add(&mut Neighbours::default(), &bytes);
        }
    }
}
