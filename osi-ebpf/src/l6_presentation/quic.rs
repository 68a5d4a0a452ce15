//! QUIC handshakes of clients and servers on this host, and those that it hands on for its containers: how long they take, in
//! which version, and which come to nothing.
//!
//! Only long headers are looked at, and of datagrams with short ones those from ports where a handshake is in flight: a
//! client's first one tells that it has ended the handshake. All else is encrypted.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, macros::map, maps::HashMap, programs::TcContext};
use osi_common::latency::Latency;
use osi_common::occurrence::Health;
use osi_common::quic::{
    MAX_CLIENTS, Packet as Kind, V1, V2, carried, is_first, is_to, pending_slot, receiver, sender,
    version,
};
use osi_common::tls::{Handshake, Stage, VERSION_REFUSED};
use osi_common::wire::{FIRST_BYTES, NAME_BYTES, Role, UDP};

use super::endpoints::endpoint;
use super::failure::show;
use super::handshakes::{QUIC_IN_FLIGHT, Work, begin, new, role, work};
use crate::l7_application::waits;
use crate::shared::{
    latency::record,
    own::{bump, note},
    packet::Packet,
    pending,
};

const INITIAL: u32 = Kind::Initial as u32;
const HANDSHAKE: u32 = Kind::Handshake as u32;
const RETRY: u32 = Kind::Retry as u32;
const NEGOTIATION: u32 = Kind::Negotiation as u32;
const SHORT: u32 = Kind::Short as u32;

/// Ids of clients, and when their handshakes began: what is sent to one of them comes from a server, whatever addresses it has
/// here.
///
/// Writer and reader: this topic. Deleter of those whose handshake is over: the agent, each window. Full: noted in `HEALTH`.
#[map]
static QUIC_CLIENTS: HashMap<[u8; 8], u64> = HashMap::with_max_entries(MAX_CLIENTS, 0);

/// What is still to be known of a handshake when it is taken out: its place may be another's at once.
#[derive(Clone, Copy)]
struct Begun {
    begun_ns: u64,
    role: u32,
    version: u32,
}

impl Begun {
    #[inline(always)]
    fn of(handshake: &Handshake) -> Self {
        Self {
            begun_ns: handshake.begun_ns,
            role: handshake.role,
            version: handshake.version,
        }
    }
}

/// A datagram that begins with a long header, or with a short one from a port where a handshake is in flight.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext) {
    let (Some(packet), Some(work)) = (Packet::at_hand(ctx), work()) else {
        return;
    };
    // As if this host asked, whoever does: no packet says who sent it.
    if !packet.ends(Role::Asking, packet.leaves(), &mut work.ends) {
        return;
    }
    let mut first = [0; FIRST_BYTES];
    if !packet.fill_first(&mut first) {
        return;
    }
    let carried = carried(packet.body(), &first);
    let Some(handshake) = QUIC_IN_FLIGHT.get_ptr_mut(work.ends) else {
        if is_first(&first, packet.length(), carried) {
            asked(ctx, packet, &first, work);
        }
        return;
    };
    // SAFETY: the pointer comes from a map lookup, and the kernel keeps the place while the program runs. Two CPUs may have
    // packets of both sides at once: only those of the server's write.
    let handshake = unsafe { &mut *handshake };
    let by_client = packet.leaves() == (handshake.role == Role::Asking as u32);
    let has_answered = handshake.stage == Stage::Answered as u32;
    if by_client {
        // Behind a long header, another connection of the same ends has no packet of its own.
        let is_its = carried != SHORT || is_to(&first, handshake.server_next);
        if carried & SHORT != 0 && has_answered && is_its {
            completed(work, Begun::of(handshake));
        }
    } else if carried & (INITIAL | HANDSHAKE) != 0 {
        if packet.leaves() && is_forwarded(ctx) {
            // It came in for a socket of this host, and was sent on to another one: there it is counted.
            handed_on(work, Begun::of(handshake));
            return;
        }
        let [a, b, c, d, ..] = sender(packet.body(), &first);
        handshake.server_next = u32::from_be_bytes([a, b, c, d]);
        handshake.version = version(&first);
        handshake.stage = Stage::Answered as u32;
    } else if carried & RETRY != 0 && !has_answered {
        handshake.stage = Stage::Retried as u32;
    } else if carried & NEGOTIATION != 0 && !has_answered {
        refused(ctx, work, Begun::of(handshake));
    }
}

/// Whether a packet that leaves had come in.
#[inline(always)]
fn is_forwarded(ctx: &TcContext) -> bool {
    // SAFETY: the context is the kernel's; the verifier rewrites the field access.
    unsafe { (*ctx.skb.skb).ingress_ifindex != 0 }
}

/// A client's hello, or a server's that stands alone: a handshake begins.
#[inline(always)]
fn asked(ctx: &TcContext, packet: Packet<'_>, first: &[u8; FIRST_BYTES], work: &mut Work) {
    // SAFETY: nothing is read of what is found.
    if unsafe { QUIC_CLIENTS.get(receiver(first)) }.is_some() {
        return;
    }
    let Some(role) = role(ctx, packet, UDP, &work.ends) else {
        return;
    };
    new(&mut work.handshake, role);
    work.handshake.version = version(first);
    let id = sender(packet.body(), first);
    // Without room for it, a server's hello that stands alone may be taken for a client's.
    if id != [0; 8] && QUIC_CLIENTS.insert(id, work.handshake.begun_ns, 0).is_err() {
        note(Health::QuicClientsFull);
    }
    if begin(&QUIC_IN_FLIGHT, work) {
        pending::begun(slot(work, role as u32));
    } else {
        note(Health::QuicFull);
    }
}

/// The client sends data: it has what it needs.
#[inline(always)]
fn completed(work: &mut Work, handshake: Begun) {
    if !removed(work, handshake) {
        return;
    }
    // SAFETY: helper without preconditions.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let taken_ns = now_ns.saturating_sub(handshake.begun_ns);
    record(Latency::Quic, taken_ns);
    let Some(row) = endpoint(handshake.role, &work.ends, &mut work.endpoint) else {
        return;
    };
    match handshake.version {
        V1 => bump!(row, outcomes.quic_v1, 1),
        V2 => bump!(row, outcomes.quic_v2, 1),
        _ => bump!(row, outcomes.quic_draft, 1),
    }
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    waits::end(unsafe { &raw mut (*row).times }, taken_ns);
}

/// The server does not speak the version.
#[inline(always)]
fn refused(ctx: &TcContext, work: &mut Work, handshake: Begun) {
    if !removed(work, handshake) {
        return;
    }
    if let Some(row) = endpoint(handshake.role, &work.ends, &mut work.endpoint) {
        bump!(row, outcomes.version_refused, 1);
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        waits::give_up(unsafe { &raw mut (*row).times }, handshake.begun_ns);
    }
    work.handshake.role = handshake.role;
    work.handshake.name = [0; NAME_BYTES];
    show(ctx, &work.ends, &work.handshake, false, VERSION_REFUSED);
}

/// It is somebody else's.
#[inline(always)]
fn handed_on(work: &mut Work, handshake: Begun) {
    if removed(work, handshake)
        && let Some(row) = endpoint(handshake.role, &work.ends, &mut work.endpoint)
    {
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        waits::give_up(unsafe { &raw mut (*row).times }, handshake.begun_ns);
    }
}

/// Takes it out. False where the same packet on another interface, or the agent, was faster.
#[inline(always)]
fn removed(work: &Work, handshake: Begun) -> bool {
    let is_ours = QUIC_IN_FLIGHT.remove(work.ends).is_ok();
    if is_ours {
        pending::ended(slot(work, handshake.role));
    }
    is_ours
}

/// The slot of the client's port, wherever the key has it.
#[inline(always)]
fn slot(work: &Work, role: u32) -> u32 {
    if role == Role::Asking as u32 {
        pending_slot(work.ends.client_port, true)
    } else {
        pending_slot(work.ends.server.port, false)
    }
}
