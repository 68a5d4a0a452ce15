//! What programs are attached by: of the kernel's types a few, under the ids that they have there.
//!
//! The loader's own reader keeps every member of every type, tens of megabytes. All it does with them is to look up the id of
//! a tracepoint or a function by name, so it is given types that have nothing else.

use std::collections::BTreeMap;

use super::btf::{Btf, typedef_of};
use super::ladder::Attach;
use super::table::PROBES;

/// `BTF_KIND_FWD`: what stands in for every other type.
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;
const FUNCTION: u32 = 12;

/// Version, flags and magic number.
const FIRST_WORD: u32 = 0x0001_eb9f;
const HEADER: u32 = 24;
/// Bytes of a type without members.
const TYPE: u32 = 12;

/// A type: its kind and its name.
type Named = (u32, String);

/// Facts about what the table of probes may be attached to.
#[derive(Debug, Default)]
pub struct Attachable {
    /// Arguments that a program on a tracepoint gets.
    arguments: BTreeMap<&'static str, u32>,
    /// Types by their ids.
    types: BTreeMap<u32, Named>,
}

impl Attachable {
    /// Looks everything up that the table of probes names.
    pub fn find(btf: &Btf) -> Self {
        let mut found = Self::default();
        let variants = PROBES.iter().flat_map(|probe| probe.variants);
        for attach in variants.flat_map(|variant| variant.attach.parts()) {
            match *attach {
                Attach::TracepointBtf(_, name) => found.tracepoint(btf, name),
                Attach::Fentry(_, function) | Attach::Fexit(_, function) => {
                    if let Some(id) = btf.function(function) {
                        found.types.insert(id, (FUNCTION, function.to_owned()));
                    }
                }
                // Parts have no parts.
                Attach::Together(_)
                | Attach::Kprobe(..)
                | Attach::Kretprobe(..)
                | Attach::SockOps(_)
                | Attach::StandIn(_)
                | Attach::Tcx
                | Attach::Clsact
                | Attach::Xdp
                | Attach::Wire(..) => {}
            }
        }
        found
    }

    fn tracepoint(&mut self, btf: &Btf, name: &'static str) {
        let typedef = typedef_of(name);
        if let Some(id) = btf.typedef(&typedef) {
            self.types.insert(id, (TYPEDEF, typedef));
        }
        let arguments = btf.tracepoint_arguments(name);
        self.arguments.extend(arguments.map(|count| (name, count)));
    }

    /// How many arguments a tracepoint has; 0 where the kernel has no such one.
    pub fn arguments(&self, tracepoint: &str) -> u32 {
        self.arguments.get(tracepoint).copied().unwrap_or(0)
    }

    /// A blob of types for the loader.
    pub fn blob(&self) -> Vec<u8> {
        let last = self.types.keys().next_back().copied().unwrap_or(0);
        let mut strings = vec![0];
        let types = TYPE * last;
        let mut blob = Vec::with_capacity((HEADER + types) as usize);
        let mut put =
            |words: [u32; 3]| blob.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        let names = self.types.values().map(|(_, name)| name.len() + 1);
        let strings_length = 1 + names.sum::<usize>() as u32;
        put([FIRST_WORD, HEADER, 0]);
        put([types, types, strings_length]);
        for id in 1..=last {
            let (kind, name) = match self.types.get(&id) {
                Some((kind, name)) => {
                    let at = strings.len() as u32;
                    strings.extend(name.as_bytes());
                    strings.push(0);
                    (*kind, at)
                }
                None => (FORWARD, 0),
            };
            put([name, kind << 24, 0]);
        }
        blob.append(&mut strings);
        blob
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::probe::btf::VMLINUX;

    #[test]
    fn types_keep_their_ids() {
        let typedef = |name: &str| (TYPEDEF, name.to_owned());
        let found = Attachable {
            types: BTreeMap::from([(3, typedef("btf_trace_a")), (7, typedef("btf_trace_b"))]),
            ..Attachable::default()
        };
        let btf = Btf::parse(&found.blob().into()).expect("types");
        assert_eq!(
            (btf.typedef("btf_trace_a"), btf.typedef("btf_trace_b")),
            (Some(3), Some(7))
        );
        assert_eq!(
            (btf.typedef("btf_trace_c"), btf.function("btf_trace_a")),
            (None, None)
        );
    }

    #[test]
    fn without_types_there_is_nothing_to_attach_by() {
        let nothing = Attachable::default();
        let btf = Btf::parse(&nothing.blob().into()).expect("no types");
        assert_eq!((btf.typedef(""), nothing.arguments("kfree_skb")), (None, 0));
    }

    #[test]
    fn the_loader_finds_the_ids_of_the_running_kernel() {
        let Ok(all) = Btf::from_file(Path::new(VMLINUX)) else {
            return eprintln!(
                "skipped: the_loader_finds_the_ids_of_the_running_kernel: this kernel has no BTF"
            );
        };
        let found = Attachable::find(&all);
        assert!(found.arguments("kfree_skb") > 0);
        let few = Btf::parse(&found.blob().into()).expect("types");
        for (id, (kind, name)) in &found.types {
            let same = if *kind == TYPEDEF {
                few.typedef(name)
            } else {
                few.function(name)
            };
            assert_eq!(same, Some(*id), "{name}");
        }
        assert!(aya::Btf::parse(&found.blob(), aya::Endianness::default()).is_ok());
    }
}
