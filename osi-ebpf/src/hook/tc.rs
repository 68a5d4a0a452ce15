//! tc ingress and egress (TCX, else clsact): every packet of an interface, in both directions. Never changes a packet's fate.

use aya_ebpf::{macros::classifier, programs::TcContext};
use osi_common::interface::Direction;

use crate::l2_data_link::traffic;
use crate::l3_network::{forwarding, icmp};
use crate::l4_transport::round_trip;

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: go on with the next program or filter.
const NEXT: i32 = -1;

#[classifier]
pub(crate) fn osi_tc_ingress(ctx: TcContext) -> i32 {
    traffic::packet(&ctx, Direction::Rx);
    icmp::packet(&ctx, Direction::Rx);
    forwarding::received(&ctx);
    NEXT
}

#[classifier]
pub(crate) fn osi_tc_egress(ctx: TcContext) -> i32 {
    forwarding::sent(&ctx);
    traffic::packet(&ctx, Direction::Tx);
    icmp::packet(&ctx, Direction::Tx);
    round_trip::sent(&ctx);
    NEXT
}
