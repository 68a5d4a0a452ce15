//! tp_btf `neigh_create` and `neigh_update`: neighbour entries made and answered, in any namespace.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::l2_data_link::neighbour;
use crate::shared::{
    read::Object,
    rodata::{in_scope, offset},
    sock::netns_of,
};

/// The entry may be null: there was no memory for it. Its own device is not set yet.
#[btf_tracepoint(function = "neigh_create")]
pub(crate) fn neigh_create(ctx: BtfTracePointContext) -> i32 {
    let Some(device) = Object::typed(ctx.arg(1)) else {
        return 0;
    };
    let netns = device.pointer(offset!(dev_net)).map_or(0, netns_of);
    if let Some(entry) = Object::untyped(ctx.arg(3))
        && in_scope(netns)
    {
        neighbour::created(entry);
    }
    0
}

#[btf_tracepoint(function = "neigh_update")]
pub(crate) fn neigh_update(ctx: BtfTracePointContext) -> i32 {
    if let Some(entry) = Object::typed(ctx.arg(0)) {
        neighbour::updated(entry, ctx.arg::<u64>(2) as u8);
    }
    0
}
