//! Everything that lives from window to window, and the fold of one window.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use osi_common::occurrence::Sample;

use super::{checks, missed, owners, rule_sets};
use crate::config::{Failure, LinkSpeed, Settings};
use crate::event::{self, Clock, Event};
use crate::helper::Helper;
use crate::host::boot;
use crate::host::cgroups::Cgroups;
use crate::host::namespaces::{self, NetnsScope};
use crate::host::text::clean;
use crate::layer::{self, Window};
use crate::probe::{
    Kernel, ProbeOptions, ProbeRuns, ProbeState, ProbeStatus, Probes, SelfStats, own, preflight,
};
use crate::sandbox;
use crate::scope::Netns;
use crate::snapshot::maps::Maps;
use crate::snapshot::{Blind, Link, NetnsState, Snapshot, Wanted};
use crate::verdict::{Circumstances, FaultMap, History, handshake_budget_ns, judge};

/// Readers may take this part of a window, and never longer than [`READERS_AT_MOST`].
const READERS_SHARE: f64 = 0.5;
const READERS_AT_MOST: Duration = Duration::from_secs(1);
const READERS_AT_LEAST: Duration = Duration::from_millis(200);

/// The pass at start has no window to fit in: what interfaces there are decides what is attached, also on a slow machine.
const FIRST_PASS: Duration = Duration::from_secs(5);

/// Longest host name, in characters.
const HOST_MAX: usize = 255;

/// Everything that lives from window to window.
pub(crate) struct Session {
    kernel: Kernel,
    probes: Probes,
    maps: Maps,
    helper: Helper,
    cgroups: RefCell<Cgroups>,
    previous: Snapshot,
    /// Inodes of the namespaces whose rule sets the next pass reads.
    filtered: Vec<u32>,
    /// How often they were.
    asked: rule_sets::Asked,
    owners: owners::Registry,
    /// Samples younger than the snapshot that was being taken when they arrived.
    held_back: Vec<Sample>,
    history: History,
    settings: Settings,
    home: Netns,
    /// Programs go on interfaces of another namespace than the agent's own.
    elsewhere: bool,
    boot_id: String,
    host: String,
    windows: u64,
    /// What the readings of all windows took together.
    reading: Duration,
    map_bytes: u64,
    /// Runs and misses of the programs, as of the last snapshot.
    runs: Vec<ProbeRuns>,
}

/// What a window left.
pub(crate) struct Folded {
    /// The map.
    pub(crate) map: FaultMap,
    /// Its events.
    pub(crate) events: Vec<Event>,
    /// What the agent costs.
    pub(crate) cost: own::Cost,
}

impl Session {
    /// Looks at the kernel, attaches the probes, and takes the first snapshot, for this command.
    pub(crate) fn open(settings: Settings, command: &str) -> anyhow::Result<Self> {
        let scope = namespaces::resolve(&settings.netns.to_string())
            .map_err(|error| Failure::usage(format!("--netns: {error:#}")))?;
        checks::privileges(command)?;
        checks::memory()?;
        let kernel = Kernel::read();
        checks::types(&kernel)?;
        let mut helper = Helper::start(&scope)?;
        let mut first = helper.sample(FIRST_PASS, Vec::new(), Wanted::default());
        let own = namespaces::own()?;
        let home = match scope {
            NetnsScope::All => own.clone(),
            NetnsScope::One(ref handle) => handle.clone(),
        };
        let elsewhere = home.netns != own.netns;
        checks::ifaces(&settings, &first.namespaces, home.netns.inode)?;
        known_speeds(&settings.link_speeds, &mut first.namespaces, &home.netns);
        let home_netns = home.netns.clone();
        let options = ProbeOptions {
            names: settings.names,
            limited: matches!(scope, NetnsScope::One(_)),
            home,
            ifaces: settings.ifaces.clone(),
            xdp: settings.xdp,
            log: settings.probe_log,
            variants: settings.probe_variants.clone(),
        };
        let (mut probes, mut maps) = Probes::load(&kernel, options)?;
        own::return_memory();
        probes.follow(&first.namespaces, &mut maps);
        maps.next_epoch();
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned();
        let mut session = Self {
            cgroups: RefCell::new(Cgroups::new(preflight::cgroup2_root())),
            kernel,
            probes,
            maps,
            helper,
            elsewhere,
            previous: Snapshot::default(),
            filtered: Vec::new(),
            asked: rule_sets::Asked::default(),
            owners: owners::Registry::default(),
            held_back: Vec::new(),
            history: History::default(),
            settings,
            home: home_netns,
            boot_id,
            host: host_name(),
            windows: 0,
            reading: Duration::ZERO,
            map_bytes: own::map_bytes(),
            runs: Vec::new(),
        };
        // Who holds what listens already is looked for while the baseline is read.
        let _none_yet = session.owners.follow(
            &first.namespaces,
            &HashMap::new(),
            None,
            boot::now_ns(),
            session.cgroups.get_mut(),
        );
        // The baseline: everything before it is history and not ours to judge.
        session.previous = session.snapshot();
        Ok(session)
    }

    /// Gives up what is not needed once everything is loaded and attached: no thread may be started before that needs more.
    pub(crate) fn confine(&self) -> io::Result<()> {
        sandbox::watcher(self.elsewhere, preflight::cgroup2_root().as_deref())
    }

    /// Host name, cleaned.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Release of the running kernel.
    pub(crate) fn kernel_release(&self) -> &str {
        &self.kernel.release
    }

    /// Identity of this boot.
    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Windows folded so far.
    pub(crate) const fn windows(&self) -> u64 {
        self.windows
    }

    /// The options in force.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Interfaces of the namespace whose interfaces carry programs.
    pub(crate) fn home_links(&self) -> &[Link] {
        let home = self
            .previous
            .namespaces
            .iter()
            .find(|state| state.netns == self.home);
        home.map_or(&[], |state| state.links.as_slice())
    }

    /// Kernel ids of the agent's own programs.
    pub(crate) fn own_programs(&self) -> Vec<u32> {
        self.probes.ids()
    }

    /// How every probe ended.
    pub(crate) fn probes(&self) -> &[ProbeStatus] {
        self.probes.statuses()
    }

    /// What can not be seen right now.
    pub(crate) fn blind(&self) -> Vec<Blind> {
        let window = Window {
            previous: &self.previous,
            now: &self.previous,
            single_netns: self.limited(),
        };
        let layers = layer::fold(&window, &self.unavailable()).layers;
        layers
            .into_iter()
            .flat_map(|reading| reading.blind)
            .collect()
    }

    /// What could not be read in the last snapshot, as its readers told it.
    pub(crate) fn unread(&self) -> &[Blind] {
        &self.previous.blind
    }

    /// Closes the window that is over and opens the next.
    pub(crate) fn fold(&mut self) -> Folded {
        let began = Instant::now();
        let now = self.snapshot();
        self.reading += began.elapsed();
        self.windows += 1;
        let clock = Clock::now();
        let window = Window {
            previous: &self.previous,
            now: &now,
            single_netns: self.limited(),
        };
        let layers = layer::fold(&window, &self.unavailable());
        let circumstances = Circumstances {
            boot_id: &self.boot_id,
            seq: self.windows,
            at: &clock.rfc3339(now.boot_ns),
            limits: &|cause, name| self.settings.limits.get(cause, name),
        };
        let map = judge(&window, &layers, &mut self.history, &circumstances);
        let filtered = self.asked.next(&now, &layers, &map);
        self.owners.note_findings(&map);
        let events = self.events(&window, clock);
        let cost = own::cost(&now.kernel, self.helper.usage());
        self.probes.flush_log();
        self.previous = now;
        self.filtered = filtered;
        Folded { map, events, cost }
    }

    /// Everything that the agent says about itself, as of the last window.
    pub(crate) fn stats(&self, dropped_lines: u64) -> SelfStats {
        own::stats(
            own::cost(&self.previous.kernel, self.helper.usage()),
            &self.previous.kernel,
            self.runs.clone(),
            self.map_bytes,
            self.reading,
            dropped_lines,
        )
    }

    /// Releases everything that the kernel would not release by itself.
    pub(crate) fn close(mut self) {
        self.probes.close(&mut self.maps);
    }

    fn limited(&self) -> bool {
        self.settings.netns != crate::config::NetnsChoice::All
    }

    fn snapshot(&mut self) -> Snapshot {
        let length = readers_deadline(self.settings.interval);
        // Before it is read who listens: else the first SYNs that nobody listened to would fall into a window with a listener.
        let listeners = self.maps.listeners();
        let mut host = self.helper.sample(
            length,
            std::mem::take(&mut self.filtered),
            self.owners.take_wanted(),
        );
        host.keep(&self.previous);
        known_speeds(&self.settings.link_speeds, &mut host.namespaces, &self.home);
        self.probes.follow(&host.namespaces, &mut self.maps);
        self.maps.know_listeners(&host.namespaces);
        let boot_ns = boot::now_ns();
        let kernel = self
            .maps
            .read(&self.kernel.names, self.probes.slots(), boot_ns, listeners);
        // Samples that arrived while the maps were read belong to the next window, as their counts may.
        let mut samples = std::mem::take(&mut self.held_back);
        self.maps.drain(&mut samples);
        self.held_back = samples
            .extract_if(.., |sample| sample.at_ns > boot_ns)
            .collect();
        self.maps.next_epoch();
        let cgroups = self.cgroups.get_mut();
        cgroups.next_window();
        let owners = self.owners.follow(
            &host.namespaces,
            &kernel.openers,
            host.holders,
            boot_ns,
            cgroups,
        );
        let mut blind = host.blind;
        blind.append(&mut own::blindness(&kernel, &self.previous.kernel));
        blind.append(&mut self.probes.blind());
        let runs = self.probes.runs();
        blind.append(&mut missed::blindness(&runs, &self.runs));
        self.runs = runs;
        Snapshot {
            boot_ns,
            kernel,
            namespaces: host.namespaces,
            host: host.host,
            owners,
            samples,
            blind,
        }
    }

    fn events(&self, window: &Window, clock: Clock) -> Vec<Event> {
        let names = &self.kernel.names;
        event::events(
            window,
            &event::Names {
                clock,
                limited: self.limited(),
                cgroup: &|id| self.cgroups.borrow_mut().path(id),
                drop_reason: &|code, function| names.drop_reason(code, function),
                function: &|address| names.function(address),
                reset_reason: &|code| names.reset_reason(code),
                slow_handshake_ns: handshake_budget_ns(&|cause, name| {
                    self.settings.limits.get(cause, name)
                }),
            },
        )
    }

    fn unavailable(&self) -> impl Fn(&str) -> Option<String> {
        |name: &str| {
            let status = self.probes().iter().find(|status| status.name == name)?;
            match status.state {
                ProbeState::Unavailable => Some(status.reason.clone().unwrap_or_default()),
                // What was not asked for is no blindness.
                ProbeState::Active | ProbeState::Off => None,
            }
        }
    }
}

/// Name of this host, cleaned.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    clean(name.as_bytes(), HOST_MAX)
}

/// How long the readers may take in a window of this length.
pub(super) fn readers_deadline(interval: Duration) -> Duration {
    interval
        .mul_f64(READERS_SHARE)
        .clamp(READERS_AT_LEAST, READERS_AT_MOST)
}

/// Puts what the user knows of links beside what their devices say.
fn known_speeds(speeds: &[LinkSpeed], namespaces: &mut [NetnsState], home: &Netns) {
    let here = namespaces.iter_mut().filter(|state| state.netns == *home);
    for link in here.flat_map(|state| state.links.iter_mut()) {
        if let Some(speed) = speeds.iter().find(|speed| speed.iface == link.iface.name) {
            link.stated_bits_per_s = Some(speed.bits_per_s);
        }
    }
}
