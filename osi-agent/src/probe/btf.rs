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
/// Structs that one member is looked for in; more are a damaged blob whose structs hold each other.
const MAX_LOOKED_INTO: u32 = 1024;
/// Longest name, as the kernel has them (`KSYM_NAME_LEN`).
const MAX_NAME: usize = 512;
/// Bytes of a type without its members.
const HEAD: u32 = 12;

/// Parsed type information: an index over the blob, which is read where it lies. There are 150,000 types.
pub struct Btf {
    /// Where each type lies in the section, in the order of their ids.
    starts: Vec<u32>,
    /// The section of types.
    section: Bytes,
    strings: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Struct or union: they share a name space in C.
    Aggregate,
    Enum,
    Enum64,
    Prototype,
    Typedef,
    Function,
    /// Pointer and qualifiers: what they refer to is all that matters here.
    Reference,
    Other,
}

impl Kind {
    /// The kind by its number in `include/uapi/linux/btf.h`, and the bytes that follow a type of it: fixed ones and ones per
    /// member.
    fn of(number: u32) -> anyhow::Result<(Self, u32, u32)> {
        Ok(match number {
            2 | 9 | 10 | 11 | 18 => (Self::Reference, 0, 0),
            4 | 5 => (Self::Aggregate, 0, 12),
            6 => (Self::Enum, 0, 8),
            19 => (Self::Enum64, 0, 12),
            8 => (Self::Typedef, 0, 0),
            13 => (Self::Prototype, 0, 8),
            12 => (Self::Function, 0, 0),
            7 | 16 => (Self::Other, 0, 0),
            3 => (Self::Other, 12, 0),
            1 | 14 | 17 => (Self::Other, 4, 0),
            15 => (Self::Other, 0, 12),
            unknown => bail!("unknown kind of type {unknown}"),
        })
    }
}

/// A type's three words, and where its members lie in the section.
#[derive(Clone, Copy)]
struct Type {
    kind: Kind,
    name: u32,
    /// Referred type, where there is one.
    target: u32,
    /// Bit offsets carry a bit-field size in their upper byte.
    bitfields: bool,
    members: u32,
    members_at: u32,
}

/// A member (name, type, bit offset), an enum value (name, value) or a parameter (name, type).
struct Member {
    name: u32,
    target: u32,
    value: u64,
}

impl Type {
    /// The three words at a place, and where the next type begins.
    fn read(section: &Bytes, at: u32) -> anyhow::Result<(Self, u32)> {
        let mut rest = section.slice(at as usize..);
        let name = rest.try_get_u32_ne()?;
        let info = rest.try_get_u32_ne()?;
        let target = rest.try_get_u32_ne()?;
        let (kind, fixed, each) = Kind::of(info >> 24 & 0x1f)?;
        let members = info & 0xffff;
        let follows = fixed + each * members;
        if rest.remaining() < follows as usize {
            bail!("a type ends behind the end of its section");
        }
        let members_at = at + HEAD;
        let found = Self {
            kind,
            name,
            target,
            bitfields: info >> 31 == 1,
            members,
            members_at,
        };
        Ok((found, members_at + follows))
    }
}

impl Btf {
    /// Reads and parses a BTF file.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let blob =
            std::fs::read(path).with_context(|| format!("{} can not be read", path.display()))?;
        Self::parse(&blob.into()).with_context(|| format!("{} is not valid BTF", path.display()))
    }

    /// Parses a blob in this machine's byte order.
    pub fn parse(blob: &Bytes) -> anyhow::Result<Self> {
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
        let strings = section(string_offset, string_length)?;
        let section = section(type_offset, type_length)?;
        let starts = index(&section)?;
        Ok(Self {
            starts,
            section,
            strings,
        })
    }

    /// Byte offset of a member, e.g. `sock` and `__sk_common.skc_dport`; anonymous structs and unions are looked through.
    pub fn offset(&self, aggregate: &str, path: &str) -> Option<u32> {
        let mut at = self.find(&[Kind::Aggregate], aggregate)?;
        let (mut bits, mut left) = (0, MAX_LOOKED_INTO);
        for name in path.split('.') {
            let (target, offset) = self.member(at, name, 0, &mut left)?;
            bits += offset;
            at = target;
        }
        u32::try_from(bits / 8).ok()
    }

    /// Values of an enum with their names.
    pub fn enum_values(&self, name: &str) -> Option<Vec<(u64, String)>> {
        let found = self.at(self.find(&[Kind::Enum, Kind::Enum64], name)?)?;
        let values = self.members(&found);
        Some(
            values
                .filter_map(|value| Some((value.value, self.string(value.name)?.to_owned())))
                .collect(),
        )
    }

    /// Number of arguments that a BTF tracepoint program gets.
    pub fn tracepoint_arguments(&self, name: &str) -> Option<u32> {
        let typedef = self.at(self.typedef(&typedef_of(name))?)?;
        let pointer = self.at(typedef.target)?;
        let prototype = self
            .at(pointer.target)
            .filter(|target| target.kind == Kind::Prototype)?;
        // The first parameter is the tracepoint's private data.
        prototype.members.checked_sub(1)
    }

    /// Id of a typedef.
    pub fn typedef(&self, name: &str) -> Option<u32> {
        self.find(&[Kind::Typedef], name)
    }

    /// Id of a function.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.find(&[Kind::Function], name)
    }

    /// Id of the first type with this name: later ones of the same name belong to single files. A scan for each of a few
    /// dozen look-ups at start costs less than an index of names.
    fn find(&self, kinds: &[Kind], name: &str) -> Option<u32> {
        let is_it = |at: &u32| {
            let found = Type::read(&self.section, *at);
            found.is_ok_and(|(found, _)| {
                kinds.contains(&found.kind) && self.is_named(found.name, name)
            })
        };
        let found = self.starts.iter().position(is_it)?;
        u32::try_from(found + 1).ok()
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let tail = self.strings.get(offset as usize..).unwrap_or_default();
        tail.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Type id 0 is void and stands for no type.
    fn at(&self, id: u32) -> Option<Type> {
        let start = self.starts.get(id.checked_sub(1)? as usize)?;
        Some(Type::read(&self.section, *start).ok()?.0)
    }

    fn members(&self, of: &Type) -> impl Iterator<Item = Member> + use<> {
        let Type {
            kind,
            members,
            members_at,
            ..
        } = *of;
        // The index has proven that all members lie within the section.
        let mut rest = self.section.slice(members_at as usize..);
        (0..members).map_while(move |_| {
            let (name, second) = (rest.try_get_u32_ne().ok()?, rest.try_get_u32_ne().ok()?);
            Some(match kind {
                Kind::Aggregate => Member {
                    name,
                    target: second,
                    value: rest.try_get_u32_ne().ok()?.into(),
                },
                Kind::Enum => Member {
                    name,
                    target: 0,
                    value: second.into(),
                },
                Kind::Enum64 => {
                    let high = rest.try_get_u32_ne().ok()?;
                    Member {
                        name,
                        target: 0,
                        value: u64::from(high) << 32 | u64::from(second),
                    }
                }
                Kind::Prototype
                | Kind::Typedef
                | Kind::Function
                | Kind::Reference
                | Kind::Other => Member {
                    name,
                    target: second,
                    value: 0,
                },
            })
        })
    }

    fn member(&self, id: u32, name: &str, depth: u32, left: &mut u32) -> Option<(u32, u64)> {
        *left = left.checked_sub(1)?;
        let aggregate = self.aggregate(id, depth)?;
        for member in self.members(&aggregate) {
            let bits = if aggregate.bitfields {
                member.value & 0x00ff_ffff
            } else {
                member.value
            };
            if self.is_named(member.name, name) {
                return Some((member.target, bits));
            }
            if member.name == 0
                && let Some((target, inner)) = self.member(member.target, name, depth + 1, left)
            {
                return Some((target, bits + inner));
            }
        }
        None
    }

    /// Looks through typedefs and qualifiers.
    fn aggregate(&self, id: u32, depth: u32) -> Option<Type> {
        let mut at = self.at(id)?;
        for _ in depth..MAX_DEPTH {
            match at.kind {
                Kind::Aggregate => return Some(at),
                Kind::Typedef | Kind::Reference => at = self.at(at.target)?,
                Kind::Enum | Kind::Enum64 | Kind::Prototype | Kind::Function | Kind::Other => {
                    return None;
                }
            }
        }
        None
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let tail = self.strings.get(offset as usize..)?;
        let end = tail.iter().take(MAX_NAME).position(|byte| *byte == 0)?;
        std::str::from_utf8(tail.get(..end)?).ok()
    }
}

/// Name of the type that stands for a tracepoint.
pub fn typedef_of(tracepoint: &str) -> String {
    format!("btf_trace_{tracepoint}")
}

/// Where all types lie, in the order of their ids.
fn index(section: &Bytes) -> anyhow::Result<Vec<u32>> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while (at as usize) < section.len() {
        let (_, next) = Type::read(section, at)?;
        starts.push(at);
        at = next;
    }
    Ok(starts)
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
            return eprintln!(
                "skipped: finds_fields_through_anonymous_unions: this kernel has no BTF"
            );
        };
        assert_eq!(btf.offset("sock", "__sk_common.skc_daddr"), Some(0));
        assert_eq!(btf.offset("sock", "__sk_common.skc_dport"), Some(12));
        assert_eq!(btf.offset("sock", "__sk_common.skc_family"), Some(16));
        assert_eq!(btf.offset("sock", "__sk_common.no_such_field"), None);
        assert_eq!(btf.offset("no_such_struct", "field"), None);
    }

    #[test]
    fn knows_tracepoints_and_enums() {
        let Some(btf) = running() else {
            return eprintln!("skipped: knows_tracepoints_and_enums: this kernel has no BTF");
        };
        assert_eq!(btf.tracepoint_arguments("inet_sock_set_state"), Some(3));
        assert_eq!(btf.tracepoint_arguments("no_such_tracepoint"), None);
        let states = btf.enum_values("sock_type").unwrap_or_default();
        assert!(
            states.contains(&(1, "SOCK_STREAM".to_owned())),
            "{states:?}"
        );
    }

    proptest! {
        #[test]
        fn damaged_blobs_are_refused_or_read_but_never_panic(mut blob in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let [first, second, ..] = blob.as_mut_slice() {
                [*first, *second] = MAGIC.to_ne_bytes();
            }
            if let Ok(btf) = Btf::parse(&blob.into()) {
                let _unknown = btf.offset("sock", "a.b");
                let _unknown = btf.enum_values("e");
            }
        }
    }
}
