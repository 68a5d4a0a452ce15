//! What must hold before anything is measured; each failure has its exit code and a sentence that says what to do.

use crate::config::{Exit, Failure, Settings};
use crate::probe::{Kernel, ProbeState, ProbeStatus, memory, preflight};
use crate::snapshot::NetnsState;

/// The capabilities that `osi-agent COMMAND` can not do without.
pub(super) fn privileges(command: &str) -> Result<(), Failure> {
    let missing = preflight::missing_capabilities(preflight::effective_capabilities());
    if missing.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "osi-agent".into());
    let grants = preflight::required_capabilities()
        .map(|capability| capability.name.to_lowercase())
        .collect::<Vec<_>>()
        .join(",");
    Err(Failure::new(
        Exit::Privilege,
        format!(
            "{} missing: run `sudo {program} {command}`, or grant it once with `sudo setcap {grants}+ep {program}` (other network namespaces stay blind without CAP_SYS_PTRACE and CAP_SYS_ADMIN)",
            missing.join(", "),
            program = program.display(),
        ),
    ))
}

/// Enough memory to start: the kernel would kill the agent half way, and nobody would know why.
pub(super) fn memory() -> Result<(), Failure> {
    let Some(memory::Tight { limit, needed }) = memory::tight() else {
        return Ok(());
    };
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Failure::new(
        Exit::Failed,
        format!(
            "the memory limit of this process's cgroup is {} MiB, and starting takes {} MiB for a moment: raise it (`MemoryMax=` of the unit, `--memory` of the container)",
            limit >> 20,
            mib(needed),
        ),
    ))
}

/// The kernel's types, by which every field is found.
pub(super) fn types(kernel: &Kernel) -> Result<(), Failure> {
    match &kernel.attachable {
        Ok(_) => Ok(()),
        Err(why) => Err(Failure::new(
            Exit::Kernel,
            format!(
                "this kernel shows no types (CONFIG_DEBUG_INFO_BTF, Linux 5.10 or newer is needed): {why}"
            ),
        )),
    }
}

/// Interfaces that `--iface` and `--link-speed` name.
pub(super) fn ifaces(
    settings: &Settings,
    namespaces: &[NetnsState],
    home: u32,
) -> Result<(), Failure> {
    let links: Vec<_> = namespaces
        .iter()
        .filter(|state| state.netns.inode == home)
        .flat_map(|state| state.links.iter().map(|link| link.iface.name.as_str()))
        .collect();
    let speeds = settings.link_speeds.iter().map(|speed| &speed.iface);
    match settings
        .ifaces
        .iter()
        .chain(speeds)
        .find(|wanted| !links.contains(&wanted.as_str()))
    {
        None => Ok(()),
        Some(unknown) => Err(Failure::usage(format!(
            "there is no interface {unknown}; there are {}",
            links.join(", ")
        ))),
    }
}

/// Anything at work that measures; a stand-in does not.
pub(super) fn probes(statuses: &[ProbeStatus]) -> Result<(), Failure> {
    if statuses
        .iter()
        .any(|status| status.state == ProbeState::Active && status.name != "tcp_connect")
    {
        return Ok(());
    }
    let reasons: Vec<_> = statuses
        .iter()
        .filter_map(|status| Some(format!("{}: {}", status.name, status.reason.as_ref()?)))
        .collect();
    Err(Failure::new(
        Exit::Kernel,
        format!(
            "this kernel runs none of the probes: {}",
            reasons.join("; ")
        ),
    ))
}
