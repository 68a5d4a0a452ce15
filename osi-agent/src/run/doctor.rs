//! `osi-agent doctor`: tries everything for a moment, tells what happened, leaves nothing.

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};

use super::session::Session;
use crate::config::{DoctorArgs, Exit, Settings};
use crate::event::Clock;
use crate::host::text::clean;
use crate::layer::signals;
use crate::output::doctor::{
    Capability, Check, DoctorReport, ForeignProgram, Reader, XdpRisk, render,
};
use crate::output::glyphs::Glyphs;
use crate::output::json::Lines;
use crate::output::stdout::print;
use crate::probe::preflight;
use crate::snapshot::Link;

/// Longest driver name, in characters.
const NAME_MAX: usize = 64;

/// `osi-agent doctor`.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let session = Session::open(Settings::default())?;
    let report = report(&session);
    let host = session.host().to_owned();
    session.close();
    let text = if args.json {
        Lines::new(host).doctor(&Clock::timestamp(), &report)
    } else {
        render(&report, Glyphs::of_environment()).into_bytes()
    };
    print(&text)?;
    Ok(Exit::Done)
}

fn report(session: &Session) -> DoctorReport {
    let effective = preflight::effective_capabilities();
    let missing = preflight::missing_capabilities(effective);
    let capability = |(name, needed_for): (&str, &str)| Capability {
        name: name.to_owned(),
        held: !missing.contains(&name),
        needed_for: needed_for.to_owned(),
    };
    let home = session.home_links();
    DoctorReport {
        kernel: session.kernel_release().to_owned(),
        btf: Check {
            ok: true,
            detail: crate::probe::btf::VMLINUX.to_owned(),
        },
        lockdown: preflight::lockdown(),
        uid: rustix::process::geteuid().as_raw(),
        capabilities: preflight::NEEDS.iter().copied().map(capability).collect(),
        probes: session.probes().to_vec(),
        readers: readers(session),
        foreign: foreign(session, home),
        xdp: home
            .iter()
            .filter(|link| !link.loopback)
            .map(xdp_risk)
            .collect(),
    }
}

/// Readers that feed signals, with what was blind in the first pass.
fn readers(session: &Session) -> Vec<Reader> {
    let blind = session.blind();
    let probes = session.probes();
    let mut readers: Vec<Reader> = Vec::new();
    for signal in signals() {
        for feeder in signal
            .fed_by
            .iter()
            .filter(|feeder| probes.iter().all(|probe| probe.name != **feeder))
        {
            let found = readers.iter().position(|reader| reader.name == *feeder);
            let index = found.unwrap_or_else(|| {
                let reason = blind
                    .iter()
                    .find(|row| row.what == *feeder)
                    .map(|row| row.why.clone());
                readers.push(Reader {
                    name: (*feeder).to_owned(),
                    ok: reason.is_none(),
                    reason,
                    feeds: Vec::new(),
                });
                readers.len() - 1
            });
            readers[index].feeds.push(signal.id.to_owned());
        }
    }
    readers
}

/// Programs of others on the kinds of hooks that we use: by interface where the kernel tells, else by kind.
fn foreign(session: &Session, links: &[Link]) -> Option<Vec<ForeignProgram>> {
    let own = session.own_programs();
    let mut found: Vec<ForeignProgram> = Vec::new();
    for link in links {
        for (hook, direction) in [
            ("tcx ingress", TcAttachType::Ingress),
            ("tcx egress", TcAttachType::Egress),
        ] {
            // Refused before 6.6, where there is no TCX to be on.
            let Ok((_, programs)) = SchedClassifier::query_tcx(&link.iface.name, direction) else {
                continue;
            };
            for program in programs
                .iter()
                .filter(|program| !own.contains(&program.id()))
            {
                found.push(ForeignProgram {
                    hook: hook.to_owned(),
                    iface: Some(link.iface.name.clone()),
                    id: program.id(),
                    name: program.name_as_str().unwrap_or_default().to_owned(),
                });
            }
        }
    }
    for program in loaded_programs() {
        let program = program.ok()?;
        // Numbers of the kernel's own interface (`enum bpf_prog_type`), which the library does not export by name.
        let hook = match program.program_type() as u32 {
            3 => "tc",
            6 => "xdp",
            13 => "sock_ops",
            _ => continue,
        };
        let known =
            own.contains(&program.id()) || found.iter().any(|other| other.id == program.id());
        if !known {
            let name = program.name_as_str().unwrap_or_default().to_owned();
            found.push(ForeignProgram {
                hook: hook.to_owned(),
                iface: None,
                id: program.id(),
                name,
            });
        }
    }
    Some(found)
}

/// What is known about native XDP by kind of device; hardware drivers differ too much to promise anything.
fn xdp_risk(link: &Link) -> XdpRisk {
    let advice = match link.kind.as_deref() {
        Some("veth") => {
            "native XDP on veth cuts bulk TCP to a fifth (an empty program); --xdp auto leaves it alone"
        }
        Some(_) => "a software device: native XDP brings nothing here; --xdp auto leaves it alone",
        None => {
            "attaching native XDP may reset the link, halve the queues or be refused above some MTU, by driver; --xdp auto leaves it alone"
        }
    };
    XdpRisk {
        iface: link.iface.name.clone(),
        driver: link.kind.clone().or_else(|| driver(&link.iface.name)),
        advice: advice.to_owned(),
    }
}

/// Driver of a hardware interface, as sysfs names it.
fn driver(iface: &str) -> Option<String> {
    let target = std::fs::read_link(format!("/sys/class/net/{iface}/device/driver")).ok()?;
    Some(clean(target.file_name()?.as_encoded_bytes(), NAME_MAX))
}
