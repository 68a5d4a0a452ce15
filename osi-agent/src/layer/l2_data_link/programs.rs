//! Packets that somebody's XDP program, tc program or tc filter dropped. Ours never drop.

use std::collections::{BTreeMap, BTreeSet};

use osi_common::drop::UNNAMED;
use osi_common::layer::Layer;

use crate::layer::drops::drops;
use crate::layer::l1_physical::driver;
use crate::layer::{Amount, DropRow, Read, Row, Source, Unit, Window, rows};
use crate::scope::{Iface, Netns, Scope, ScopeKind};
use crate::snapshot::driver::Meaning;
use crate::snapshot::{Hook, Qdisc};

rows! { Layer::L2;
    PROGRAM_DROPS: "Packets that XDP programs, tc programs and tc filters of others dropped." {
        id: "program_drops",
        unit: Unit::Packets,
        source: Source::Map,
        scope: ScopeKind::Netns,
        fed_by: &["drops"],
        since: "5.10",
        read: Read::Drops(dropped),
    }
    FRAMES_SENT: "Frames that the namespace's interfaces sent, loopback excluded." {
        id: "frames_sent",
        unit: Unit::Packets,
        source: Source::Netlink,
        scope: ScopeKind::Netns,
        fed_by: &["links"],
        since: "5.10",
        read: Read::Traffic(sent),
    }
}

/// Who ends a packet's way in XDP: the kernel names no reason for it, on any version so far. The last three are the driver of
/// veth, which makes packets before it runs the program.
const XDP_FUNCTIONS: [&str; 5] = [
    "do_xdp_generic",
    "netif_receive_generic_xdp",
    "veth_poll",
    "veth_xdp_rcv",
    "veth_xdp_rcv_skb",
];
/// The hooks of tc on the way in.
const INGRESS: [Hook; 2] = [Hook::TcxIngress, Hook::FilterIngress];
/// The hooks of tc on the way out.
const EGRESS: [Hook; 2] = [Hook::TcxEgress, Hook::FilterEgress];

/// The hooks of which one dropped a packet with this reason in this function; none where it was no program.
///
/// The reasons of tc are there from 5.18 on.
pub fn hooks(reason: &str, function: &str) -> &'static [Hook] {
    match reason {
        "TC_INGRESS" => &INGRESS,
        "TC_EGRESS" => &EGRESS,
        "XDP" => &[Hook::Xdp],
        UNNAMED if XDP_FUNCTIONS.contains(&function) => &[Hook::Xdp],
        _ => &[],
    }
}

/// Every hook at which packets were dropped in a namespace in this window.
pub fn hooks_that_dropped<'a>(
    window: &Window,
    netns: &Netns,
    rows: impl Iterator<Item = &'a DropRow>,
) -> BTreeSet<Hook> {
    let here = rows.filter(|row| row.scope.netns.as_ref() == Some(netns));
    let mut found: BTreeSet<Hook> = here
        .flat_map(|row| {
            row.functions
                .iter()
                .map(|(function, _)| hooks(&row.reason, function))
        })
        .flatten()
        .copied()
        .collect();
    if by_drivers(window).any(|(on, _, _)| on == netns) {
        found.insert(Hook::Xdp);
    }
    if by_filters(window).any(|(on, _, _)| on == netns) {
        found.extend([Hook::FilterIngress, Hook::FilterEgress]);
    }
    found
}

/// Whether filters dropped packets in the scope that no reason tells of.
pub fn filters_drop(window: &Window, scope: &Scope) -> bool {
    by_filters(window).any(|(netns, _, _)| Some(netns) == scope.netns.as_ref())
}

/// The interface on which most was dropped, as far as the interfaces' own counters tell.
pub fn counted_on<'a>(window: &Window<'a>, netns: &Netns) -> Option<&'a Iface> {
    by_filters(window)
        .chain(by_drivers(window))
        .filter(|(on, _, _)| *on == netns)
        .max_by_key(|(_, _, packets)| *packets)
        .map(|(_, iface, _)| iface)
}

/// An interface of a namespace, and packets that were dropped on it.
type Place<'a> = (&'a Netns, &'a Iface, u64);

/// What filters dropped, where the kernel names no reasons: there it looks like frames that nobody takes. The qdisc counts it
/// on every kernel, but not what TCX programs drop, and is read at another moment than the probe's map.
fn by_filters<'a>(window: &Window<'a>) -> impl Iterator<Item = Place<'a>> + use<'a> {
    let nameless = window.now.kernel.nameless;
    let holders = window
        .qdiscs()
        .filter(move |row| nameless && row.now.holds_filters());
    holders
        .map(|row: Row<Qdisc>| {
            let more = row.now.drops.saturating_sub(row.before.drops);
            (row.netns, &row.now.iface, more)
        })
        .filter(|(_, _, packets)| *packets > 0)
}

/// What XDP programs dropped inside a driver, before there was a packet that could be freed.
fn by_drivers<'a>(window: &Window<'a>) -> impl Iterator<Item = Place<'a>> + use<'a> {
    driver::grown(window)
        .filter(|growth| {
            growth
                .row
                .is_some_and(|row| row.meaning == Meaning::ProgramDrop)
        })
        .map(|growth| (growth.netns, &growth.driver.iface, growth.by))
}

fn dropped(window: &Window, rows: &mut Vec<Amount>) {
    let mut packets: BTreeMap<&Netns, u64> = BTreeMap::new();
    for (netns, _, more) in by_filters(window).chain(by_drivers(window)) {
        *packets.entry(netns).or_default() += more;
    }
    rows.extend(packets.into_iter().map(|(netns, delta)| Amount {
        scope: Scope::netns(netns),
        delta,
    }));
    let freed = drops(window, |key| !hooks(&key.reason, &key.function).is_empty());
    let known = freed.into_iter().filter(|row| row.scope.netns.is_some());
    rows.extend(known.map(|row| Amount {
        scope: row.scope,
        delta: row.packets,
    }));
}

fn sent(window: &Window, rows: &mut Vec<Amount>) {
    let links = window.links().filter(|row| !row.now.loopback);
    rows.extend(links.map(|row| {
        Amount {
            scope: Scope::netns(row.netns),
            delta: row
                .now
                .stats
                .tx_packets
                .saturating_sub(row.before.stats.tx_packets),
        }
    }));
}
