//! What the running kernel is: its version, types, the names behind its numbers, and its functions.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use osi_common::drop::{UNNAMED, caller, short_name};
use osi_common::occurrence::Key;
use osi_common::offsets::Offsets;

use super::attachable::Attachable;
use super::btf::{Btf, VMLINUX};

/// Enums that hold drop reasons: the core one and those of the subsystems, whose values carry the subsystem in the upper half.
const DROP_REASON_ENUMS: &[&str] = &[
    "skb_drop_reason",
    "qdisc_drop_reason",
    "mac80211_drop_reason",
    "ovs_drop_reason",
];
/// What names the room in front of a function that nothing runs in: half of the list, where the kernel is built with it.
const PADDING: &str = "__pfx_";
/// What every reset reason's name starts with.
const RESET_REASON_PREFIX: &str = "SK_RST_REASON_";

/// Facts about the running kernel, resolved once at start and by name.
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// What programs are attached by, or why no types can be read. All other types are forgotten once they are looked at.
    pub attachable: Result<Attachable, String>,
    /// Offsets of the fields that the programs read.
    pub offsets: Offsets,
    /// The names behind its numbers.
    pub names: Names,
}

/// The names behind the kernel's numbers.
#[derive(Default)]
pub struct Names {
    drop_reasons: HashMap<u32, Arc<str>>,
    reset_reasons: HashMap<u32, Arc<str>>,
    symbols: Symbols,
}

/// Kernel functions by address, from `/proc/kallsyms`.
#[derive(Default)]
pub(crate) struct Symbols {
    /// Start address and position of the name in `text`, in order of addresses.
    starts: Vec<(u64, u32)>,
    text: String,
}

impl Kernel {
    /// Looks at the running kernel. Nothing here fails: what is missing is missing, and the probes say so.
    pub fn read() -> Self {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let btf = Btf::from_file(Path::new(VMLINUX)).map_err(|error| format!("{error:#}"));
        let offsets = btf.as_ref().map_or(Offsets::NONE, |btf| {
            Offsets::resolve(|aggregate, path| btf.offset(aggregate, path))
        });
        let names = Names::read(btf.as_ref().ok());
        Self {
            release,
            attachable: btf.map(|btf| Attachable::find(&btf)),
            offsets,
            names,
        }
    }
}

impl Names {
    fn read(btf: Option<&Btf>) -> Self {
        let mut names = Self {
            symbols: Symbols::read(),
            ..Self::default()
        };
        let Some(btf) = btf else { return names };
        for list in DROP_REASON_ENUMS {
            names.drop_reasons.extend(named(btf, list, short_name));
        }
        if names.drop_reasons.is_empty() {
            names.drop_reasons = reasons_of_format(&kfree_skb_format());
        }
        names
            .reset_reasons
            .extend(named(btf, "sk_rst_reason", |name| {
                name.strip_prefix(RESET_REASON_PREFIX).unwrap_or(name)
            }));
        names
    }

    /// A drop reason's name without its prefix; `other` for what was counted by kind only; `reason#N` where the kernel has none for it, never a guess.
    ///
    /// Before 5.17 the kernel specifies none, and 5.17 hardly any: the function that freed the packet stands in for it where it
    /// frees for one only. What the packet itself tells is asked before 5.17 only.
    pub fn drop_reason(&self, code: u32, function: &str) -> Arc<str> {
        if code == Key::OTHER {
            return "other".into();
        }
        if self.is_nameless() {
            return caller::only_reason(function, code)
                .unwrap_or(UNNAMED)
                .into();
        }
        match self.drop_reasons.get(&code) {
            Some(name) if **name == *UNNAMED => {
                caller::only_reason(function, 0).map_or_else(|| name.clone(), Arc::from)
            }
            Some(name) => caller::meant(function, name).map_or_else(|| name.clone(), Arc::from),
            None => format!("reason#{code}").into(),
        }
    }

    /// The number of a drop reason, if the kernel has it.
    pub fn drop_reason_number(&self, name: &str) -> Option<u32> {
        let mut all = self.drop_reasons.iter();
        all.find_map(|(number, found)| (&**found == name).then_some(*number))
    }

    /// Whether the kernel names no reason of any drop (before 5.17).
    pub fn is_nameless(&self) -> bool {
        self.drop_reasons.is_empty()
    }

    /// A reset reason's name; `reason#N` where the kernel has none for it, `None` where it gives no reasons at all.
    pub fn reset_reason(&self, code: u32) -> Option<Arc<str>> {
        if self.reset_reasons.is_empty() {
            return None;
        }
        Some(
            self.reset_reasons
                .get(&code)
                .cloned()
                .unwrap_or_else(|| format!("reason#{code}").into()),
        )
    }

    /// The function that an address lies in; empty where symbols can not be read.
    pub fn function(&self, address: u64) -> Arc<str> {
        self.symbols.find(address).unwrap_or_default().into()
    }
}

/// The text of the tracepoint, which names its reasons where the types do not; empty where tracefs is not mounted.
fn kfree_skb_format() -> String {
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let read = |root: &str| std::fs::read_to_string(format!("{root}/events/skb/kfree_skb/format"));
    roots
        .into_iter()
        .find_map(|root| read(root).ok())
        .unwrap_or_default()
}

/// The pairs `{ 2, "NOT_SPECIFIED" }` of a tracepoint's print format.
pub(crate) fn reasons_of_format(format: &str) -> HashMap<u32, Arc<str>> {
    let pairs = format.split('{').skip(1).filter_map(|rest| {
        let (number, name) = rest.split('}').next()?.split_once(',')?;
        let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some((number.trim().parse().ok()?, short_name(name).into()))
    });
    pairs.collect()
}

fn named(btf: &Btf, list: &str, short: fn(&str) -> &str) -> impl Iterator<Item = (u32, Arc<str>)> {
    let values = btf.enum_values(list).unwrap_or_default();
    values
        .into_iter()
        .filter_map(move |(value, name)| Some((u32::try_from(value).ok()?, short(&name).into())))
}

impl Symbols {
    /// Those of the running kernel; none where they can not be read. The text is several times what is kept of it.
    fn read() -> Self {
        File::open("/proc/kallsyms").map_or_else(
            |_| Self::default(),
            |file| Self::parse(BufReader::new(file)),
        )
    }

    /// Keeps the functions; addresses are all zero for readers without `CAP_SYSLOG`, and then nothing is kept.
    pub(crate) fn parse(kallsyms: impl BufRead) -> Self {
        let mut symbols = Self::default();
        for line in kallsyms.lines().map_while(Result::ok) {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            let is_function = matches!(kind, "t" | "T" | "w" | "W");
            if address == 0 || !is_function || name.starts_with(PADDING) {
                continue;
            }
            symbols.starts.push((address, symbols.text.len() as u32));
            symbols.text.push_str(name);
            symbols.text.push('\n');
        }
        symbols.starts.sort_unstable();
        symbols.starts.shrink_to_fit();
        symbols.text.shrink_to_fit();
        symbols
    }

    /// Compilers append `.isra.0`, `.constprop.0`, `.cold`: those are the same function to a person.
    pub(crate) fn find(&self, address: u64) -> Option<&str> {
        let index = self
            .starts
            .partition_point(|(start, _)| *start <= address)
            .checked_sub(1)?;
        let name = self
            .text
            .get(self.starts.get(index)?.1 as usize..)?
            .lines()
            .next()?;
        name.split('.').next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_functions() {
        let symbols = Symbols::parse(
            &b"ffffffff81000000 T first\nffffffff81000100 t second.isra.0\nffffffff81000180 d data\nffffffff810001f0 t __pfx_third\nffffffff81000200 T third\t[module]\n0000000000000000 T hidden\n"[..],
        );
        assert_eq!(symbols.find(0xffff_ffff_8100_0000), Some("first"));
        assert_eq!(symbols.find(0xffff_ffff_8100_01ff), Some("second"));
        assert_eq!(symbols.starts.len(), 3);
        assert_eq!(symbols.find(0xffff_ffff_8100_0200), Some("third"));
        assert_eq!(symbols.find(0xffff_ffff_8000_0000), None);
    }

    #[test]
    fn a_tracepoint_names_its_reasons() {
        let format = r#"print fmt: "skbaddr=%p reason: %s", REC->skbaddr, __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" }, { 0x7, "odd" }, { 9 })"#;
        let reasons = reasons_of_format(format);
        assert_eq!(reasons.len(), 2);
        assert_eq!(&*reasons[&3], "NO_SOCKET");
        assert!(reasons_of_format("").is_empty());
    }

    #[test]
    fn unknown_numbers_are_shown_as_numbers() {
        let mut names = Names::default();
        assert_eq!(&*names.drop_reason(0, "tcp_v4_rcv"), "NOT_SPECIFIED");
        assert_eq!(&*names.drop_reason(0, "nf_hook_slow"), "NETFILTER_DROP");
        names.drop_reasons.insert(3, "NO_SOCKET".into());
        // As 5.17 has it.
        names.drop_reasons.insert(1, UNNAMED.into());
        assert_eq!(&*names.drop_reason(1, "nf_hook_slow"), "NETFILTER_DROP");
        assert_eq!(&*names.drop_reason(1, "ip_forward"), UNNAMED);
        assert_eq!(&*names.drop_reason(3, "nf_hook_slow"), "NO_SOCKET");
        assert_eq!(&*names.drop_reason(4711, "nf_hook_slow"), "reason#4711");
        names.drop_reasons.insert(5, "UNHANDLED_PROTO".into());
        assert_eq!(&*names.drop_reason(5, "ip6_rcv_core"), "IP_INHDR");
        let unhandled = names.drop_reason(5, "__netif_receive_skb_core");
        assert_eq!(&*unhandled, "UNHANDLED_PROTO");
    }
}
