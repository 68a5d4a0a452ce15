//! tp_btf `kfree_skb`: every packet the kernel frees as dropped. Since 5.17 with a reason, since 6.11 with the receiving socket.
//!
//! Cost: one run per dropped packet; a healthy connection frees one (its purged queue).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::l3_network::drops;
use crate::shared::{read::Object, rodata::kfree_skb_args, sock::Sock};

#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    let Some(skb) = Object::typed(ctx.arg(0)) else {
        return 0;
    };
    let location: u64 = ctx.arg(1);
    let reason: u32 = if kfree_skb_args() >= 3 {
        ctx.arg(2)
    } else {
        drops::own_reason(skb)
    };
    let receiver = if kfree_skb_args() >= 4 {
        Sock::nullable(ctx.arg(3))
    } else {
        None
    };
    drops::dropped(&ctx, skb, location, reason, receiver);
    0
}
