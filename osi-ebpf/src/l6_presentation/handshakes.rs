//! Handshakes in flight, of TLS and of QUIC.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{HashMap, PerCpuArray},
    programs::TcContext,
};
use osi_common::quic;
use osi_common::tls::{Endpoint, Handshake, MAX_HANDSHAKES, Stage};
use osi_common::wire::{Ends, NAME_BYTES, Role};

use super::endpoints::endpoint;
use crate::l7_application::waits;
use crate::shared::packet::{Packet, is_for_us};

/// Writer: `tls`. Reader and deleter of what does not end: the agent, each window. Full: noted in `HEALTH`.
#[map]
pub(super) static TLS_IN_FLIGHT: HashMap<Ends, Handshake> =
    HashMap::with_max_entries(MAX_HANDSHAKES, 0);

/// Writer: `quic`. The same else. A map of its own, as forged datagrams can fill it.
#[map]
pub(super) static QUIC_IN_FLIGHT: HashMap<Ends, Handshake> =
    HashMap::with_max_entries(quic::MAX_HANDSHAKES, 0);

/// What is being looked up or made, which the stack has no room for.
#[repr(C)]
pub(super) struct Work {
    pub(super) ends: Ends,
    pub(super) handshake: Handshake,
    pub(super) endpoint: Endpoint,
}

/// Writer and reader: `tls` and `quic`, within one run.
#[map]
static TLS_WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's place for it.
#[inline(always)]
pub(super) fn work() -> Option<&'static mut Work> {
    let work = TLS_WORK.get_ptr_mut(0)?;
    // SAFETY: the pointer comes from a per-CPU map lookup, and softirqs are off: nobody else uses it while this program runs,
    // and each program asks for it once.
    Some(unsafe { &mut *work })
}

/// Who this host is to a client whose hello a packet carries; `None` where it hands that on, and sees it leave.
#[inline(always)]
pub(super) fn role(
    ctx: &TcContext,
    packet: Packet<'_>,
    transport: u8,
    ends: &Ends,
) -> Option<Role> {
    if packet.leaves() {
        return Some(Role::Asking);
    }
    // As the key has them, whoever asks.
    let (server, client) = (
        (&ends.server.address, ends.server.port),
        (&ends.client, ends.client_port),
    );
    is_for_us(ctx, transport, ends.server.family, server, client).then_some(Role::Serving)
}

/// A handshake that begins now, of the ends that are at work; what only TLS knows of it is still to be said.
#[inline(always)]
pub(super) fn new(handshake: &mut Handshake, role: Role) {
    // SAFETY: helper without preconditions.
    handshake.begun_ns = unsafe { bpf_ktime_get_boot_ns() };
    handshake.stage = Stage::Asked as u32;
    handshake.role = role as u32;
    handshake.version = 0;
    handshake.resumed = 0;
    handshake.client_next = 0;
    handshake.server_next = 0;
    handshake.name = [0; NAME_BYTES];
}

/// Begins to follow it. False where there is no room for it.
#[inline(always)]
pub(super) fn begin(in_flight: &HashMap<Ends, Handshake>, work: &mut Work) -> bool {
    let new = &work.handshake;
    if in_flight
        .insert(work.ends, new, u64::from(BPF_NOEXIST))
        .is_err()
    {
        return false;
    }
    if let Some(row) = endpoint(new.role, &work.ends, &mut work.endpoint) {
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        waits::begin(unsafe { &raw mut (*row).times }, new.begun_ns);
    }
    true
}
