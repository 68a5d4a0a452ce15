//! The table of what a machine needs: one row each, with the reason it is there.

use super::{Purpose, bpf_linker};
use crate::sh;

/// One thing that has to be on the machine.
pub(super) struct Need {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) purpose: Purpose,
    pub(super) install: Install,
    met: Met,
}

/// How to get it.
#[derive(Clone, Copy)]
pub(super) enum Install {
    /// A component of the pinned toolchain.
    Component(&'static str),
    /// The eBPF linker, built here.
    BpfLinker,
    /// A Debian or Ubuntu package.
    Package(&'static str),
}

/// How to tell, quickly, that it is there.
enum Met {
    By(fn() -> bool),
    Programs(&'static [&'static str]),
}

/// Every need. Order is the order of installation.
pub(super) const NEEDS: &[Need] = &[
    Need {
        name: "rust-src",
        why: "the eBPF crate compiles its own `core` for the BPF target",
        purpose: Purpose::Build,
        install: Install::Component("rust-src"),
        met: Met::By(has_rust_src),
    },
    Need {
        name: "bpf-linker",
        why: "links the eBPF programs, with the LLVM of the pinned compiler",
        purpose: Purpose::Build,
        install: Install::BpfLinker,
        met: Met::By(bpf_linker::is_usable),
    },
    package(
        "iproute2",
        &["ip", "tc", "ss"],
        "the lab's network namespaces, links and shapers",
    ),
    package(
        "procps",
        &["sysctl"],
        "the lab reads and sets what its own namespaces are tuned to",
    ),
    package(
        "nftables",
        &["nft"],
        "the lab's packet filters and random loss",
    ),
    package(
        "bpftool",
        &["bpftool"],
        "proves that nothing stays attached",
    ),
    package(
        "strace",
        &["strace"],
        "shows that the agent writes nothing but its output",
    ),
    package("iperf3", &["iperf3"], "bulk transfers"),
    package("nginx-light", &["nginx"], "a real web server to break"),
];

const fn package(name: &'static str, programs: &'static [&'static str], why: &'static str) -> Need {
    Need {
        name,
        why,
        purpose: Purpose::Test,
        install: Install::Package(name),
        met: Met::Programs(programs),
    }
}

impl Need {
    pub(super) fn is_met(&self) -> bool {
        match self.met {
            Met::By(test) => test(),
            Met::Programs(programs) => programs.iter().all(|name| sh::which(name).is_some()),
        }
    }

    /// The package to install for it, where it is one.
    pub(super) fn package(&self) -> Option<&'static str> {
        match self.install {
            Install::Package(package) => Some(package),
            Install::Component(_) | Install::BpfLinker => None,
        }
    }
}

fn has_rust_src() -> bool {
    sh::sysroot().is_ok_and(|sysroot| {
        sysroot
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .is_file()
    })
}
