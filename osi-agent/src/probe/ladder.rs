//! What a row of the table of probes is made of.

use osi_common::wire::Protocol;

use super::{ProbeState, ProbeStatus};

/// A thing to be learned from the kernel.
#[derive(Debug)]
pub struct Probe {
    /// Stable name in every output; signals name it in `fed_by`.
    pub name: &'static str,
    /// Ways to learn it, in order of preference.
    pub variants: &'static [Variant],
    /// Fields that all variants read, as named in `osi_common::offsets`. Those that are missing make it unavailable.
    pub fields: &'static [&'static str],
    /// What it feeds: signals and event kinds.
    pub feeds: &'static [&'static str],
}

impl Probe {
    /// How it stands before any variant was tried, or when none can be.
    pub fn unavailable(&self, reason: Option<String>) -> ProbeStatus {
        ProbeStatus {
            name: self.name.to_owned(),
            state: ProbeState::Unavailable,
            variant: None,
            measures: None,
            reason,
            feeds: self.feeds.iter().map(|feed| (*feed).to_owned()).collect(),
        }
    }
}

/// One way to learn it.
#[derive(Debug)]
pub struct Variant {
    /// Name in every output.
    pub name: &'static str,
    /// How the program is attached.
    pub attach: Attach,
    /// What it measures, where variants differ.
    pub measures: Option<&'static str>,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Attach {
    /// BTF tracepoint: (program, tracepoint).
    TracepointBtf(&'static str, &'static str),
    /// Several that only tell something together: all of them, or none.
    Together(&'static [Self]),
    /// Function entry by trampoline: (program, function).
    Fentry(&'static str, &'static str),
    /// Function entry by breakpoint: (program, function).
    Kprobe(&'static str, &'static str),
    /// Function exit by trampoline: (program, function).
    Fexit(&'static str, &'static str),
    /// Function exit by breakpoints at entry and end: (program at entry, program at the end, function).
    Kretprobe(&'static str, &'static str, &'static str),
    /// Socket callbacks of the root cgroup: program.
    SockOps(&'static str),
    /// No program of its own: another probe, named here, stands in.
    StandIn(&'static str),
    /// tc ingress and egress on each chosen interface, as TCX links (since 6.6).
    Tcx,
    /// The same as filters of a clsact qdisc.
    Clsact,
    /// XDP on each chosen interface.
    Xdp,
    /// What the tc programs hand the packets of a protocol to: program, protocol.
    Wire(&'static str, Protocol),
}

impl Attach {
    /// What has to be attached, one by one.
    pub fn parts(&self) -> &[Self] {
        if let Self::Together(parts) = self {
            parts
        } else {
            core::slice::from_ref(self)
        }
    }

    /// Whether it attaches this program.
    pub fn has(&self, program: &str) -> bool {
        match self {
            Self::TracepointBtf(name, _)
            | Self::SockOps(name)
            | Self::Fentry(name, _)
            | Self::Fexit(name, _)
            | Self::Kprobe(name, _)
            | Self::Wire(name, _) => *name == program,
            Self::Kretprobe(entry, end, _) => [*entry, *end].contains(&program),
            Self::Together(parts) => parts.iter().any(|part| part.has(program)),
            Self::Tcx | Self::Clsact => program.starts_with("osi_tc"),
            Self::Xdp => program.starts_with("osi_xdp"),
            Self::StandIn(_) => false,
        }
    }
}
