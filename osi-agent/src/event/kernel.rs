//! Events of the eBPF maps: connects that failed, segments sent again, resets, ICMP errors, drops.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use osi_common::drop::{self, Class};
use osi_common::failure::{self, Failure};
use osi_common::http;
use osi_common::icmp;
use osi_common::layer::Layer;
use osi_common::occurrence::{Count, Key, Kind, Phase, Sample};
use osi_common::{dns, tls};

use super::spread::spread;
use super::{Actor, Event, EventKind, Flow, KilledBy, Names, errno, of_sample};
use crate::host::boot::start_time;
use crate::host::workload::Workload;
use crate::layer::Window;
use crate::layer::l4_transport::failures;
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
        let (raw_kind, code, netns, ifindex, location) = identity;
        let Some(netns) = namespace(window, names, netns) else {
            continue;
        };
        let (errno, reason) = detail(raw_kind, code, names);
        let killed_by = killed_by(raw_kind, code, location, names);
        for (sample, count) in spread(total, samples.get(&identity).map_or(&[][..], Vec::as_slice))
        {
            let blank = blank(window, names, sample.copied(), kind, layer, count);
            let iface = iface(window, netns.as_ref(), ifindex);
            events.push(Event {
                netns: netns.clone(),
                iface,
                errno: errno.clone(),
                reason: reason.clone(),
                killed_by: killed_by.clone(),
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

/// What is rate-limited together: kind, code, namespace, interface, and the function where one dropped.
type Identity = (u32, u32, u32, u32, u64);

fn identity(key: &Key) -> Identity {
    (key.kind, key.code, key.netns, key.ifindex, key.location)
}

fn kind_of(key: &Key) -> Option<(EventKind, Layer)> {
    match Kind::from_u32(key.kind)? {
        Kind::PortExhausted | Kind::PortRefused => Some((EventKind::PortExhausted, Layer::L4)),
        Kind::ConnectFailed => Some((EventKind::ConnectFailed, Layer::L4)),
        Kind::Retransmit | Kind::RetransmitSynack => Some((EventKind::Retransmit, Layer::L4)),
        Kind::ResetSent => Some((EventKind::ResetSent, Layer::L4)),
        Kind::ResetReceived => Some((EventKind::ResetReceived, Layer::L4)),
        Kind::IcmpErrorReceived => Some((EventKind::IcmpErrorReceived, Layer::L3)),
        Kind::IcmpErrorSent => Some((EventKind::IcmpErrorSent, Layer::L3)),
        Kind::Closed if is_aborted(key) => Some((EventKind::SessionAborted, Layer::L5)),
        Kind::DnsFailed => Some((EventKind::DnsFailed, Layer::L7)),
        Kind::TlsFailed => Some((EventKind::TlsFailed, Layer::L6)),
        Kind::HttpFailed => Some((EventKind::HttpError, Layer::L7)),
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

/// Whether an error ended a session. Those without room for a key of their own are mixed with sessions that ended well.
const fn is_aborted(key: &Key) -> bool {
    key.code != 0 && key.code != Key::OTHER && key.location == 0
}

/// errno and reason of an occurrence.
fn detail(kind: u32, code: u32, names: &Names) -> (Option<String>, Option<String>) {
    let reason = |text: &str| (None, Some(text.to_owned()));
    if code == Key::OTHER {
        return reason("other");
    }
    match Kind::from_u32(kind) {
        Some(Kind::ConnectFailed) if failure::errno(code) == 0 => reason("abandoned"),
        Some(Kind::PortExhausted | Kind::ConnectFailed) => {
            (Some(errno::name(failure::errno(code))), None)
        }
        Some(Kind::Closed) => (Some(errno::name(code)), None),
        Some(Kind::PortRefused) => reason(protocol(code).map_or("other", Proto::name)),
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
        Some(Kind::DnsFailed) => reason(&outcome(code)),
        Some(Kind::TlsFailed) => reason(&tls_failure(code)),
        Some(Kind::HttpFailed) if code == http::NO_ANSWER => reason("no_answer"),
        Some(Kind::HttpFailed) => reason(&code.to_string()),
        Some(_) | None => (None, None),
    }
}

/// How a DNS query ended.
fn outcome(code: u32) -> String {
    dns::outcome(code).map_or_else(|| format!("rcode#{code}"), str::to_owned)
}

/// Why a TLS handshake came to no good end; without who said so.
pub(crate) fn tls_failure(code: u32) -> String {
    let unnamed = || format!("alert#{}", code & 0xff);
    tls::failure(code).map_or_else(unnamed, str::to_owned)
}

/// What ended a connect that failed; nothing for other kinds.
fn killed_by(kind: u32, code: u32, location: u64, names: &Names) -> Option<KilledBy> {
    if !failures::is_failure(kind) {
        return None;
    }
    let (layer, what) = failures::killed_by(Failure::of(code), |reason| {
        let function = (names.function)(location);
        Some(((names.drop_reason)(reason, &function), function))
    });
    Some(KilledBy::of(layer, &what))
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
    let at_ns = sample.map_or(window.now.boot_ns, |sample| sample.at_ns);
    Event {
        flow: sample.and_then(flow),
        sender: sample.and_then(sender),
        name: sample.and_then(of_sample),
        process: sample
            .filter(|sample| sample.pid != 0)
            .map(|sample| actor(sample, names)),
        ..Event::bare(kind, layer, count, names.clock.rfc3339(at_ns))
    }
}

fn actor(sample: &Sample, names: &Names) -> Actor {
    let cgroup = (names.cgroup)(sample.cgroup).map(|path| safe(&path).into_owned());
    Actor {
        pid: sample.pid,
        start_time: start_time(sample.started_ns),
        comm: from_kernel(&sample.comm),
        workload: cgroup.as_deref().map(Workload::of).unwrap_or_default(),
        cgroup,
    }
}

fn flow(sample: &Sample) -> Option<Flow> {
    if sample.family == 0 {
        return None;
    }
    let address = |bytes| address_of(sample.family, bytes).to_string();
    let port = |port: u16| (port != 0).then_some(port);
    Some(Flow {
        src: Some(address(&sample.local)),
        sport: port(sample.local_port),
        // A socket may have no destination yet.
        dst: (sample.remote != [0; 16]).then(|| address(&sample.remote)),
        dport: port(sample.remote_port),
        proto: protocol(sample.protocol.into()),
    })
}

fn protocol(number: u32) -> Option<Proto> {
    match number.cast_signed() {
        libc::IPPROTO_TCP => Some(Proto::Tcp),
        libc::IPPROTO_UDP => Some(Proto::Udp),
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => Some(Proto::Icmp),
        _ => None,
    }
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
