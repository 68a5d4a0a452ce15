//! A reader of the kernel's type information (BTF): offsets of fields, names of enum values, arguments of tracepoints.
//!
//! Format: <https://docs.kernel.org/bpf/btf.html>. The blob is the kernel's own, and is still read as outside data.

use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes};

/// Where the running kernel keeps its types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Types nest a few levels; a chain this long is a loop in a damaged blob.
const MAX_DEPTH: u32 = 32;

/// Parsed type information.
pub struct Btf {
    types: Vec<Type>,
    strings: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Struct or union: they share a name space in C.
    Aggregate,
    Enum,
    Function,
    Prototype,
    Typedef,
    /// Pointer and qualifiers: what they refer to is all that matters here.
    Reference,
    Other,
}

struct Type {
    kind: Kind,
    name: u32,
    /// Referred type, where there is one.
    target: u32,
    /// Bit offsets carry a bit-field size in their upper byte.
    bitfields: bool,
    members: Vec<Member>,
}

/// A member (name, type, bit offset), an enum value (name, value) or a parameter (name, type).
struct Member {
    name: u32,
    target: u32,
    value: u64,
}

impl Btf {
    /// Reads and parses a BTF file.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let blob = std::fs::read(path).with_context(|| format!("{} can not be read", path.display()))?;
        Self::parse(blob.into()).with_context(|| format!("{} is not valid BTF", path.display()))
    }

    /// Parses a blob in this machine's byte order.
    pub fn parse(blob: Bytes) -> anyhow::Result<Self> {
        let mut header = blob.clone();
        if header.try_get_u16_ne()? != MAGIC {
            bail!("wrong magic number");
        }
        let (_version, _flags) = (header.try_get_u8()?, header.try_get_u8()?);
        let header_length = header.try_get_u32_ne()?;
        let section = |offset: u32, length: u32| -> anyhow::Result<Bytes> {
            let start = header_length as usize + offset as usize;
            let end = start + length as usize;
            if end > blob.len() {
                bail!("a section ends behind the end of the file");
            }
            Ok(blob.slice(start..end))
        };
        let (type_offset, type_length) = (header.try_get_u32_ne()?, header.try_get_u32_ne()?);
        let (string_offset, string_length) = (header.try_get_u32_ne()?, header.try_get_u32_ne()?);
        let types = types(section(type_offset, type_length)?)?;
        let strings = section(string_offset, string_length)?;
        Ok(Self { types, strings })
    }

    /// Byte offset of a member, e.g. `sock` and `__sk_common.skc_dport`; anonymous structs and unions are looked through.
    pub fn offset(&self, aggregate: &str, path: &str) -> Option<u32> {
        let mut at = self.find(Kind::Aggregate, aggregate)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (target, offset) = self.member(at, name, 0)?;
            bits += offset;
            at = target;
        }
        u32::try_from(bits / 8).ok()
    }

    /// Values of an enum with their names.
    pub fn enum_values(&self, name: &str) -> Option<Vec<(u64, String)>> {
        let values = &self.at(self.find(Kind::Enum, name)?)?.members;
        Some(values.iter().filter_map(|value| Some((value.value, self.string(value.name)?.to_owned()))).collect())
    }

    /// Number of arguments that a BTF tracepoint program gets.
    pub fn tracepoint_arguments(&self, name: &str) -> Option<u32> {
        let typedef = self.at(self.find(Kind::Typedef, &format!("btf_trace_{name}"))?)?;
        let pointer = self.at(typedef.target)?;
        let prototype = self.at(pointer.target).filter(|target| target.kind == Kind::Prototype)?;
        // The first parameter is the tracepoint's private data.
        u32::try_from(prototype.members.len()).ok()?.checked_sub(1)
    }

    /// Whether the kernel has a function of this name that is not inlined everywhere.
    pub fn has_function(&self, name: &str) -> bool {
        self.find(Kind::Function, name).is_some()
    }

    /// Id of the first type with this name: later ones of the same name belong to single files. A scan of a few dozen
    /// look-ups at start costs less than an index.
    fn find(&self, kind: Kind, name: &str) -> Option<u32> {
        let found = self.types.iter().position(|candidate| candidate.kind == kind && self.is_named(candidate.name, name))?;
        u32::try_from(found + 1).ok()
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let tail = self.strings.get(offset as usize..).unwrap_or_default();
        tail.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Type id 0 is void and stands for no type.
    fn at(&self, id: u32) -> Option<&Type> {
        self.types.get(id.checked_sub(1)? as usize)
    }

    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u64)> {
        let aggregate = self.aggregate(id, depth)?;
        for member in &aggregate.members {
            let bits = if aggregate.bitfields { member.value & 0x00ff_ffff } else { member.value };
            if self.is_named(member.name, name) {
                return Some((member.target, bits));
            }
            if member.name == 0
                && let Some((target, inner)) = self.member(member.target, name, depth + 1)
            {
                return Some((target, bits + inner));
            }
        }
        None
    }

    /// Looks through typedefs and qualifiers.
    fn aggregate(&self, id: u32, depth: u32) -> Option<&Type> {
        let mut at = self.at(id)?;
        for _ in depth..MAX_DEPTH {
            match at.kind {
                Kind::Aggregate => return Some(at),
                Kind::Typedef | Kind::Reference => at = self.at(at.target)?,
                Kind::Enum | Kind::Function | Kind::Prototype | Kind::Other => return None,
            }
        }
        None
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let tail = self.strings.get(offset as usize..)?;
        let end = tail.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(tail.get(..end)?).ok()
    }
}

/// All types, in the order of their ids.
fn types(mut section: Bytes) -> anyhow::Result<Vec<Type>> {
    let mut types = Vec::new();
    while section.has_remaining() {
        let name = section.try_get_u32_ne()?;
        let info = section.try_get_u32_ne()?;
        let target = section.try_get_u32_ne()?;
        let (count, bitfields) = (info & 0xffff, info >> 31 == 1);
        let (kind, layout) = match info >> 24 & 0x1f {
            2 | 9 | 10 | 11 | 18 => (Kind::Reference, Layout::None),
            3 => (Kind::Other, Layout::Skip(12)),
            4 | 5 => (Kind::Aggregate, Layout::Members),
            6 => (Kind::Enum, Layout::Values),
            7 | 16 => (Kind::Other, Layout::None),
            8 => (Kind::Typedef, Layout::None),
            12 => (Kind::Function, Layout::None),
            13 => (Kind::Prototype, Layout::Parameters),
            1 | 14 | 17 => (Kind::Other, Layout::Skip(4)),
            15 => (Kind::Other, Layout::Skip(12 * count as usize)),
            19 => (Kind::Enum, Layout::Values64),
            unknown => bail!("unknown kind of type {unknown}"),
        };
        let members = layout.read(count, &mut section)?;
        types.push(Type { kind, name, target, bitfields, members });
    }
    Ok(types)
}

/// What follows a type's three words.
enum Layout {
    None,
    Skip(usize),
    Members,
    Parameters,
    Values,
    Values64,
}

impl Layout {
    fn read(&self, count: u32, section: &mut Bytes) -> anyhow::Result<Vec<Member>> {
        let mut members = Vec::new();
        match self {
            Self::None => {}
            Self::Skip(length) => {
                if section.remaining() < *length {
                    bail!("a type ends behind the end of its section");
                }
                section.advance(*length);
            }
            Self::Members => {
                for _ in 0..count {
                    let (name, target) = (section.try_get_u32_ne()?, section.try_get_u32_ne()?);
                    members.push(Member { name, target, value: section.try_get_u32_ne()?.into() });
                }
            }
            Self::Parameters => {
                for _ in 0..count {
                    members.push(Member { name: section.try_get_u32_ne()?, target: section.try_get_u32_ne()?, value: 0 });
                }
            }
            Self::Values => {
                for _ in 0..count {
                    let name = section.try_get_u32_ne()?;
                    members.push(Member { name, target: 0, value: section.try_get_u32_ne()?.into() });
                }
            }
            Self::Values64 => {
                for _ in 0..count {
                    let (name, low) = (section.try_get_u32_ne()?, section.try_get_u32_ne()?);
                    let high = section.try_get_u32_ne()?;
                    members.push(Member { name, target: 0, value: u64::from(high) << 32 | u64::from(low) });
                }
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running() -> Option<Btf> {
        Btf::from_file(Path::new(VMLINUX)).ok()
    }

    /// The kernel's ABI puts these where they are known: `skc_family` lies behind the address pair, the hash and the ports.
    #[test]
    fn finds_fields_through_anonymous_unions() {
        let Some(btf) = running() else {
            return eprintln!("skipped: finds_fields_through_anonymous_unions: this kernel has no BTF");
        };
        assert_eq!(btf.offset("sock", "__sk_common.skc_daddr"), Some(0));
        assert_eq!(btf.offset("sock", "__sk_common.skc_dport"), Some(12));
        assert_eq!(btf.offset("sock", "__sk_common.skc_family"), Some(16));
        assert_eq!(btf.offset("sock", "__sk_common.no_such_field"), None);
        assert_eq!(btf.offset("no_such_struct", "field"), None);
    }

    #[test]
    fn knows_tracepoints_functions_and_enums() {
        let Some(btf) = running() else {
            return eprintln!("skipped: knows_tracepoints_functions_and_enums: this kernel has no BTF");
        };
        assert_eq!(btf.tracepoint_arguments("inet_sock_set_state"), Some(3));
        assert_eq!(btf.tracepoint_arguments("no_such_tracepoint"), None);
        assert!(btf.has_function("tcp_connect"));
        let states = btf.enum_values("sock_type").unwrap_or_default();
        assert!(states.contains(&(1, "SOCK_STREAM".to_owned())), "{states:?}");
    }

    proptest! {
        #[test]
        fn damaged_blobs_are_refused_or_read_but_never_panic(mut blob in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let [first, second, ..] = blob.as_mut_slice() {
                [*first, *second] = MAGIC.to_ne_bytes();
            }
            if let Ok(btf) = Btf::parse(blob.into()) {
                let _unknown = btf.offset("sock", "a.b");
                let _unknown = btf.enum_values("e");
            }
        }
    }
}
