//! Dropped packets by reason, on the layer that the reason belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use osi_common::drop::{self, Class};
use osi_common::layer::Layer;

use super::{LayerMap, Window};
use crate::scope::Scope;
use crate::snapshot::DropKey;

/// Drops of one reason in one namespace in the window.
#[derive(Clone, Debug)]
pub struct DropRow {
    /// The kernel's name of the reason.
    pub reason: Arc<str>,
    /// Functions that dropped them, most first.
    pub functions: Vec<(Arc<str>, u64)>,
    /// The layer that the reason belongs to.
    pub layer: Layer,
    /// What kind of fault it stands for.
    pub class: Class,
    /// Namespace, or the host where the kernel did not tell.
    pub scope: Scope,
    /// Packets (skbs).
    pub packets: u64,
    /// Segments: max(1, gso_segs) of each.
    pub segments: u64,
    /// Fragments freed with their head; not packets of their own.
    pub fragments: u64,
}

/// Frees of a fragment list's members go through here: they are parts of a packet that was counted already.
const FRAGMENT_FUNCTION: &str = "skb_release_data";

/// Reason, namespace where it is known, layer and class.
type Place = (Arc<str>, Option<u32>, Layer, &'static str);

/// The wanted drops of the window, one row per reason, namespace, layer and class, most packets first.
///
/// Where only one namespace is watched, drops of others and of no known one are left out.
pub(super) fn drops(window: &Window, wanted: impl Fn(&DropKey) -> bool) -> Vec<DropRow> {
    let mut rows: BTreeMap<Place, DropRow> = BTreeMap::new();
    let all = window.now.kernel.drops.iter();
    for (key, now) in all.filter(|(key, _)| wanted(key)) {
        let before = window
            .previous
            .kernel
            .drops
            .get(key)
            .copied()
            .unwrap_or_default();
        let packets = now.count.saturating_sub(before.count);
        if packets == 0 {
            continue;
        }
        let netns = window.netns(key.netns);
        if netns.is_none() && window.single_netns {
            continue;
        }
        let segments = now.segments.saturating_sub(before.segments);
        let drop::Blame { layer, class, .. } = drop::blame(&key.reason, &key.function);
        let place = (
            key.reason.clone(),
            netns.map(|netns| netns.inode),
            layer,
            class.name(),
        );
        let row = rows.entry(place).or_insert_with(|| {
            let scope = netns.map_or_else(Scope::host, Scope::netns);
            let reason = key.reason.clone();
            DropRow {
                reason,
                functions: Vec::new(),
                layer,
                class,
                scope,
                packets: 0,
                segments: 0,
                fragments: 0,
            }
        });
        if &*key.function == FRAGMENT_FUNCTION {
            row.fragments += packets;
        } else {
            row.packets += packets;
            row.segments += segments;
        }
        row.functions.push((key.function.clone(), packets));
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    for row in &mut rows {
        row.functions.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.packets));
    rows
}

/// Functions that free a TCP packet for which there is no socket.
const NO_SOCKET: [&str; 2] = ["tcp_v4_rcv", "tcp_v6_rcv"];

/// Packets that these functions dropped in the window in the namespace with this inode.
pub(super) fn without_socket(window: &Window, inode: u32) -> u64 {
    let wanted = |key: &DropKey| key.netns == inode && NO_SOCKET.contains(&&*key.function);
    drops(window, wanted).iter().map(|row| row.packets).sum()
}

impl LayerMap {
    /// The rows of drops on all layers.
    pub fn drops(&self) -> impl Iterator<Item = &DropRow> {
        self.layers.iter().flat_map(|layer| &layer.drops)
    }
}
