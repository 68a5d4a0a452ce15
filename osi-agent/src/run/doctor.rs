//! `osi-agent doctor`: tries everything for a moment, tells what happened, leaves nothing.

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};

use super::checks;
use super::session::{Session, host_name, readers_deadline};
use crate::config::{DoctorArgs, Exit, Failure, Settings};
use crate::event::Clock;
use crate::host::namespaces::NetnsScope;
use crate::host::text::clean;
use crate::layer::signals;
use crate::output::doctor::{
    Capability, Check, DoctorReport, ForeignProgram, Reader, XdpRisk, render,
};
use crate::output::glyphs::Glyphs;
use crate::output::json::Lines;
use crate::output::stdout::print;
use crate::probe::btf::VMLINUX;
use crate::probe::table::PROBES;
use crate::probe::{Kernel, ProbeStatus, preflight};
use crate::snapshot::sampler::Sampler;
use crate::snapshot::{Blind, Link};

/// Longest driver name, in characters.
const NAME_MAX: usize = 64;

/// `osi-agent doctor`: the whole report, whatever is missing, and then the exit code of what is.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let (report, failure) = match Session::open(Settings::default(), "doctor") {
        Ok(session) => {
            let report = of_session(&session);
            let failure = checks::probes(session.probes()).err();
            session.close();
            (report, failure)
        }
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) if matches!(failure.exit, Exit::Privilege | Exit::Kernel) => {
                (without_session()?, Some(failure))
            }
            Ok(failure) => return Err(failure.into()),
            Err(error) => return Err(error),
        },
    };
    let text = if args.json {
        Lines::new(host_name()).doctor(&Clock::timestamp(), &report)
    } else {
        render(&report, Glyphs::of_environment()).into_bytes()
    };
    print(&text)?;
    failure.map_or(Ok(Exit::Done), |failure| Err(failure.into()))
}

fn of_session(session: &Session) -> DoctorReport {
    let btf = Check {
        ok: true,
        detail: VMLINUX.to_owned(),
    };
    let probes = session.probes().to_vec();
    let seen = Seen {
        probes,
        unread: session.unread(),
        links: session.home_links(),
        own_programs: &session.own_programs(),
    };
    report(session.kernel_release(), btf, seen)
}

/// Where nothing can be attached: what the readers see all the same, and every probe with what it lacks.
fn without_session() -> anyhow::Result<DoctorReport> {
    let missing = preflight::missing_capabilities(preflight::effective_capabilities());
    let kernel = Kernel::read();
    let (btf, why) = match &kernel.attachable {
        Ok(_) => (VMLINUX.to_owned(), String::new()),
        Err(why) => (why.clone(), format!("the kernel shows no types: {why}")),
    };
    let btf = Check {
        ok: kernel.attachable.is_ok(),
        detail: btf,
    };
    let reason = if missing.is_empty() {
        why
    } else {
        format!("{} missing", missing.join(", "))
    };
    let mut sampler = Sampler::spawn(NetnsScope::All)?;
    let sample = sampler.sample(readers_deadline(Settings::default().interval));
    let own = &sampler.registry().own().netns;
    let home = sample.namespaces.iter().find(|state| state.netns == *own);
    let seen = Seen {
        probes: PROBES
            .iter()
            .map(|probe| probe.unavailable(Some(reason.clone())))
            .collect(),
        unread: &sample.blind,
        links: home.map_or(&[], |state| state.links.as_slice()),
        own_programs: &[],
    };
    Ok(report(&kernel.release, btf, seen))
}

/// What was tried and how it ended.
struct Seen<'a> {
    probes: Vec<ProbeStatus>,
    /// What the readers could not read.
    unread: &'a [Blind],
    /// Interfaces of the agent's own namespace.
    links: &'a [Link],
    own_programs: &'a [u32],
}

fn report(kernel: &str, btf: Check, seen: Seen) -> DoctorReport {
    let Seen {
        probes,
        unread,
        links,
        own_programs,
    } = seen;
    let effective = preflight::effective_capabilities();
    let capability = |capability: &preflight::Capability| Capability {
        name: capability.name.to_owned(),
        held: capability.is_held(effective),
        needed_for: capability.needed_for.to_owned(),
    };
    DoctorReport {
        kernel: kernel.to_owned(),
        btf,
        lockdown: preflight::lockdown(),
        uid: rustix::process::geteuid().as_raw(),
        capabilities: preflight::CAPABILITIES.iter().map(capability).collect(),
        readers: readers(&probes, unread),
        probes,
        foreign: foreign(own_programs, links),
        xdp: links
            .iter()
            .filter(|link| !link.loopback)
            .map(xdp_risk)
            .collect(),
    }
}

/// Readers that feed signals, with what was blind in the first pass; then what is blind beside them, such as other namespaces.
fn readers(probes: &[ProbeStatus], unread: &[Blind]) -> Vec<Reader> {
    let mut readers: Vec<Reader> = Vec::new();
    for signal in signals() {
        for feeder in signal
            .fed_by
            .iter()
            .filter(|feeder| probes.iter().all(|probe| probe.name != **feeder))
        {
            let found = readers.iter().position(|reader| reader.name == *feeder);
            let index = found.unwrap_or_else(|| {
                let reason = unread
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
    for Blind {
        layer: _,
        what,
        why,
    } in unread
    {
        // The same row comes once for each layer that it blinds.
        if readers.iter().all(|reader| reader.name != *what) {
            readers.push(Reader {
                name: what.clone(),
                ok: false,
                reason: Some(why.clone()),
                feeds: Vec::new(),
            });
        }
    }
    readers
}

/// Programs of others on the kinds of hooks that we use: by interface where the kernel tells, else by kind.
fn foreign(own: &[u32], links: &[Link]) -> Option<Vec<ForeignProgram>> {
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
