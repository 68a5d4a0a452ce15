//! Events of the eBPF maps: connects that failed, segments sent again, resets, ICMP errors, drops.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use osi_common::drop::{self, Class};
use osi_common::icmp;
use osi_common::layer::Layer;
use osi_common::occurrence::{Count, Key, Kind, Phase, Sample};

use super::spread::spread;
use super::{Actor, Event, EventKind, Flow, Names, errno};
use crate::host::workload::Workload;
use crate::layer::Window;
use crate::output::text::{from_kernel, safe};
use crate::scope::{Iface, Netns, Proto};

/// Frees of a fragment list's members go through here: parts of a packet that was counted already.
const FRAGMENT_FUNCTION: &str = "skb_release_data";

/// Events of everything but drops.
pub(super) fn occurrences(window: &Window, names: &Names) -> Vec<Event> {
    let mut groups: BTreeMap<Identity, ((EventKind, Layer), u64)> = BTreeMap::new();
    for (key, now) in &window.now.kernel.occurrences {
        if let (Some(kind), Some(delta)) = (
            kind_of(key),
            growth(now, window.previous.kernel.occurrences.get(key)),
        ) {
            groups.entry(identity(key)).or_insert((kind, 0)).1 += delta;
        }
    }
    let mut samples: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in &window.now.samples {
        samples
            .entry(identity(&sample.key))
            .or_default()
            .push(sample);
    }
    let mut events = Vec::new();
    for (identity, ((kind, layer), total)) in groups {
        let (raw_kind, code, netns, ifindex) = identity;
        let Some(netns) = namespace(window, names, netns) else {
            continue;
        };
        let (errno, reason) = detail(raw_kind, code, names);
        for (sample, count) in spread(total, samples.get(&identity).map_or(&[][..], Vec::as_slice))
        {
            let blank = blank(window, names, sample.copied(), kind, layer, count);
            let iface = iface(window, netns.as_ref(), ifindex);
            events.push(Event {
                netns: netns.clone(),
                iface,
                errno: errno.clone(),
                reason: reason.clone(),
                ..blank
            });
        }
    }
    events
}

/// Events of drops, without benign ones. Drops are counted without their interface; a sample still shows it.
pub(super) fn drops(window: &Window, names: &Names) -> Vec<Event> {
    type Group = (Arc<str>, u32);
    type Dropped<'a> = (&'a Sample, Arc<str>);
    let mut totals: BTreeMap<(Group, Layer), (Class, u64)> = BTreeMap::new();
    for (key, now) in &window.now.kernel.drops {
        let Some(delta) = growth(now, window.previous.kernel.drops.get(key)) else {
            continue;
        };
        if let Some((layer, class)) = told(&key.reason, &key.function) {
            totals
                .entry(((key.reason.clone(), key.netns), layer))
                .or_insert((class, 0))
                .1 += delta;
        }
    }
    let mut samples: BTreeMap<(Group, Layer), Vec<Dropped>> = BTreeMap::new();
    for sample in window
        .now
        .samples
        .iter()
        .filter(|sample| sample.key.kind == Kind::Drop as u32)
    {
        let function = (names.function)(sample.key.location);
        let reason = (names.drop_reason)(sample.key.code, &function);
        if let Some((layer, _)) = told(&reason, &function) {
            samples
                .entry(((reason, sample.key.netns), layer))
                .or_default()
                .push((sample, function));
        }
    }
    let mut events = Vec::new();
    for (identity, (class, total)) in totals {
        let ((reason, netns), layer) = &identity;
        let Some(netns) = namespace(window, names, *netns) else {
            continue;
        };
        for (sampled, count) in spread(total, samples.get(&identity).map_or(&[][..], Vec::as_slice))
        {
            let blank = blank(
                window,
                names,
                sampled.map(|(sample, _)| *sample),
                EventKind::Drop,
                *layer,
                count,
            );
            events.push(Event {
                netns: netns.clone(),
                iface: iface(
                    window,
                    netns.as_ref(),
                    sampled.map_or(0, |(sample, _)| sample.key.ifindex),
                ),
                reason: Some(safe(reason).into_owned()),
                class: Some(class.name().to_owned()),
                function: sampled
                    .filter(|(_, name)| !name.is_empty())
                    .map(|(_, name)| safe(name).into_owned()),
                ..blank
            });
        }
    }
    events
}

/// Layer and class of drops that are events.
fn told(reason: &str, function: &str) -> Option<(Layer, Class)> {
    let drop::Blame { layer, class, .. } = drop::blame(reason, function);
    (class != Class::Benign && function != FRAGMENT_FUNCTION).then_some((layer, class))
}

fn growth(now: &Count, before: Option<&Count>) -> Option<u64> {
    let delta = now
        .count
        .saturating_sub(before.map_or(0, |before| before.count));
    (delta > 0).then_some(delta)
}

/// What is rate-limited together: kind, code, namespace, interface.
type Identity = (u32, u32, u32, u32);

fn identity(key: &Key) -> Identity {
    (key.kind, key.code, key.netns, key.ifindex)
}

fn kind_of(key: &Key) -> Option<(EventKind, Layer)> {
    match Kind::from_u32(key.kind)? {
        Kind::PortExhausted => Some((EventKind::PortExhausted, Layer::L4)),
        Kind::ConnectFailed => Some((EventKind::ConnectFailed, Layer::L4)),
        Kind::Retransmit | Kind::RetransmitSynack => Some((EventKind::Retransmit, Layer::L4)),
        Kind::ResetSent => Some((EventKind::ResetSent, Layer::L4)),
        Kind::ResetReceived => Some((EventKind::ResetReceived, Layer::L4)),
        Kind::IcmpErrorReceived => Some((EventKind::IcmpErrorReceived, Layer::L3)),
        Kind::IcmpErrorSent => Some((EventKind::IcmpErrorSent, Layer::L3)),
        // Drops have names for keys; the others are normal life, counted in the map's signals.
        Kind::Drop
        | Kind::Connect
        | Kind::Connected
        | Kind::Accepted
        | Kind::AcceptedUnmeasured
        | Kind::Closed
        | Kind::IcmpErrorForwarded
        | Kind::FullSizeUnacked => None,
    }
}

/// errno and reason of an occurrence.
fn detail(kind: u32, code: u32, names: &Names) -> (Option<String>, Option<String>) {
    let reason = |text: &str| (None, Some(text.to_owned()));
    if code == Key::OTHER {
        return reason("other");
    }
    match Kind::from_u32(kind) {
        Some(Kind::PortExhausted) if code == 0 => (Some("EADDRNOTAVAIL".to_owned()), None),
        Some(Kind::ConnectFailed) if code == 0 => reason("abandoned"),
        Some(Kind::PortExhausted | Kind::ConnectFailed) => (Some(errno::name(code)), None),
        Some(Kind::Retransmit) if code == Phase::Handshake as u32 => reason("handshake"),
        Some(Kind::Retransmit) if code == Phase::Data as u32 => reason("data"),
        Some(Kind::Retransmit) if code == Phase::Close as u32 => reason("close"),
        Some(Kind::RetransmitSynack) => reason("syn_ack"),
        Some(Kind::ResetSent) => (
            None,
            (names.reset_reason)(code).map(|name| safe(&name).into_owned()),
        ),
        Some(Kind::ResetReceived) => (None, Some(tcp_state(code))),
        Some(Kind::IcmpErrorReceived | Kind::IcmpErrorSent) => (
            None,
            icmp::message(code).map(|message| message.name.replace(' ', "_")),
        ),
        Some(_) | None => (None, None),
    }
}

/// Names of `include/net/tcp_states.h`; the numbers are kernel ABI.
fn tcp_state(code: u32) -> String {
    let names = [
        "established",
        "syn_sent",
        "syn_recv",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
        "new_syn_recv",
    ];
    let name = (code as usize)
        .checked_sub(1)
        .and_then(|index| names.get(index));
    name.map_or_else(|| format!("state#{code}"), |name| (*name).to_owned())
}

/// The namespace of a key: `None` when it is out of scope, `Some(None)` when nobody knows it.
#[expect(
    clippy::option_option,
    reason = "out of scope and unknown are different answers"
)]
fn namespace(window: &Window, names: &Names, inode: u32) -> Option<Option<Netns>> {
    let states = window
        .now
        .namespaces
        .iter()
        .chain(&window.previous.namespaces);
    let known = states
        .map(|state| &state.netns)
        .find(|netns| netns.inode == inode && inode != 0);
    if known.is_none() && names.limited {
        None
    } else {
        Some(known.cloned())
    }
}

fn iface(window: &Window, netns: Option<&Netns>, ifindex: u32) -> Option<Iface> {
    if ifindex == 0 {
        return None;
    }
    let state = window
        .now
        .namespaces
        .iter()
        .find(|state| Some(&state.netns) == netns);
    let link = state.and_then(|state| {
        state
            .links
            .iter()
            .find(|link| link.iface.ifindex == ifindex)
    });
    Some(link.map_or_else(
        || Iface {
            ifindex,
            name: format!("if{ifindex}"),
        },
        |link| link.iface.clone(),
    ))
}

/// An event with what its sample tells; without one, at the window's end and nameless.
fn blank(
    window: &Window,
    names: &Names,
    sample: Option<&Sample>,
    kind: EventKind,
    layer: Layer,
    count: u64,
) -> Event {
    Event {
        kind,
        layer: layer.id().to_owned(),
        netns: None,
        flow: sample.and_then(flow),
        sender: sample.and_then(sender),
        iface: None,
        process: sample
            .filter(|sample| sample.pid != 0)
            .map(|sample| actor(sample, names)),
        errno: None,
        reason: None,
        class: None,
        function: None,
        count,
        at: names
            .clock
            .rfc3339(sample.map_or(window.now.boot_ns, |sample| sample.at_ns)),
    }
}

fn actor(sample: &Sample, names: &Names) -> Actor {
    let cgroup = (names.cgroup)(sample.cgroup).map(|path| safe(&path).into_owned());
    Actor {
        pid: sample.pid,
        comm: from_kernel(&sample.comm),
        workload: cgroup.as_deref().map(Workload::of).unwrap_or_default(),
        cgroup,
    }
}

fn flow(sample: &Sample) -> Option<Flow> {
    if sample.family == 0 {
        return None;
    }
    let address = |bytes| Some(address_of(sample.family, bytes).to_string());
    let proto = match i32::from(sample.protocol) {
        libc::IPPROTO_TCP => Some(Proto::Tcp),
        libc::IPPROTO_UDP => Some(Proto::Udp),
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => Some(Proto::Icmp),
        _ => None,
    };
    let port = |port: u16| (port != 0).then_some(port);
    Some(Flow {
        src: address(&sample.local),
        sport: port(sample.local_port),
        dst: address(&sample.remote),
        dport: port(sample.remote_port),
        proto,
    })
}

fn sender(sample: &Sample) -> Option<String> {
    let known = sample.family != 0 && sample.sender != [0; 16];
    known.then(|| address_of(sample.family, &sample.sender).to_string())
}

/// An address as the programs store it: IPv4 in the first four bytes.
fn address_of(family: u16, bytes: &[u8; 16]) -> IpAddr {
    if i32::from(family) == libc::AF_INET6 {
        IpAddr::V6(Ipv6Addr::from(*bytes))
    } else {
        let [a, b, c, d, ..] = *bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}
