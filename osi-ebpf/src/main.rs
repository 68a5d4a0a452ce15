//! The kernel side: one thin program per hook decodes once and calls the topics of the layers.
//!
//! Nothing numeric is known here about the running kernel: field offsets and variants come in frozen `.rodata`.
#![no_std]
#![no_main]
// The result of a fetch-add is not wanted: the intrinsic then becomes the plain `lock add` that kernels from 5.10 on take,
// where `AtomicU64::fetch_add` does not exist for this target.
#![expect(
    internal_features,
    reason = "atomic_xadd is the only way to an atomic add on this target"
)]
#![feature(core_intrinsics)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the attribute macros hand the context over by value"
)]

mod hook {
    pub(crate) mod get_port;
    pub(crate) mod inet_sock_set_state;
    pub(crate) mod kfree_skb;
    pub(crate) mod neigh;
    pub(crate) mod socket_data;
    pub(crate) mod tc;
    pub(crate) mod tcp_connect;
    pub(crate) mod tcp_reset;
    pub(crate) mod tcp_retransmit;
    pub(crate) mod xdp;
}

mod l2_data_link {
    pub(crate) mod neighbour;
    pub(crate) mod traffic;
}

mod l3_network {
    pub(crate) mod drops;
    pub(crate) mod forwarding;
    pub(crate) mod icmp;
    pub(crate) mod path_mtu;
}

mod l4_transport {
    pub(crate) mod handshake;
    pub(crate) mod listener;
    pub(crate) mod opener;
    pub(crate) mod ports;
    pub(crate) mod round_trip;
}

mod l5_session {
    pub(crate) mod broken;
}

mod l6_presentation {
    mod endpoints;
    mod failure;
    mod handshakes;
    mod outcome;
    pub(crate) mod quic;
    pub(crate) mod tls;
}

mod l7_application {
    pub(crate) mod dns;
    pub(crate) mod exchange;
    pub(crate) mod http;
    pub(crate) mod record;
    pub(crate) mod waits;
}

mod shared {
    pub(crate) mod failed;
    pub(crate) mod ip;
    pub(crate) mod latency;
    pub(crate) mod occurrence;
    pub(crate) mod own;
    pub(crate) mod packet;
    pub(crate) mod pending;
    pub(crate) mod read;
    pub(crate) mod rodata;
    pub(crate) mod row;
    pub(crate) mod sock;
    pub(crate) mod wire;
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// GPL-only helpers (`bpf_probe_read_kernel`) need a GPL-compatible declaration.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
