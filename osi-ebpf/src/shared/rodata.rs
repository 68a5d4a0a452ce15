//! What user space freezes into `.rodata` before loading: constants to the verifier, so that branches not taken cost nothing.

use osi_common::offsets::{IN_TABLE, Offsets, Settings};

/// Field offsets of the running kernel.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::NONE;

/// Scope and variants of this run.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings {
    netns: 0,
    home: 0,
    kfree_skb_args: 0,
    tcp_send_reset_args: 0,
    tcp_retransmit_args: 0,
    no_socket: 0,
    forwards: 0,
    exchanges: 0,
    hands_on: 0,
    names: 0,
};

/// One field's offset.
macro_rules! offset {
    ($field:ident) => {
        $crate::shared::rodata::load(&raw const $crate::shared::rodata::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// Reads a `.rodata` value that the compiler must not fold into its initial value.
#[inline(always)]
pub(crate) fn load(value: *const u32) -> u32 {
    // SAFETY: the only callers pass pointers into the statics above, which live forever and are aligned.
    unsafe { core::ptr::read_volatile(value) }
}

/// The one namespace to watch, 0 for all.
#[inline(always)]
pub(crate) fn watched_netns() -> u32 {
    load(&raw const SETTINGS.netns)
}

/// The namespace whose interfaces carry the packet programs.
#[inline(always)]
pub(crate) fn home_netns() -> u32 {
    load(&raw const SETTINGS.home)
}

/// Whether an occurrence in this namespace is in scope.
#[inline(always)]
pub(crate) fn in_scope(netns: u32) -> bool {
    let watched = watched_netns();
    watched == 0 || watched == netns
}

/// Whether packets are forwarded where the packet programs sit.
#[inline(always)]
pub(crate) fn forwards() -> bool {
    load(&raw const SETTINGS.forwards) != 0
}

/// Whether the records of connections are in a table, and not in their sockets.
#[inline(always)]
pub(crate) fn keeps_in_table() -> bool {
    load(&raw const SETTINGS.exchanges) == IN_TABLE
}

/// Whether packets are handed to the programs of their protocols.
#[inline(always)]
pub(crate) fn hands_on() -> bool {
    load(&raw const SETTINGS.hands_on) != 0
}

/// Whether names may leave the kernel.
#[inline(always)]
pub(crate) fn names() -> bool {
    load(&raw const SETTINGS.names) != 0
}

/// Arguments of the `kfree_skb` tracepoint.
#[inline(always)]
pub(crate) fn kfree_skb_args() -> u32 {
    load(&raw const SETTINGS.kfree_skb_args)
}

/// Arguments of the `tcp_send_reset` tracepoint.
#[inline(always)]
pub(crate) fn tcp_send_reset_args() -> u32 {
    load(&raw const SETTINGS.tcp_send_reset_args)
}

/// Arguments of the `tcp_retransmit_skb` tracepoint.
#[inline(always)]
pub(crate) fn tcp_retransmit_args() -> u32 {
    load(&raw const SETTINGS.tcp_retransmit_args)
}

/// Number of the drop reason `NO_SOCKET`, 0 where there is none.
#[inline(always)]
pub(crate) fn no_socket() -> u32 {
    load(&raw const SETTINGS.no_socket)
}
