//! HTTP/1 requests and their answers, as they pass an interface: how long answers take, how they end, and for which path.
//!
//! A connection is known from its first request until its server ends it or either side resets it. While nothing is asked on it,
//! the agent forgets it soon. Answers match requests in their order.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{HashMap, PerCpuArray},
    programs::TcContext,
};
use osi_common::http::{
    Came, Connection, FIRST_ERROR, FORGOTTEN_NS, GATEWAY, MAX_CONNECTIONS, MAX_SERVERS, Message,
    NO_ANSWER, Server, ServerKey, UPLOAD, cut_line, is_interim, is_repeated, message,
};
use osi_common::latency::Latency;
use osi_common::occurrence::{Health, Kind};
use osi_common::wire::{Ends, NAME_BYTES, Role, TCP};

use super::waits;
use crate::shared::{
    failed,
    latency::record,
    own::{bump, note},
    packet::{Packet, Segment, is_for_us},
    rodata::names,
    row,
};

/// Writer: this topic. Reader and deleter of what is idle or waits in vain: the agent, each window. Full: noted in `HEALTH`.
#[map]
static HTTP_CONNECTIONS: HashMap<Ends, Connection> = HashMap::with_max_entries(MAX_CONNECTIONS, 0);

/// Writer: this topic. Reader and deleter of quiet ones when room is short: the agent, each window. Full: noted in `HEALTH`.
#[map]
static HTTP_SERVERS: HashMap<ServerKey, Server> = HashMap::with_max_entries(MAX_SERVERS, 0);

/// What is being looked up or made, which the stack has no room for.
#[repr(C)]
struct HttpWork {
    ends: Ends,
    server: ServerKey,
    connection: Connection,
}

/// Writer and reader: this topic, within one run.
#[map]
static HTTP_WORK: PerCpuArray<HttpWork> = PerCpuArray::with_max_entries(1, 0);

/// What a server begins with.
static NEW_SERVER: Server = Server::ZERO;

/// A packet that begins like a message, or ends a connection.
#[inline(always)]
pub(crate) fn packet(ctx: &TcContext) {
    let (Some(packet), Some(work)) = (Packet::at_hand(ctx), HTTP_WORK.get_ptr_mut(0)) else {
        return;
    };
    // SAFETY: the pointer comes from a per-CPU map lookup, and softirqs are off: nobody else uses it while this program runs.
    let work = unsafe { &mut *work };
    let Some(segment) = packet.segment() else {
        return;
    };
    if packet.length() == 0 {
        ended(ctx, packet, segment, work);
        return;
    }
    let first = packet.first();
    let message = first.and_then(|first| message(packet.transport(), &first));
    // SAFETY: helper without preconditions.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    match message {
        Some(Message::Request) if find(packet, true, work) => {
            asked(ctx, packet, segment, work, now_ns);
        }
        Some(Message::Answer(status)) if find(packet, false, work) => {
            answered(ctx, segment, work, status, now_ns);
        }
        Some(Message::Request | Message::Answer(_)) | None => {}
    }
}

/// Writes down whose exchange it is, of a packet whose sender asks or is asked.
#[inline(always)]
fn find(packet: Packet<'_>, asks: bool, work: &mut HttpWork) -> bool {
    let role = if asks == packet.leaves() {
        Role::Asking
    } else {
        Role::Serving
    };
    let is_known = packet.ends(role, asks, &mut work.ends);
    work.server.server = work.ends.server;
    work.server.role = role as u32;
    is_known
}

#[inline(always)]
fn asked(ctx: &TcContext, packet: Packet<'_>, segment: Segment, work: &mut HttpWork, now_ns: u64) {
    let HttpWork {
        ends,
        server,
        connection: new,
    } = work;
    let ends = &*ends;
    let known = HTTP_CONNECTIONS.get_ptr_mut(ends);
    // SAFETY: the pointer comes from a map lookup; nobody sends on one connection from two CPUs at once.
    if known.is_some_and(|known| unsafe { is_repeated(segment.sequence, (*known).request) }) {
        return;
    }
    if known.is_none() && !packet.leaves() && !is_served(ctx, ends) {
        // It is handed on, and seen to leave; or it belongs to no connection.
        return;
    }
    new.name = [0; NAME_BYTES];
    if names() {
        // Without a path it is asked all the same.
        let _named = packet.body().name(0, packet.length(), &mut new.name);
        cut_line(&mut new.name);
    }
    let row = row(server);
    if let Some(known) = known {
        again(known, segment, new, row, now_ns);
    } else {
        new.since_ns = now_ns;
        new.waiting = 1;
        new.came = Came::Nothing as u32;
        new.request = segment.sequence;
        new.acknowledged = segment.acknowledged;
        new.answer = 0;
        new.answered = 0;
        let new = &*new;
        let inserted = HTTP_CONNECTIONS.insert(ends, new, u64::from(BPF_NOEXIST));
        if inserted.is_err() {
            note(Health::HttpConnectionsFull);
            return;
        }
    }
    if let Some(row) = row {
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        waits::begin(unsafe { &raw mut (*row).answers }, now_ns);
    }
}

/// Whether a request that comes in is for a connection of this host.
#[inline(always)]
fn is_served(ctx: &TcContext, ends: &Ends) -> bool {
    let (client, server) = (
        (&ends.client, ends.client_port),
        (&ends.server.address, ends.server.port),
    );
    is_for_us(ctx, TCP, ends.server.family, client, server)
}

/// A further request on a connection that comes from a map lookup.
#[inline(always)]
fn again(
    known: *mut Connection,
    segment: Segment,
    new: &Connection,
    row: Option<*mut Server>,
    now_ns: u64,
) {
    // SAFETY: the pointer comes from a map lookup; nobody sends on one connection from two CPUs at once.
    let waiting = unsafe {
        (*known).request = segment.sequence;
        let waiting = (*known).waiting;
        // The server has sent something that its client has got, and no answer began a segment.
        let is_unseen = (*known).acknowledged != segment.acknowledged
            && ((*known).came != Came::Earlier as u32
                || now_ns.saturating_sub((*known).since_ns) > FORGOTTEN_NS);
        if waiting > 0 && !is_unseen {
            (*known).waiting = waiting.saturating_add(1);
            return;
        }
        (*known).since_ns = now_ns;
        (*known).waiting = 1;
        (*known).came = Came::Nothing as u32;
        (*known).acknowledged = segment.acknowledged;
        (*known).name = new.name;
        waiting
    };
    if let Some(row) = row {
        bump!(row, outcomes.unseen, u64::from(waiting));
        bump!(row, answers.ended, u64::from(waiting));
    }
}

#[inline(always)]
fn answered(ctx: &TcContext, segment: Segment, work: &HttpWork, status: u16, now_ns: u64) {
    let HttpWork { ends, server, .. } = work;
    // One that comes unasked is nothing.
    let Some(known) = HTTP_CONNECTIONS.get_ptr_mut(ends) else {
        return;
    };
    // SAFETY: the pointer comes from a map lookup; nobody sends on one connection from two CPUs at once.
    let (waiting, since_ns, request) = unsafe {
        if (*known).answered != 0 && is_repeated(segment.sequence, (*known).answer) {
            return;
        }
        (*known).answer = segment.sequence;
        (*known).answered = 1;
        ((*known).waiting, (*known).since_ns, (*known).request)
    };
    let row = row(server);
    if is_interim(status) {
        // SAFETY: as above.
        unsafe { (*known).came = Came::Interim as u32 };
        if let Some(row) = row {
            bump!(row, outcomes.interim, 1);
        }
        return;
    }
    if status >= FIRST_ERROR {
        // SAFETY: only the address of the field is taken.
        failed(ctx, ends, status.into(), unsafe {
            &raw const (*known).name
        });
    }
    if let Some(row) = row {
        tell(row, status);
    }
    let is_upload = waiting == 1 && segment.acknowledged.wrapping_sub(request) > UPLOAD;
    if waiting > 0 && !is_upload {
        let taken_ns = now_ns.saturating_sub(since_ns);
        record(Latency::Http, taken_ns);
        if let Some(row) = row {
            // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
            waits::end(unsafe { &raw mut (*row).answers }, taken_ns);
        }
    } else if let Some(row) = row {
        bump!(row, outcomes.untimed, 1);
        if is_upload {
            // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
            waits::pass(unsafe { &raw mut (*row).answers });
        }
    }
    if segment.is_last() {
        // What else waits on it is ended by the agent, or by a reset; gone already is as good.
        if waiting <= 1 {
            let _gone = HTTP_CONNECTIONS.remove(ends);
        }
        return;
    }
    // SAFETY: as above.
    unsafe {
        (*known).since_ns = now_ns;
        (*known).waiting = waiting.saturating_sub(1);
        (*known).came = if waiting > 1 {
            Came::Earlier
        } else {
            Came::Nothing
        } as u32;
        (*known).name = [0; NAME_BYTES];
    }
}

#[inline(always)]
fn tell(row: *mut Server, status: u16) {
    // By comparisons: of a division, compilers make an address that the verifier can not bound.
    if status < 200 {
        bump!(row, outcomes.switched, 1);
    } else if status < 300 {
        bump!(row, outcomes.success, 1);
    } else if status < 400 {
        bump!(row, outcomes.redirection, 1);
    } else if status < 500 {
        bump!(row, outcomes.client_error, 1);
    } else if status >= GATEWAY.0 && status <= GATEWAY.1 {
        bump!(row, outcomes.gateway_error, 1);
    } else {
        bump!(row, outcomes.server_error, 1);
    }
}

/// Forgets a connection that its server ends, or either side resets. A client that sends no more still waits.
#[inline(always)]
fn ended(ctx: &TcContext, packet: Packet<'_>, segment: Segment, work: &mut HttpWork) {
    let mut known = connection(packet, false, work);
    if known.is_none() && segment.is_reset() {
        known = connection(packet, true, work);
    }
    let Some(known) = known else {
        return;
    };
    let HttpWork { ends, server, .. } = work;
    let ends = &*ends;
    // SAFETY: the pointer comes from a map lookup.
    let (waiting, came) = unsafe { ((*known).waiting, (*known).came) };
    // The agent may have been faster.
    if HTTP_CONNECTIONS.remove(ends).is_err() || waiting == 0 {
        return;
    }
    let is_unanswered = came == Came::Nothing as u32;
    if is_unanswered {
        // SAFETY: only the address of the field is taken. The kernel keeps the place of what was deleted while the program
        // runs; should another connection take it meanwhile, an example has that one's path.
        failed(ctx, ends, NO_ANSWER, unsafe { &raw const (*known).name });
    }
    if let Some(row) = row(server) {
        if is_unanswered {
            bump!(row, outcomes.no_answer, u64::from(waiting));
        } else {
            bump!(row, outcomes.unseen, u64::from(waiting));
        }
        bump!(row, answers.ended, u64::from(waiting));
    }
}

/// The connection of a packet whose sender is that side of it.
#[inline(always)]
fn connection(packet: Packet<'_>, asks: bool, work: &mut HttpWork) -> Option<*const Connection> {
    if !find(packet, asks, work) {
        return None;
    }
    let ends = &work.ends;
    HTTP_CONNECTIONS.get_ptr(ends)
}

/// Counts an exchange that failed, and shows an example of it.
#[inline(always)]
fn failed(ctx: &TcContext, ends: &Ends, code: u32, name: *const [u8; NAME_BYTES]) {
    failed::failed(ctx, (Kind::HttpFailed, code), ends, name, |_| ());
}

/// A server's row, made where it has none.
#[inline(always)]
fn row(key: &ServerKey) -> Option<*mut Server> {
    row::row(&HTTP_SERVERS, key, &NEW_SERVER, Health::HttpServersFull)
}
