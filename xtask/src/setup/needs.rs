//! The table of what a machine needs: one row each, with the reason it is there.

use std::path::Path;

use super::{Purpose, bpf_linker};
use crate::architecture::{AARCH64, X86_64};
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
    /// A target of the pinned toolchain.
    Target(&'static str),
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
        "ethtool",
        &["ethtool"],
        "what drivers count, to hold the agent's figures against",
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
    package(
        "haproxy",
        &["haproxy"],
        "a real proxy that runs out of ports",
    ),
    package("wrk", &["wrk"], "requests by the hundred at once"),
    package(
        "curl",
        &["curl"],
        "a real client of web servers, with and without TLS",
    ),
    package(
        "openssl",
        &["openssl"],
        "certificates, good ones and bad ones, and both ends of TLS",
    ),
    package(
        "redis-server",
        &["redis-server", "redis-benchmark"],
        "a real server that speaks no HTTP, and its load",
    ),
    package(
        "postgresql",
        &["pg_createcluster", "pgbench"],
        "a real database that speaks TLS, and its load",
    ),
    package("dnsmasq-base", &["dnsmasq"], "a real resolver to break"),
    package("bind9-dnsutils", &["dig"], "a real client of resolvers"),
    package(
        "ngtcp2-server",
        &["gtlsserver"],
        "a real server that speaks QUIC",
    ),
    package("ngtcp2-client", &["gtlsclient"], "its clients"),
    package(
        "tcpdump",
        &["tcpdump"],
        "what is on the wire, to hold the agent's figures against",
    ),
    Need {
        name: "x86_64 musl",
        why: "static programs run on any kernel, without this machine's libraries",
        purpose: Purpose::Vm,
        install: Install::Target(X86_64.target),
        met: Met::By(|| has_target(X86_64.target)),
    },
    for_vm(
        "qemu-system-x86",
        &["qemu-system-x86_64"],
        "boots other kernels",
    ),
    for_vm("dpkg", &["dpkg-deb"], "unpacks kernel packages"),
    for_vm(
        "kmod",
        &["depmod", "modprobe", "insmod"],
        "knows the order of a kernel's modules",
    ),
    for_vm("xz-utils", &["xz"], "unpacks a kernel's modules"),
    Need {
        name: "debian-archive-keyring",
        why: "proves that kernel packages are Debian's",
        purpose: Purpose::Vm,
        install: Install::Package("debian-archive-keyring"),
        met: Met::By(has_keyring),
    },
    Need {
        name: "aarch64 musl",
        why: "static programs of the other architecture",
        purpose: Purpose::Foreign,
        install: Install::Target(AARCH64.target),
        met: Met::By(|| has_target(AARCH64.target)),
    },
    Need {
        purpose: Purpose::Foreign,
        ..package(
            "qemu-system-arm",
            &["qemu-system-aarch64"],
            "boots the other architecture's kernels",
        )
    },
];

/// Keys of the Debian archive.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const fn package(name: &'static str, programs: &'static [&'static str], why: &'static str) -> Need {
    Need {
        name,
        why,
        purpose: Purpose::Test,
        install: Install::Package(name),
        met: Met::Programs(programs),
    }
}

const fn for_vm(name: &'static str, programs: &'static [&'static str], why: &'static str) -> Need {
    Need {
        purpose: Purpose::Vm,
        ..package(name, programs, why)
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
            Install::Component(_) | Install::Target(_) | Install::BpfLinker => None,
        }
    }
}

fn has_keyring() -> bool {
    Path::new(KEYRING).is_file()
}

fn has_target(target: &str) -> bool {
    sh::sysroot().is_ok_and(|sysroot| {
        sysroot
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
    })
}

fn has_rust_src() -> bool {
    sh::sysroot().is_ok_and(|sysroot| {
        sysroot
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .is_file()
    })
}
