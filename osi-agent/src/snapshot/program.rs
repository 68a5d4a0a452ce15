//! Who else stands in a packet's way on an interface: XDP and tc programs, and tc filters.

use serde::{Deserialize, Serialize};

use super::Qdisc;
use crate::scope::Iface;

/// Where on the way through an interface a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hook {
    /// XDP, in the driver or generic.
    Xdp,
    /// A TCX program on the way in (6.6 on).
    TcxIngress,
    /// A TCX program on the way out (6.6 on).
    TcxEgress,
    /// A filter of a `clsact` or `ingress` qdisc, on the way in.
    FilterIngress,
    /// A filter of a `clsact` qdisc, on the way out.
    FilterEgress,
}

impl Hook {
    /// Its name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::TcxIngress => "tcx ingress",
            Self::TcxEgress => "tcx egress",
            Self::FilterIngress => "tc ingress",
            Self::FilterEgress => "tc egress",
        }
    }

    /// The hook of this name.
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::Xdp,
            Self::TcxIngress,
            Self::TcxEgress,
            Self::FilterIngress,
            Self::FilterEgress,
        ]
        .into_iter()
        .find(|hook| hook.name() == name)
    }
}

/// A program or filter of somebody else on an interface: it may drop what passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The interface.
    pub iface: Iface,
    /// Where on it.
    pub hook: Hook,
    /// The kernel's number of an eBPF program, as `bpftool prog` shows it; `None` for a filter of another kind.
    pub id: Option<u32>,
    /// The program's name, or the filter's kind (`flower`, `u32`, …); empty where the kernel does not tell it.
    pub name: String,
}

impl Qdisc {
    /// Whether it is the one that holds tc filters of packets that pass. It queues nothing: what it dropped, a filter dropped.
    pub fn holds_filters(&self) -> bool {
        ["clsact", "ingress"].contains(&self.kind.as_str())
    }
}
