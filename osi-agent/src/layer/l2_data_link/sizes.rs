//! How large the packets of an interface are: what a flood of small ones or a path that cuts large ones looks like.

use osi_common::interface::{Direction, SIZE_CLASSES};

use crate::layer::Window;
use crate::scope::Scope;

/// Packets of an interface and direction by size class, as tc counted them in the window.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The interface.
    pub scope: Scope,
    /// Received or sent.
    pub direction: Direction,
    /// Packets per class, see `osi_common::interface::size_class`.
    pub packets: [u64; SIZE_CLASSES],
}

/// One row per interface and direction that carried packets in the window.
pub fn sizes(window: &Window) -> Vec<Sizes> {
    let mut rows = Vec::new();
    for (now, before) in window.interfaces() {
        let scope = Scope::iface(&now.netns, now.iface.ifindex, &now.iface.name);
        let directions = [
            (Direction::Rx, &now.rx, &before.rx),
            (Direction::Tx, &now.tx, &before.tx),
        ];
        for (direction, now, before) in directions {
            let mut packets = now.sizes;
            for (packets, before) in packets.iter_mut().zip(before.sizes) {
                *packets = packets.saturating_sub(before);
            }
            if packets.iter().any(|packets| *packets > 0) {
                let scope = scope.clone();
                rows.push(Sizes {
                    scope,
                    direction,
                    packets,
                });
            }
        }
    }
    rows
}
