//! Which interfaces carry packet programs, and keeping that true while interfaces come and go.

use std::net::IpAddr;

use aya::Ebpf;
use aya::programs::links::Link as _;
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode as AyaXdpMode};
use osi_common::interface::{MAX_IFINDEX, SLOTS};

use super::attach::{ProbeOptions, XdpMode, refusal};
use super::{ProbeState, ProbeStatus};
use crate::host::namespaces;
use crate::scope::{Iface, Netns};
use crate::snapshot::maps::Maps;
use crate::snapshot::{Link, NetnsState};

/// The two tc programs and their directions.
const DIRECTIONS: [(&str, TcAttachType); 2] = [("tc_ingress", TcAttachType::Ingress), ("tc_egress", TcAttachType::Egress)];
/// The XDP program.
const XDP: &str = "xdp_frames";

/// An interface that carries programs.
pub struct Slot {
    /// Number of its rows in the packet maps.
    pub slot: u32,
    /// Its namespace.
    pub netns: Netns,
    /// The interface.
    pub iface: Iface,
    /// Whether XDP is attached, too.
    pub xdp: bool,
    tc_links: Vec<(&'static str, SchedClassifierLinkId)>,
    xdp_link: Option<XdpLinkId>,
}

/// The interfaces with programs, and why others have none.
pub struct Interfaces {
    options: ProbeOptions,
    slots: Vec<Slot>,
    refused: Vec<(Netns, Iface, String)>,
}

impl Interfaces {
    pub(super) fn new(options: ProbeOptions) -> Self {
        Self { options, slots: Vec::new(), refused: Vec::new() }
    }

    /// Interfaces that carry programs now.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn load_tc(&self, ebpf: &mut Ebpf) -> Result<(), String> {
        for (name, _) in DIRECTIONS {
            classifier(ebpf, name)?.load().map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    pub(super) fn load_xdp(&self, ebpf: &mut Ebpf) -> Result<(), String> {
        match self.options.xdp {
            XdpMode::Off => Err("off by --xdp off".to_owned()),
            XdpMode::Auto => Err("off: native XDP resets links or costs throughput on many drivers; \
                 ask for it with --xdp native|generic --iface NAME".to_owned()),
            XdpMode::Native | XdpMode::Generic if self.options.ifaces.is_empty() => {
                Err("--xdp native|generic needs --iface NAME".to_owned())
            }
            XdpMode::Native | XdpMode::Generic => xdp(ebpf)?.load().map_err(|error| refusal(&error)),
        }
    }

    /// Attaches to what appeared, releases what went. Only the watched namespace is served: the agent's own, or `--netns`.
    pub(super) fn follow(&mut self, ebpf: &mut Ebpf, namespaces: &[NetnsState], maps: &mut Maps) {
        let home = namespaces.iter().find(|state| match self.options.netns {
            Some(inode) => state.netns.inode == inode,
            None => state.netns.name.as_deref() == Some(namespaces::HOST),
        });
        let Some(home) = home else { return };
        let wanted: Vec<&Link> = home.links.iter().filter(|link| self.wants(home, link)).collect();
        self.release(ebpf, maps, |slot| {
            slot.netns != home.netns || !wanted.iter().any(|link| link.iface == slot.iface && link.iface.name == slot.iface.name)
        });
        self.refused.retain(|(netns, iface, _)| *netns == home.netns && wanted.iter().any(|link| link.iface == *iface));
        for link in wanted {
            let known = self.slots.iter().any(|slot| slot.iface == link.iface)
                || self.refused.iter().any(|(_, iface, _)| *iface == link.iface);
            if known {
                continue;
            }
            match self.attach(ebpf, home, &link.iface, maps) {
                Ok(slot) => self.slots.push(slot),
                Err(why) => self.refused.push((home.netns.clone(), link.iface.clone(), why)),
            }
        }
    }

    /// Adds to the probes' statuses what happened on the interfaces.
    pub(super) fn report(&self, statuses: &mut [ProbeStatus]) {
        for status in statuses.iter_mut().filter(|status| status.name == "tc" && status.state == ProbeState::Active) {
            let refused: Vec<_> =
                self.refused.iter().map(|(_, iface, why)| format!("{}: {why}", iface.name)).collect();
            if !refused.is_empty() {
                status.reason = Some(refused.join("; "));
                if self.slots.is_empty() {
                    status.state = ProbeState::Unavailable;
                    status.variant = None;
                }
            }
            let carriers: Vec<_> = self.slots.iter().map(|slot| slot.iface.name.as_str()).collect();
            status.measures = (!carriers.is_empty()).then(|| format!("on {}", carriers.join(", ")));
        }
        let xdp_wanted = matches!(self.options.xdp, XdpMode::Native | XdpMode::Generic);
        for status in statuses.iter_mut().filter(|status| status.name == "xdp" && !xdp_wanted) {
            status.state = ProbeState::Off;
        }
    }

    /// lo and every interface that carries a route; never a member of a bond, bridge or team, whose master sees the same packets.
    fn wants(&self, state: &NetnsState, link: &Link) -> bool {
        if !self.options.ifaces.is_empty() {
            return self.options.ifaces.contains(&link.iface.name);
        }
        let carries_route = state.routes.iter().any(|route| {
            route.ifindex == Some(link.iface.ifindex) && !route.destination.is_some_and(|network| is_link_local(&network))
        });
        link.admin_up && link.master.is_none() && (link.loopback || carries_route)
    }

    fn attach(&self, ebpf: &mut Ebpf, home: &NetnsState, iface: &Iface, maps: &mut Maps) -> Result<Slot, String> {
        if iface.ifindex >= MAX_IFINDEX {
            return Err(format!("interface index {} is beyond {MAX_IFINDEX}", iface.ifindex));
        }
        let slot = (0..SLOTS)
            .find(|slot| self.slots.iter().all(|used| used.slot != *slot))
            .ok_or_else(|| format!("all {SLOTS} interface slots are in use"))?;
        maps.open_slot(slot, iface.ifindex).map_err(|error| format!("{error:#}"))?;
        let attached = namespaces::inside(&home.netns, || self.attach_here(ebpf, iface));
        let (tc_links, xdp_link) = attached.map_err(|error| format!("{error:#}"))??;
        Ok(Slot { slot, netns: home.netns.clone(), iface: iface.clone(), xdp: xdp_link.is_some(), tc_links, xdp_link })
    }

    /// On a thread in the interface's namespace.
    fn attach_here(&self, ebpf: &mut Ebpf, iface: &Iface) -> Result<(TcLinks, Option<XdpLinkId>), String> {
        let mut tc_links = Vec::new();
        for (name, direction) in DIRECTIONS {
            // First in order, so that a later program's redirect hides nothing; ours says "next".
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            let link = classifier(ebpf, name)?
                .attach_with_options(&iface.name, direction, options)
                .map_err(|error| refusal(&error))?;
            tc_links.push((name, link));
        }
        let mode = match self.options.xdp {
            XdpMode::Native => AyaXdpMode::Driver,
            XdpMode::Generic => AyaXdpMode::Skb,
            XdpMode::Auto | XdpMode::Off => return Ok((tc_links, None)),
        };
        let link = xdp(ebpf)?.attach(&iface.name, mode).map_err(|error| refusal(&error))?;
        Ok((tc_links, Some(link)))
    }

    fn release(&mut self, ebpf: &mut Ebpf, maps: &mut Maps, gone: impl Fn(&Slot) -> bool) {
        let (released, kept) = std::mem::take(&mut self.slots).into_iter().partition(gone);
        self.slots = kept;
        for slot in released {
            let Slot { slot: _, netns: _, iface, xdp: _, tc_links, xdp_link } = slot;
            for (name, link) in tc_links {
                if let Ok(program) = classifier(ebpf, name)
                    && let Ok(link) = program.take_link(link)
                {
                    // The kernel detached it when the interface went; closing our side can not fail in a way that matters.
                    let _already_gone = link.detach();
                }
            }
            if let (Some(link), Ok(program)) = (xdp_link, xdp(ebpf))
                && let Ok(link) = program.take_link(link)
            {
                let _already_gone = link.detach();
            }
            maps.close_slot(iface.ifindex);
        }
    }
}

type TcLinks = Vec<(&'static str, SchedClassifierLinkId)>;

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, String> {
    let program = ebpf.program_mut(name).ok_or_else(|| format!("the object has no program {name}"))?;
    program.try_into().map_err(|error: aya::programs::ProgramError| error.to_string())
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, String> {
    let program = ebpf.program_mut(XDP).ok_or_else(|| format!("the object has no program {XDP}"))?;
    program.try_into().map_err(|error: aya::programs::ProgramError| error.to_string())
}

/// Routes that every interface has by itself say nothing about its use.
fn is_link_local(network: &IpAddr) -> bool {
    match network {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}
