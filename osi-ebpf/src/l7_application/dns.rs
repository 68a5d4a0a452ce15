//! Queries that leave for a resolver, and what comes back: how long it takes, how it ends, and for which name.
//!
//! A query is in flight from its sending until its answer, or until it is sent again: then the first one had none. Those that
//! nobody answers at all are taken out by the agent. What comes back unasked is nothing.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{HashMap, PerCpuArray},
    programs::TcContext,
};
use osi_common::dns::{
    FORMERR, HEADER, Header, MAX_MESSAGES, MAX_QUERIES, MAX_RESOLVERS, NOERROR, NOTIMP, NXDOMAIN,
    PREFIX, Query, QueryKey, REFUSED, Resolver, SAME_PACKET_NS, SENT_AGAIN, SERVFAIL,
    first_message, name_bytes,
};
use osi_common::handshake::PeerKey;
use osi_common::latency::Latency;
use osi_common::occurrence::{Health, Kind};
use osi_common::wire::{NAME_BYTES, Payload as _, Protocol, Role, TCP};

use super::waits;
use crate::shared::{
    failed,
    latency::record,
    own::{bump, note},
    packet::Packet,
    rodata::names,
    row::row,
    wire::hand_on_again,
};

/// Writer: this topic. Reader and deleter of what nobody answers: the agent, each window. Full: noted in `HEALTH`.
#[map]
static QUERIES: HashMap<QueryKey, Query> = HashMap::with_max_entries(MAX_QUERIES, 0);

/// Writer: this topic. Reader and deleter of quiet ones when room is short: the agent, each window. Full: noted in `HEALTH`.
#[map]
static RESOLVERS: HashMap<PeerKey, Resolver> = HashMap::with_max_entries(MAX_RESOLVERS, 0);

/// What is being looked up or made, which the stack has no room for.
#[repr(C)]
struct Work {
    key: QueryKey,
    query: Query,
}

/// Writer and reader: this topic, within one run.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// What a resolver begins with.
static NEW_RESOLVER: Resolver = Resolver::ZERO;

/// A packet that begins like a message; over TCP others may follow in it, each of which is a run of its own.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext) {
    let Some(packet) = Packet::at_hand(ctx) else {
        return;
    };
    let (next, again) = packet.part();
    let at = if again > 0 {
        Some(next)
    } else {
        let first = packet.first();
        first.and_then(|first| first_message(packet.transport(), &first))
    };
    let Some(at) = at else {
        return;
    };
    let header = packet.body().read::<{ HEADER as usize }>(at);
    let Some(header) = header.and_then(|bytes| Header::parse(&bytes)) else {
        return;
    };
    message(ctx, packet, at, header);
    if packet.transport() != TCP || at < PREFIX {
        return;
    }
    let Some(length) = packet.body().read(at - PREFIX).map(u16::from_be_bytes) else {
        return;
    };
    let next = at + u32::from(length) + PREFIX;
    if next >= packet.length() {
        return;
    }
    if again + 1 < MAX_MESSAGES {
        // Comes back only where the kernel does not go on.
        hand_on_again(ctx, packet, Protocol::Dns, next);
    }
    note(Health::MessagesSkipped);
}

/// Queries that leave and answers that come; the others are those of a resolver on this host.
#[inline(always)]
fn message(ctx: &TcContext, packet: Packet<'_>, at: u32, header: Header) {
    if header.is_answer == packet.leaves() {
        return;
    }
    let Some(work) = WORK.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the pointer comes from a per-CPU map lookup, and softirqs are off: nobody else uses it while this program runs.
    let work = unsafe { &mut *work };
    if !packet.ends(Role::Asking, !header.is_answer, &mut work.key.ends) {
        return;
    }
    work.key.id = header.id.into();
    // SAFETY: helper without preconditions.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    if header.is_answer {
        answered(ctx, &work.key, header, now_ns);
    } else {
        asked(ctx, packet, at, work, now_ns);
    }
}

#[inline(always)]
fn asked(ctx: &TcContext, packet: Packet<'_>, at: u32, work: &mut Work, now_ns: u64) {
    let Work { key, query } = work;
    let key = &*key;
    if let Some(known) = QUERIES.get_ptr_mut(key) {
        // SAFETY: the pointer comes from a map lookup; nobody sends the same query from two CPUs at once.
        let since_ns = unsafe { (*known).asked_ns };
        // Over TCP it is the kernel that sends a segment again, and its client asked once.
        if key.ends.transport == TCP || now_ns.saturating_sub(since_ns) < SAME_PACKET_NS {
            return;
        }
        // SAFETY: as above.
        let name = unsafe {
            (*known).asked_ns = now_ns;
            &raw const (*known).name
        };
        failed(ctx, key, SENT_AGAIN, name);
        if let Some(resolver) = resolver(key.ends.server) {
            bump!(resolver, outcomes.no_answer, 1);
            // It had no answer: that is no progress.
            bump!(resolver, answers.ended, 1);
            begun(resolver, key, now_ns);
        }
        return;
    }
    query.asked_ns = now_ns;
    query.name = [0; NAME_BYTES];
    if names() {
        let (body, question) = (packet.body(), at + HEADER);
        // Without a name it is asked all the same.
        let _named = body.name(question, name_bytes(body, question), &mut query.name);
    }
    if QUERIES.insert(key, query, u64::from(BPF_NOEXIST)).is_err() {
        note(Health::QueriesFull);
        return;
    }
    if let Some(resolver) = resolver(key.ends.server) {
        begun(resolver, key, now_ns);
    }
}

#[inline(always)]
fn begun(resolver: *mut Resolver, key: &QueryKey, now_ns: u64) {
    if key.ends.transport == TCP {
        bump!(resolver, outcomes.over_tcp, 1);
    }
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    waits::begin(unsafe { &raw mut (*resolver).answers }, now_ns);
}

#[inline(always)]
fn answered(ctx: &TcContext, key: &QueryKey, header: Header, now_ns: u64) {
    let Some(query) = QUERIES.get_ptr(key) else {
        return;
    };
    // SAFETY: the pointer comes from a map lookup.
    let taken_ns = now_ns.saturating_sub(unsafe { (*query).asked_ns });
    // The agent, or an answer that comes twice, may have been faster.
    if QUERIES.remove(key).is_err() {
        return;
    }
    if header.code != NOERROR {
        // SAFETY: only the address of the field is taken. The kernel keeps the place of what was deleted while the program
        // runs; should another query take it meanwhile, an example has that one's name.
        failed(ctx, key, header.code, unsafe { &raw const (*query).name });
    }
    record(Latency::Dns, taken_ns);
    let Some(resolver) = resolver(key.ends.server) else {
        return;
    };
    match header.code {
        NOERROR => bump!(resolver, outcomes.noerror, 1),
        FORMERR => bump!(resolver, outcomes.formerr, 1),
        SERVFAIL => bump!(resolver, outcomes.servfail, 1),
        NXDOMAIN => bump!(resolver, outcomes.nxdomain, 1),
        NOTIMP => bump!(resolver, outcomes.notimp, 1),
        REFUSED => bump!(resolver, outcomes.refused, 1),
        _ => bump!(resolver, outcomes.other, 1),
    }
    if header.truncated {
        bump!(resolver, outcomes.truncated, 1);
    }
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    waits::end(unsafe { &raw mut (*resolver).answers }, taken_ns);
}

/// Counts an exchange that failed, and shows an example of it.
#[inline(always)]
fn failed(ctx: &TcContext, key: &QueryKey, code: u32, name: *const [u8; NAME_BYTES]) {
    failed::failed(ctx, (Kind::DnsFailed, code), &key.ends, name, |_| ());
}

/// A resolver's row, made where it has none.
#[inline(always)]
fn resolver(key: PeerKey) -> Option<*mut Resolver> {
    row(&RESOLVERS, &key, &NEW_RESOLVER, Health::ResolversFull)
}
