//! XDP: every frame before the stack sees it. Only where it was asked for; always passes the frame on.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

use crate::l2_data_link::traffic;

#[xdp]
pub(crate) fn osi_xdp(ctx: XdpContext) -> u32 {
    traffic::frame(&ctx);
    xdp_action::XDP_PASS
}
