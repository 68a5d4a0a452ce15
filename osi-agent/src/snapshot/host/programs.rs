//! Programs and filters of others on interfaces: `BPF_PROG_QUERY` for TCX, `RTM_GETTFILTER` for clsact, and the names of XDP
//! programs, whose numbers the links tell.
//!
//! Nobody waits for them, so they are looked up seldom: when what is known of the interfaces changes, and every few windows,
//! since nothing tells of a TCX program that comes or goes. Names take `CAP_SYS_ADMIN` (`BPF_PROG_GET_FD_BY_ID`); without it,
//! and where there is no TCX (before 6.6), there is less to tell and nothing is blind: signals do not need it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};

use super::decode::{attribute, attributes, string, u32_at};
use super::link::{Device, NAME_MAX};
use super::netlink::{Family, Request, dump};
use super::{Kept, Scratch};
use crate::host::namespaces::BOUND;
use crate::host::text::clean;
use crate::scope::{Iface, Netns};
use crate::snapshot::{Hook, Program};

/// Programs that are kept per namespace.
const PROGRAMS: usize = 1024;

/// Filters that are kept of a side of an interface.
const FILTERS: usize = 64;

/// Windows for which the answers hold where nothing seems to have changed.
const HOLDS: u32 = 3;

/// What our programs are called: they drop nothing.
const OURS: [&str; 3] = ["osi_tc_ingress", "osi_tc_egress", "osi_xdp"];

/// `struct tcmsg`.
const HEADER: usize = 20;

/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`. An `ingress` qdisc answers to the first, too.
const PARENTS: [(u32, Hook); 2] = [
    (0xffff_fff2, Hook::FilterIngress),
    (0xffff_fff3, Hook::FilterEgress),
];

/// Within the options of a filter of kind `bpf` (uapi/linux/pkt_cls.h).
const TCA_BPF_NAME: u16 = 7;
/// The same.
const TCA_BPF_ID: u16 = 11;

/// What is known of the interfaces of each namespace, by index.
#[derive(Debug, Default)]
pub(super) struct Programs {
    namespaces: HashMap<Netns, BTreeMap<u32, Known>>,
}

#[derive(Debug)]
struct Known {
    /// What it was like when it was asked about.
    sign: Sign,
    /// Windows since then.
    windows: u32,
    programs: Vec<Program>,
}

/// What tells that an interface's programs may have become others.
#[derive(Debug, PartialEq, Eq)]
struct Sign {
    name: String,
    xdp_program: Option<u32>,
    /// What the filters on it dropped, where it can have some.
    filters: Option<u64>,
}

/// Reads who is on the interfaces, or repeats it. The links and queueing disciplines must have been read in the same pass.
pub(super) fn read(netns: &Netns, scratch: &mut Scratch) -> io::Result<Kept<Program>> {
    let Scratch {
        netlink,
        devices,
        filtered,
        programs,
        ..
    } = scratch;
    let mut before = programs.namespaces.remove(netns).unwrap_or_default();
    let (mut now, mut loaded) = (BTreeMap::new(), None);
    for (index, device) in devices.iter() {
        let sign = Sign {
            name: device.name.clone(),
            xdp_program: device.xdp_program,
            filters: filtered.get(index).copied(),
        };
        let known = match before.remove(index) {
            Some(known) if known.sign == sign && known.windows < HOLDS => Known {
                windows: known.windows + 1,
                ..known
            },
            old => Known {
                programs: ask(*index, device, &sign, old, &mut loaded, netlink)?,
                sign,
                windows: 1,
            },
        };
        now.insert(*index, known);
    }
    let mut kept = Kept::new(PROGRAMS);
    for known in now.values() {
        known
            .programs
            .iter()
            .cloned()
            .for_each(|row| kept.push(row));
        kept.omitted += u64::from(known.programs.len() >= FILTERS);
    }
    if programs.namespaces.len() >= BOUND {
        // Most of them are gone; the others are asked anew.
        programs.namespaces.clear();
    }
    programs.namespaces.insert(netns.clone(), now);
    Ok(kept)
}

/// Names of all programs by number, looked up when one is needed.
type Loaded = Option<BTreeMap<u32, String>>;

fn ask(
    index: u32,
    device: &Device,
    sign: &Sign,
    old: Option<Known>,
    loaded: &mut Loaded,
    buffer: &mut Vec<u8>,
) -> io::Result<Vec<Program>> {
    let iface = Iface {
        ifindex: index,
        name: device.name.clone(),
    };
    let mut found: Vec<_> = on_tcx(&iface, device).collect();
    if sign.filters.is_some() {
        found.extend(on_clsact(&iface, buffer)?);
    }
    found.extend(sign.xdp_program.map(|id| {
        let mut olds = old.into_iter().flat_map(|old| old.programs);
        let name = olds
            .find(|old| (old.hook, old.id) == (Hook::Xdp, Some(id)) && !old.name.is_empty())
            .map(|old| old.name);
        let look_up = || loaded.get_or_insert_with(all_loaded).get(&id).cloned();
        Program {
            iface,
            hook: Hook::Xdp,
            id: Some(id),
            name: name.or_else(look_up).unwrap_or_default(),
        }
    }));
    found.retain(|program| !OURS.contains(&program.name.as_str()));
    found.dedup();
    Ok(found)
}

fn all_loaded() -> BTreeMap<u32, String> {
    let known = loaded_programs().map_while(Result::ok);
    known
        .map(|program| (program.id(), name(&program)))
        .collect()
}

/// Refused where there is no TCX, and where its programs can not be named.
fn on_tcx<'a>(iface: &'a Iface, device: &Device) -> impl Iterator<Item = Program> + use<'a> {
    let raw = std::str::from_utf8(&device.raw).unwrap_or_default();
    [
        (Hook::TcxIngress, TcAttachType::Ingress),
        (Hook::TcxEgress, TcAttachType::Egress),
    ]
    .map(|(hook, direction)| {
        let on_it = SchedClassifier::query_tcx(raw, direction)
            .map_or_else(|_| Vec::new(), |(_, on_it)| on_it);
        on_it.into_iter().map(move |program| Program {
            iface: iface.clone(),
            hook,
            id: Some(program.id()),
            name: name(&program),
        })
    })
    .into_iter()
    .flatten()
}

fn name(program: &ProgramInfo) -> String {
    clean(program.name(), NAME_MAX)
}

fn on_clsact(iface: &Iface, buffer: &mut Vec<u8>) -> io::Result<Vec<Program>> {
    let mut all = Vec::new();
    for (parent, hook) in PARENTS {
        let mut body = [0; HEADER];
        body[4..8].copy_from_slice(&iface.ifindex.to_ne_bytes());
        body[12..16].copy_from_slice(&parent.to_ne_bytes());
        let request = Request {
            family: Family::Route,
            kind: libc::RTM_GETTFILTER,
            body: &body,
        };
        let found = dump(request, buffer, Vec::new, |found, payload| {
            found.extend(filter(payload).map(|(id, name)| Program {
                iface: iface.clone(),
                hook,
                id,
                name,
            }));
            // A switch may have a million, and each one that a device holds is asked of it.
            if found.len() < FILTERS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match found {
            Ok(found) => all.extend(found),
            // The interface went, or its qdisc has no such side.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// A message of `RTM_GETTFILTER`: the program's number and name, or the filter's kind. The rows without a handle are no filters.
pub(crate) fn filter(payload: &[u8]) -> Option<(Option<u32>, String)> {
    u32_at(payload, 8).filter(|handle| *handle != 0)?;
    let rest = payload.get(HEADER..)?;
    let kind = string(attribute(rest, libc::TCA_KIND)?);
    let (mut id, mut name) = (None, kind);
    let options = attribute(rest, libc::TCA_OPTIONS).filter(|_| kind == b"bpf");
    for (kind, value) in options.into_iter().flat_map(attributes) {
        match kind {
            TCA_BPF_NAME => name = string(value),
            TCA_BPF_ID => id = u32_at(value, 0),
            _ => {}
        }
    }
    Some((id, clean(name, NAME_MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = filter(&bytes);
        }
    }
}
