//! tc ingress and egress (TCX, else clsact): every packet of an interface, in both directions, and what those of known protocols
//! are handed to. Never changes a packet's fate.

use aya_ebpf::{macros::classifier, programs::TcContext};
use osi_common::interface::Direction;

use crate::l2_data_link::traffic;
use crate::l3_network::{forwarding, icmp};
use crate::l4_transport::round_trip;
use crate::l6_presentation::{quic, tls};
use crate::l7_application::{dns, http};
use crate::shared::wire;

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: go on with the next program or filter.
const NEXT: i32 = -1;

#[classifier]
pub(crate) fn osi_tc_ingress(ctx: TcContext) -> i32 {
    traffic::packet(&ctx, Direction::Rx);
    icmp::packet(&ctx, Direction::Rx);
    forwarding::received(&ctx);
    wire::hand_on(&ctx, Direction::Rx);
    NEXT
}

#[classifier]
pub(crate) fn osi_tc_egress(ctx: TcContext) -> i32 {
    forwarding::sent(&ctx);
    traffic::packet(&ctx, Direction::Tx);
    icmp::packet(&ctx, Direction::Tx);
    round_trip::sent(&ctx);
    wire::hand_on(&ctx, Direction::Tx);
    NEXT
}

/// Handed a packet by one of the above that begins like a DNS message.
#[classifier]
pub(crate) fn osi_wire_dns(ctx: TcContext) -> i32 {
    dns::packet(&ctx);
    NEXT
}

/// Handed a packet that begins like a record of a TLS handshake, or that ends a TCP connection. That may end an exchange of HTTP as
/// well.
#[classifier]
pub(crate) fn osi_wire_tls(ctx: TcContext) -> i32 {
    tls::packet(&ctx);
    wire::hand_on_an_end(&ctx);
    NEXT
}

/// Handed a packet by one of the above that begins like an HTTP message, or ends a TCP connection.
#[classifier]
pub(crate) fn osi_wire_http(ctx: TcContext) -> i32 {
    http::packet(&ctx);
    NEXT
}

/// Handed a datagram that belongs to a handshake of QUIC, or may be the first behind one.
#[classifier]
pub(crate) fn osi_wire_quic(ctx: TcContext) -> i32 {
    quic::packet(&ctx);
    NEXT
}
