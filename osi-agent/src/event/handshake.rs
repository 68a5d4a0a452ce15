//! Events of handshakes that took long.

use osi_common::layer::Layer;

use super::{EVENTS_PER_KEY, Event, EventKind, Flow, Names};
use crate::layer::{PeerDelta, Window};
use crate::scope::Proto;

/// Slow handshakes by peer: in each namespace those with most of them, and the last event carries the rest.
pub(super) fn slow(window: &Window, names: &Names) -> Vec<Event> {
    let peers = window.peers();
    let mut slow: Vec<(&PeerDelta, u64)> = peers
        .iter()
        .map(|peer| (peer, peer.times.longer_than(names.slow_handshake_ns)))
        .filter(|(_, count)| *count > 0)
        .collect();
    slow.sort_by(|(a, more), (b, count)| a.netns.cmp(&b.netns).then(count.cmp(more)));
    let groups = slow.chunk_by(|(a, _), (b, _)| a.netns == b.netns);
    groups
        .flat_map(|group| told(window, names, group))
        .collect()
}

fn told(window: &Window, names: &Names, group: &[(&PeerDelta, u64)]) -> Vec<Event> {
    let (named, rest) = group.split_at(group.len().min(EVENTS_PER_KEY));
    let rest: u64 = rest.iter().map(|(_, count)| count).sum();
    let event = |(place, (peer, count)): (usize, &(&PeerDelta, u64))| {
        let last = place + 1 == named.len();
        let count = count + if last { rest } else { 0 };
        Event {
            flow: Some(Flow {
                src: None,
                sport: None,
                dst: Some(peer.address.to_string()),
                dport: Some(peer.port),
                proto: Some(Proto::Tcp),
            }),
            ..Event::of(
                window,
                names,
                EventKind::HandshakeSlow,
                Layer::L4,
                &peer.netns,
                count,
            )
        }
    };
    named.iter().enumerate().map(event).collect()
}
