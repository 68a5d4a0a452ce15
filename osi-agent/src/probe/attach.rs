//! Loads and attaches every probe on its own, so that one refusal blinds only its own signals.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc::channel;
use std::time::Instant;

use anyhow::Context as _;
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, FEntry, FExit, KProbe, ProgramError, SockOps,
};
use aya::{Btf, Ebpf, EbpfLoader, Endianness};
use osi_common::occurrence::Control;
use osi_common::offsets::{IN_SOCKET, Settings};

use super::interfaces::{Interfaces, TcMode, forwards};
use super::kernel::Kernel;
use super::ladder::{Attach, Probe};
use super::table::PROBES;
use super::{ProbeRuns, ProbeState, ProbeStatus, own, preflight};
use crate::config::XdpMode;
use crate::host::namespaces::Handle;
use crate::sandbox;
use crate::snapshot::maps::Maps;
use crate::snapshot::{Blind, NetnsState};

use choice::{is_wanted, records};

mod choice;
mod wire;

/// The programs, as built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/osi-ebpf"));

/// What the command line asks of the probes.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Watch only the home namespace.
    pub limited: bool,
    /// The namespace whose interfaces carry programs: the agent's own, or the one that `--netns` names.
    pub home: Handle,
    /// Programs on these interfaces only; empty means lo and every interface that carries a route.
    pub ifaces: Vec<String>,
    /// XDP.
    pub xdp: XdpMode,
    /// Names in packets may leave the kernel.
    pub names: bool,
    /// Print the programs' own diagnostics.
    pub log: bool,
    /// Variants that are forced, as `probe=variant`: the others of that probe are not tried.
    pub variants: Vec<String>,
}

/// The loaded programs. Dropping it detaches everything; so does the kernel when the process dies.
pub struct Probes {
    ebpf: Ebpf,
    /// How each ladder ended; what happened on the interfaces is not in it.
    climbed: Vec<ProbeStatus>,
    /// The same with the interfaces, made anew when something on one of them changes.
    statuses: Vec<ProbeStatus>,
    interfaces: Interfaces,
    /// Whether packets can be handed on to the programs of their protocols.
    hands_on: bool,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    /// Time from the start of loading to the last attachment.
    pub attach_time: std::time::Duration,
}

impl Probes {
    /// Creates the maps, then loads and attaches each probe by its ladder.
    ///
    /// # Errors
    /// Only when nothing at all can be loaded: no types, no permission, no maps.
    pub fn load(kernel: &Kernel, options: ProbeOptions) -> anyhow::Result<(Self, Maps)> {
        let started = Instant::now();
        preflight::raise_memlock();
        let attachable = kernel
            .attachable
            .as_ref()
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        let (exchanges, forced) = records(attachable, options.variants.clone());
        let settings = Settings {
            netns: if options.limited {
                options.home.netns.inode
            } else {
                0
            },
            home: options.home.netns.inode,
            kfree_skb_args: attachable.arguments("kfree_skb"),
            tcp_send_reset_args: attachable.arguments("tcp_send_reset"),
            tcp_retransmit_args: attachable.arguments("tcp_retransmit_skb"),
            no_socket: kernel.names.drop_reason_number("NO_SOCKET").unwrap_or(0),
            forwards: forwards(&options.home).into(),
            exchanges,
            hands_on: wire::hands_on(&kernel.release).into(),
            names: options.names.into(),
        };
        let btf = Btf::parse(&attachable.blob(), Endianness::default())
            .context("the kernel's types can not be read")?;
        let log_level = u8::from(options.log) * 5;
        let mut loader = loader().context("the loader can not be made")?;
        if settings.exchanges == IN_SOCKET {
            loader.map_max_entries("CONNECTIONS", 1);
        }
        let mut ebpf = loader
            .override_global("OFFSETS", &kernel.offsets, true)
            .override_global("SETTINGS", &settings, true)
            .override_global(aya_log::LEVEL, &log_level, false)
            .load(OBJECT)
            .context("the kernel refused the maps")?;
        let logger = options
            .log
            .then(|| aya_log::EbpfLogger::init(&mut ebpf))
            .transpose()
            .context("--probe-log")?;
        let mut maps = Maps::take(&mut ebpf, settings.netns)?;
        let interfaces = Interfaces::new(options);
        let mut probes = Self {
            ebpf,
            climbed: Vec::new(),
            statuses: Vec::new(),
            interfaces,
            hands_on: settings.hands_on != 0,
            logger,
            attach_time: started.elapsed(),
        };
        for probe in PROBES {
            let status = probes.climb(probe, kernel, &btf, &forced);
            if probe.name == "tcp_connect" && status.variant.as_deref() != Some("state_change") {
                maps.tell(Control::TcpConnectHooked, 1);
            }
            probes.climbed.push(status);
        }
        probes.report();
        probes.attach_time = started.elapsed();
        own::forget(OBJECT);
        Ok((probes, maps))
    }

    /// Interfaces that deserve programs and have none, and why.
    pub fn blind(&self) -> Vec<Blind> {
        self.interfaces.blind()
    }

    /// How every probe ended.
    pub fn statuses(&self) -> &[ProbeStatus] {
        &self.statuses
    }

    fn report(&mut self) {
        self.statuses.clone_from(&self.climbed);
        self.interfaces.report(&mut self.statuses);
    }

    /// Takes everything off the interfaces. Links go by themselves when the process ends; filters would stay.
    pub fn close(&mut self, maps: &mut Maps) {
        self.interfaces.close(&mut self.ebpf, maps);
    }

    /// Puts packet programs on interfaces that appeared, and releases those that went.
    pub fn follow(&mut self, namespaces: &[NetnsState], maps: &mut Maps) {
        if self.interfaces.follow(&mut self.ebpf, namespaces, maps) {
            self.report();
        }
    }

    /// Interfaces with programs: (slot, namespace, interface, XDP attached).
    pub fn slots(&self) -> &[super::interfaces::Slot] {
        self.interfaces.slots()
    }

    /// Runs and misses of every loaded program.
    pub fn runs(&self) -> Vec<ProbeRuns> {
        let programs = self.ebpf.programs();
        programs
            .filter_map(|(name, program)| Some(own::runs(name, program.fd().ok()?.as_fd())))
            .collect()
    }

    /// Kernel ids of the loaded programs.
    pub fn ids(&self) -> Vec<u32> {
        self.ebpf
            .programs()
            .filter_map(|(_, program)| Some(program.info().ok()?.id()))
            .collect()
    }

    /// Prints what the programs had to say, with `--probe-log`.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    fn climb(
        &mut self,
        probe: &'static Probe,
        kernel: &Kernel,
        btf: &Btf,
        forced: &[String],
    ) -> ProbeStatus {
        let mut status = probe.unavailable(None);
        let missing: Vec<_> = probe
            .fields
            .iter()
            .filter(|field| kernel.offsets.get(field).is_none())
            .copied()
            .collect();
        if !missing.is_empty() {
            status.reason = Some(format!("this kernel's types lack {}", missing.join(", ")));
            return status;
        }
        let mut refusals = Vec::new();
        let ladder = probe
            .variants
            .iter()
            .filter(|variant| is_wanted(probe, variant, forced));
        for variant in ladder {
            match self.attach(variant.attach, btf) {
                Ok(()) => {
                    status.state = ProbeState::Active;
                    status.variant = Some(variant.name.to_owned());
                    status.measures = variant.measures.map(str::to_owned);
                    break;
                }
                Err(why) => refusals.push(format!("{}: {why}", variant.name)),
            }
        }
        status.reason = (!refusals.is_empty()).then(|| refusals.join("; "));
        status
    }

    fn attach(&mut self, attach: Attach, btf: &Btf) -> Result<(), String> {
        match attach {
            Attach::TracepointBtf(name, tracepoint) => {
                let program: &mut BtfTracePoint = self.program(name)?;
                program
                    .load(tracepoint, btf)
                    .map_err(|error| refusal(&error))?;
                program.attach().map_err(|error| refusal(&error))?;
            }
            Attach::Together(parts) => {
                for part in parts {
                    if let Err(why) = self.attach(*part, btf) {
                        self.unload(parts);
                        return Err(why);
                    }
                }
            }
            Attach::Fentry(name, function) => {
                let program: &mut FEntry = self.program(name)?;
                program
                    .load(function, btf)
                    .map_err(|error| refusal(&error))?;
                program.attach().map_err(|error| refusal(&error))?;
            }
            Attach::Fexit(name, function) => {
                let program: &mut FExit = self.program(name)?;
                program
                    .load(function, btf)
                    .map_err(|error| refusal(&error))?;
                program.attach().map_err(|error| refusal(&error))?;
            }
            Attach::Kprobe(name, function) => self.break_at(name, function)?,
            // The end first: what enters before it is watched is never answered.
            Attach::Kretprobe(entry, end, function) => {
                self.break_at(end, function)?;
                self.break_at(entry, function)?;
            }
            Attach::SockOps(name) => {
                let root = preflight::cgroup2_root().ok_or("no cgroup2 file system is mounted")?;
                let root =
                    File::open(&root).map_err(|error| format!("{}: {error}", root.display()))?;
                let program: &mut SockOps = self.program(name)?;
                program.load().map_err(|error| refusal(&error))?;
                // A link: the kernel runs it beside others. The multi flag is not accepted for links.
                program
                    .attach(root, CgroupAttachMode::Single)
                    .map_err(|error| refusal(&error))?;
            }
            Attach::StandIn(name) => {
                let other = self.climbed.iter().find(|status| status.name == name);
                // The stand-in may come later in the table; then its own row tells how it ended.
                if other.is_some_and(|status| status.state != ProbeState::Active) {
                    return Err(format!("{name} is unavailable"));
                }
            }
            Attach::Tcx => self.interfaces.load_tc(&mut self.ebpf, TcMode::Tcx)?,
            Attach::Clsact => self.interfaces.load_tc(&mut self.ebpf, TcMode::Clsact)?,
            Attach::Xdp => self.interfaces.load_xdp(&mut self.ebpf)?,
            Attach::Wire(name, protocol) => self.wire(name, protocol)?,
        }
        Ok(())
    }

    fn break_at(&mut self, name: &str, function: &str) -> Result<(), String> {
        let program: &mut KProbe = self.program(name)?;
        program.load().map_err(|error| refusal(&error))?;
        let attached = program.attach(function, 0);
        attached.map(drop).map_err(|error| refusal(&error))
    }

    /// Takes off what was attached of these; the kernel detaches what is unloaded. Not loaded at all is as good.
    fn unload(&mut self, parts: &[Attach]) {
        for part in parts {
            let _unloaded = match *part {
                Attach::TracepointBtf(name, _) => {
                    self.program(name).map(|it: &mut BtfTracePoint| it.unload())
                }
                Attach::Fentry(name, _) => self.program(name).map(|it: &mut FEntry| it.unload()),
                Attach::Kprobe(name, _) => self.program(name).map(|it: &mut KProbe| it.unload()),
                // Nothing else is attached together.
                Attach::Together(_)
                | Attach::Fexit(..)
                | Attach::Kretprobe(..)
                | Attach::SockOps(_)
                | Attach::StandIn(_)
                | Attach::Tcx
                | Attach::Clsact
                | Attach::Xdp
                | Attach::Wire(..) => continue,
            };
        }
    }

    fn program<'a, P>(&'a mut self, name: &str) -> Result<&'a mut P, String>
    where
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or_else(|| format!("the object has no program {name}"))?;
        program
            .try_into()
            .map_err(|error: ProgramError| error.to_string())
    }
}

/// A loader without the kernel's types: the object relocates nothing by them, as field offsets are its constants.
///
/// Making one reads all types unasked, 40 MB for a moment, unless it may open no file: so it is made by a thread that may not.
fn loader() -> io::Result<EbpfLoader<'static>> {
    let (made, loader) = channel();
    sandbox::idle_thread("loader", move || {
        // Nobody waits any more: the loader goes with its receiver.
        let _unwanted = made.send(EbpfLoader::new());
    })?;
    let mut loader = loader.recv().map_err(io::Error::other)?;
    // Where the kernel has no Landlock it has read them all the same.
    loader.btf(None);
    Ok(loader)
}

/// One sentence out of an error and, where the verifier spoke, its last word.
pub(super) fn refusal(error: &ProgramError) -> String {
    use std::error::Error as _;
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let last = log
            .lines()
            .rev()
            .find(|line| !is_statistics(line))
            .unwrap_or("");
        return if last.is_empty() {
            format!("refused at load: {io_error}")
        } else {
            format!("refused at load: {io_error}: {}", last.trim())
        };
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// The verifier's closing lines, which say nothing about why it refused.
fn is_statistics(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        || [
            "processed",
            "stack depth",
            "verification time",
            "max_states",
        ]
        .iter()
        .any(|head| line.starts_with(head))
}
