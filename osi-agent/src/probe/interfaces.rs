//! Which interfaces carry packet programs, and keeping that true while interfaces come and go.

use std::net::IpAddr;
use std::os::fd::RawFd;

use aya::Ebpf;
use aya::programs::links::Link as _;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode as AyaXdpMode};
use osi_common::interface::{MAX_IFINDEX, SLOTS};

use super::attach::{ProbeOptions, refusal};
use super::clsact;
use crate::config::XdpMode;
use crate::host::namespaces::Handle;
use crate::scope::{Iface, Netns};
use crate::snapshot::host::enter::{Home, Lost, Visit};
use crate::snapshot::maps::Maps;
use crate::snapshot::{Link, NetnsState};

mod lost;
mod order;
mod report;

/// The two tc programs and their directions.
const DIRECTIONS: [(&str, TcAttachType); 2] = [
    ("osi_tc_ingress", TcAttachType::Ingress),
    ("osi_tc_egress", TcAttachType::Egress),
];
/// The XDP program.
const XDP: &str = "osi_xdp";

/// How tc programs hang on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcMode {
    /// Links, first in order.
    Tcx,
    /// Filters of a clsact qdisc, with our own handle, before those that are there.
    Clsact,
}

/// An interface that carries programs.
pub struct Slot {
    /// Number of its rows in the packet maps.
    pub slot: u32,
    /// Its namespace.
    pub netns: Netns,
    /// The interface.
    pub iface: Iface,
    /// Which of all attachments this is: an interface that was made again under its old name and index is another one.
    pub attachment: u64,
    /// Whether XDP is attached, too.
    pub xdp: bool,
    /// Why it is not, where it was asked for.
    xdp_refused: Option<String>,
    links: Links,
}

/// What holds the programs on one interface.
#[derive(Default)]
struct Links {
    tc: Vec<SchedClassifierLink>,
    xdp: Option<XdpLinkId>,
    /// Descriptor of a TCX link, by which the kernel tells whether the interface is still there.
    witness: Option<RawFd>,
    /// The clsact qdisc is ours to remove.
    made_qdisc: bool,
}

/// The interfaces with programs, and why others have none.
pub struct Interfaces {
    options: ProbeOptions,
    mode: TcMode,
    slots: Vec<Slot>,
    refused: Vec<(Iface, String)>,
    attachments: u64,
}

impl Interfaces {
    pub(super) fn new(options: ProbeOptions) -> Self {
        Self {
            options,
            mode: TcMode::Tcx,
            slots: Vec::new(),
            refused: Vec::new(),
            attachments: 0,
        }
    }

    /// Interfaces that carry programs now.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Loads the tc programs, and finds out whether this kernel has this way of attaching them by doing so for a moment
    /// on the loopback device.
    pub(super) fn load_tc(&mut self, ebpf: &mut Ebpf, mode: TcMode) -> Result<(), String> {
        self.mode = mode;
        for (name, direction) in DIRECTIONS {
            let program = classifier(ebpf, name)?;
            if program.fd().is_err() {
                program.load().map_err(|error| refusal(&error))?;
            }
            if mode == TcMode::Tcx {
                let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                let link = program
                    .attach_with_options("lo", direction, options)
                    .map_err(|error| refusal(&error))?;
                program.detach(link).map_err(|error| refusal(&error))?;
            }
        }
        Ok(())
    }

    pub(super) fn load_xdp(&self, ebpf: &mut Ebpf) -> Result<(), String> {
        match self.options.xdp {
            XdpMode::Off => Err("off by --xdp off".to_owned()),
            XdpMode::Auto => Err(
                "off: native XDP resets links or costs throughput on many drivers; \
                 ask for it with --xdp native|generic --iface NAME"
                    .to_owned(),
            ),
            XdpMode::Native | XdpMode::Generic if self.options.ifaces.is_empty() => {
                Err("--xdp native|generic needs --iface NAME".to_owned())
            }
            XdpMode::Native | XdpMode::Generic => {
                xdp(ebpf)?.load().map_err(|error| refusal(&error))
            }
        }
    }

    /// Attaches to what appeared, releases what went. Only the watched namespace is served: the agent's own, or `--netns`.
    /// True where [`report`](Self::report) has something else to tell than before.
    pub(super) fn follow(
        &mut self,
        ebpf: &mut Ebpf,
        namespaces: &[NetnsState],
        maps: &mut Maps,
    ) -> bool {
        let home = namespaces
            .iter()
            .find(|state| state.netns == self.options.home.netns);
        // Not read this time: what hangs there stays.
        let Some(home) = home else { return false };
        let mut wanted: Vec<&Link> = home
            .links
            .iter()
            .filter(|link| self.wants(home, link))
            .collect();
        order::sort(&mut wanted);
        let is_wanted = |iface: &Iface| {
            wanted
                .iter()
                .any(|link| link.iface == *iface && link.iface.name == iface.name)
        };
        let lost = self.lost();
        let mut changed = self.release(ebpf, maps, |slot| {
            !is_wanted(&slot.iface) || lost.contains(&slot.slot)
        });
        let refused = self.refused.len();
        self.refused.retain(|(iface, _)| is_wanted(iface));
        changed |= self.refused.len() < refused;
        for link in &wanted {
            let known = self.slots.iter().any(|slot| slot.iface == link.iface)
                || self.refused.iter().any(|(iface, _)| *iface == link.iface);
            if known {
                continue;
            }
            self.make_room(link, &wanted, ebpf, maps);
            match self.attach(ebpf, link, maps) {
                Ok(slot) => {
                    self.attachments += 1;
                    self.slots.push(slot);
                }
                Err(why) => self.refused.push((link.iface.clone(), why)),
            }
            changed = true;
        }
        self.sort_refused(&wanted);
        changed
    }

    /// Releases everything.
    pub(super) fn close(&mut self, ebpf: &mut Ebpf, maps: &mut Maps) {
        self.release(ebpf, maps, |_| true);
    }

    /// lo and every interface that carries a route; never a member of a bond, bridge or team, whose master sees the same packets.
    fn wants(&self, state: &NetnsState, link: &Link) -> bool {
        if !self.options.ifaces.is_empty() {
            return self.options.ifaces.contains(&link.iface.name);
        }
        let carries_route = state.routes.iter().any(|route| {
            route.ifindex == Some(link.iface.ifindex)
                && !route
                    .destination
                    .is_some_and(|network| is_link_local(&network))
        });
        link.admin_up && link.master.is_none() && (link.loopback || carries_route)
    }

    fn attach(&self, ebpf: &mut Ebpf, link: &Link, maps: &mut Maps) -> Result<Slot, String> {
        let iface = &link.iface;
        if iface.ifindex >= MAX_IFINDEX {
            return Err(format!(
                "interface index {} is beyond {MAX_IFINDEX}",
                iface.ifindex
            ));
        }
        let slot = (0..SLOTS)
            .find(|slot| self.slots.iter().all(|used| used.slot != *slot))
            .ok_or_else(|| format!("all {SLOTS} interface slots are in use"))?;
        maps.open_slot(slot, iface.ifindex)
            .map_err(|error| format!("{error:#}"))?;
        let mut links = Links::default();
        let attached = inside(&self.options.home, || {
            self.attach_here(ebpf, iface, &mut links)
        });
        let xdp_refused = match attached.and_then(|attached| attached) {
            Ok(()) => self.attach_xdp(ebpf, link, &mut links).err(),
            Err(why) => {
                self.detach(ebpf, iface, links);
                maps.close_slot(iface.ifindex);
                return Err(why);
            }
        };
        let netns = self.options.home.netns.clone();
        Ok(Slot {
            slot,
            netns,
            iface: iface.clone(),
            attachment: self.attachments,
            xdp: links.xdp.is_some(),
            xdp_refused,
            links,
        })
    }

    /// On a thread in the interface's namespace. What was attached before a failure is in `links`.
    fn attach_here(&self, ebpf: &mut Ebpf, iface: &Iface, links: &mut Links) -> Result<(), String> {
        let mut preference = 0;
        if self.mode == TcMode::Clsact {
            let stale = clsact::remove_stale(iface.ifindex)
                .map_err(|error| format!("leftover filters: {error}"))?;
            let made = clsact::ensure_qdisc(&iface.name, iface.ifindex)
                .map_err(|error| format!("clsact: {error}"))?;
            // Whose filters were left over, their qdisc was, too.
            links.made_qdisc = made || stale;
            preference = clsact::first_preference(iface.ifindex)
                .map_err(|error| format!("clsact: {error}"))?;
        }
        for (name, direction) in DIRECTIONS {
            // First in order, so that a later program's redirect hides nothing; ours says "next".
            let options = match self.mode {
                TcMode::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
                TcMode::Clsact => TcAttachOptions::Netlink(NlOptions {
                    priority: preference,
                    handle: clsact::handle(links.made_qdisc),
                    ..NlOptions::default()
                }),
            };
            let program = classifier(ebpf, name)?;
            let link = program
                .attach_with_options(&iface.name, direction, options)
                .and_then(|link| program.take_link(link))
                .map_err(|error| refusal(&error))?;
            links.tc.push(link);
        }
        links.witness = links.tc.first().and_then(lost::witness);
        Ok(())
    }

    /// A refusal leaves the tc programs where they are. A program of somebody else is never replaced: the kernel refuses ours.
    fn attach_xdp(&self, ebpf: &mut Ebpf, on: &Link, links: &mut Links) -> Result<(), String> {
        let mode = match self.options.xdp {
            XdpMode::Native => AyaXdpMode::Driver,
            XdpMode::Generic => AyaXdpMode::Skb,
            XdpMode::Auto | XdpMode::Off => return Ok(()),
        };
        let attached = inside(&self.options.home, || {
            xdp(ebpf)?
                .attach(&on.iface.name, mode)
                .map_err(|error| refusal(&error))
        })?;
        let link = attached.map_err(|why| match on.xdp_program {
            Some(id) => format!("program {id} is attached already, and is left alone ({why})"),
            None => why,
        })?;
        links.xdp = Some(link);
        Ok(())
    }

    /// True where anything was released.
    fn release(&mut self, ebpf: &mut Ebpf, maps: &mut Maps, gone: impl Fn(&Slot) -> bool) -> bool {
        let (released, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.slots).into_iter().partition(gone);
        if !released.is_empty() {
            // There is room again for those that found none.
            self.refused.clear();
        }
        self.slots = kept;
        let any = !released.is_empty();
        for slot in released {
            let Slot {
                slot: _,
                netns: _,
                iface,
                attachment: _,
                xdp: _,
                xdp_refused: _,
                links,
            } = slot;
            self.detach(ebpf, &iface, links);
            maps.close_slot(iface.ifindex);
        }
        any
    }

    /// Takes the programs off an interface. It may be gone, and then everything on it is, too: nothing here can fail in a
    /// way that leaves something behind.
    fn detach(&self, ebpf: &mut Ebpf, iface: &Iface, links: Links) {
        let Links {
            tc,
            xdp: xdp_link,
            witness: _,
            made_qdisc,
        } = links;
        let done = inside(&self.options.home, || {
            for link in tc {
                let _already_gone = link.detach();
            }
            if let (Some(link), Ok(program)) = (xdp_link, xdp(ebpf)) {
                let _already_gone = program.detach(link);
            }
            if made_qdisc {
                let _already_gone = clsact::remove_empty_qdisc(iface.ifindex);
            }
        });
        if let Err(why) = done {
            log::debug!("{}: {why}", iface.name);
        }
    }
}

/// Whether packets are forwarded in a namespace, from what it is set to now (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`).
pub(super) fn forwards(home: &Handle) -> bool {
    let is_on = |path| std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0");
    let read = || {
        is_on("/proc/sys/net/ipv4/ip_forward") || is_on("/proc/sys/net/ipv6/conf/all/forwarding")
    };
    inside(home, read).unwrap_or(false)
}

/// Runs work on a thread in a network namespace; the calling thread stays where it is.
fn inside<T: Send>(home: &Handle, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let visit = std::thread::scope(|scope| {
        scope
            .spawn(|| Home::here().map(|here| here.visit(home, work)))
            .join()
    });
    match visit {
        Ok(Ok(Ok(Visit::Done(result)))) => Ok(result),
        Ok(Ok(Ok(Visit::Gone))) => Err("the network namespace is gone".to_owned()),
        Ok(Ok(Ok(Visit::Refused(error)) | Err(Lost(error))) | Err(error)) => {
            Err(format!("network namespace: {error}"))
        }
        Err(_) => Err("the attaching thread failed".to_owned()),
    }
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, String> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the object has no program {name}"))?;
    program
        .try_into()
        .map_err(|error: aya::programs::ProgramError| error.to_string())
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, String> {
    let program = ebpf
        .program_mut(XDP)
        .ok_or_else(|| format!("the object has no program {XDP}"))?;
    program
        .try_into()
        .map_err(|error: aya::programs::ProgramError| error.to_string())
}

/// Routes that every interface has by itself say nothing about its use.
fn is_link_local(network: &IpAddr) -> bool {
    match network {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}
