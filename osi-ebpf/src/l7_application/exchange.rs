//! How long requests wait to be read, how long answers take, and how long this host waits for others: of any TCP application,
//! as no byte is looked at.
//!
//! Each connection has a record, made with the connection or at its first data, gone with the socket or the connection. All but
//! [`sent`] run under the socket's lock: so a wait is begun and ended by an exchange of its time, and whoever gets the other value
//! counts it. Where sends are seen beside data that arrives, this is one instruction (see [`Records`]).

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_boot_ns};
use osi_common::exchange::{Dependency, Span, was_at_rest};
use osi_common::latency::Latency;
use osi_common::occurrence::{TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2};

use super::{
    record::{self, ACCEPTED, Exchange, OPENED, Records, port},
    waits,
};
use crate::l4_transport::listener;
use crate::shared::{
    latency::record,
    own::bump,
    read::Object,
    rodata::{in_scope, offset},
    sock::Sock,
};

const NS_PER_MS: u64 = 1_000_000;

/// A handshake ended on the accepting side: whose connection it is can not be told as surely later.
#[inline(always)]
pub(crate) fn accepted(sock: Sock, netns: u32) {
    begin(sock, Exchange::accepted(netns, sock.local_port(), now()));
}

/// A handshake ended on the connecting side: the same.
#[inline(always)]
pub(crate) fn opened(sock: Sock, netns: u32) {
    begin(sock, Exchange::opened(netns, &sock.flow(), now()));
}

/// A socket that was connected before has a record of that connection (`connect` with AF_UNSPEC ends one).
#[inline(always)]
fn begin(sock: Sock, first: Exchange) {
    if let Some(exchange) = record::of(sock, Some(&first)) {
        // SAFETY: the pointer comes from the socket's storage or its row, and its lock is held.
        unsafe { exchange.write(first) };
    }
}

/// The application is told that data, or its end, lies in the socket.
#[inline(always)]
pub(crate) fn arrived<R: Records>(ctx: &impl EbpfContext, sock: Sock) {
    let Some(end) = end(sock) else {
        return;
    };
    let Some(exchange) = followed::<R>(sock) else {
        return;
    };
    // SAFETY: the pointer comes from the socket's storage or its row, and its lock is held.
    let (role, since_ns) = unsafe { ((*exchange).role, (*exchange).since_ns) };
    if role == ACCEPTED && since_ns != 0 {
        return;
    }
    let Some(tcp) = sock.tcp() else {
        return;
    };
    let Stream {
        unread,
        read,
        arrived,
    } = Stream::of(tcp, end);
    if unread == 0 {
        return;
    }
    if role == ACCEPTED {
        // SAFETY: as above.
        if arrived == unsafe { (*exchange).arrived } {
            return;
        }
        let now_ns = now();
        // SAFETY: as above.
        unsafe {
            (*exchange).since_ns = now_ns;
            (*exchange).mark = read;
            (*exchange).arrived = arrived;
        }
        if let Some(requests) = waits::requests(ctx, port(exchange)) {
            // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
            let number = waits::begin(unsafe { &raw mut (*requests).dwell }, now_ns);
            // SAFETY: as above.
            unsafe { (*exchange).number = number };
        }
        return;
    }
    let written = tcp.field(offset!(tcp_write_seq)).unwrap_or(0);
    // SAFETY: as above. Before the wait is taken: who sends at this moment looks at it after beginning one.
    unsafe { (&raw mut (*exchange).mark).write_volatile(written) };
    let since_ns = take::<R>(exchange);
    if since_ns != 0 {
        let now_ns = now();
        // SAFETY: as above.
        let key = unsafe { (*exchange).peer };
        let taken_ns = now_ns.saturating_sub(since_ns);
        record(Latency::Dependency, taken_ns);
        if let Some(dependency) = waits::dependency(ctx, key) {
            waits::end(answers(dependency), taken_ns);
            // SAFETY: as above. The rest before a send at this very moment may be told of by the next answer.
            let rest_ms = unsafe { (&raw mut (*exchange).number).replace(0) };
            if was_at_rest(u64::from(rest_ms) * NS_PER_MS, taken_ns) {
                bump!(dependency, not_due, 1);
            }
        }
    }
}

/// The application has read, or only peeked.
#[inline(always)]
pub(crate) fn read<R: Records>(ctx: &impl EbpfContext, sock: Sock) {
    let Some(exchange) = R::of(sock, None) else {
        return;
    };
    // SAFETY: the pointer comes from the socket's storage or its row, and its lock is held.
    let (role, since_ns, number, mark) = unsafe {
        let Exchange {
            role,
            since_ns,
            number,
            mark,
            ..
        } = *exchange;
        (role, since_ns, number, mark)
    };
    if role != ACCEPTED {
        return;
    }
    // What is read once the connection is over answers nobody.
    let (Some(end), Some(tcp)) = (end(sock), sock.tcp()) else {
        return;
    };
    let Stream {
        unread,
        read,
        arrived,
    } = Stream::of(tcp, end);
    // SAFETY: as above.
    unsafe { (*exchange).arrived = arrived };
    if read == mark || since_ns == 0 && unread > 0 {
        return;
    }
    let now_ns = now();
    // SAFETY: as above.
    unsafe {
        (*exchange).mark = read;
        (*exchange).since_ns = 0;
    }
    let requests = waits::requests(ctx, port(exchange));
    if since_ns != 0 {
        let taken_ns = now_ns.saturating_sub(since_ns);
        record(Latency::RequestDwell, taken_ns);
        if let Some(requests) = requests {
            waits::end_read(requests, number, taken_ns, now_ns);
        }
    }
    if unread > 0 {
        return;
    }
    // The last of several reads begins the answer: the time of an upload is none of it.
    let read_ns = R::swap(read_at(exchange), now_ns);
    if read_ns == 0
        && let Some(requests) = requests
    {
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        waits::begin(unsafe { &raw mut (*requests).response }, now_ns);
    }
}

/// The application has sent something.
#[inline(always)]
pub(crate) fn sent<R: Records>(ctx: &impl EbpfContext, sock: Sock) {
    // A raw socket has a protocol as well, and no connection.
    if !matches!(sock.state(), TCP_ESTABLISHED | TCP_CLOSE_WAIT) {
        return;
    }
    let Some(exchange) = followed::<R>(sock) else {
        return;
    };
    // SAFETY: the pointer comes from the socket's storage or its row. The lock may be free again: see the head of this file.
    let role = unsafe { (*exchange).role };
    if role == ACCEPTED {
        let read_ns = R::swap(read_at(exchange), 0);
        if read_ns == 0 {
            return;
        }
        let taken_ns = now().saturating_sub(read_ns);
        record(Latency::Response, taken_ns);
        if let Some(requests) = waits::requests(ctx, port(exchange)) {
            // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
            waits::end(unsafe { &raw mut (*requests).response }, taken_ns);
        }
        return;
    }
    let Some(tcp) = sock.tcp() else {
        return;
    };
    let now_ns = now();
    let since_ns = R::swap(since(exchange), now_ns);
    // SAFETY: as above.
    let key = unsafe { (*exchange).peer };
    let dependency = waits::dependency(ctx, key);
    if since_ns == 0 {
        if let Some(dependency) = dependency {
            waits::begin(answers(dependency), now_ns);
        }
    } else {
        // The longest rest since the last data back: a request may be sent in parts.
        let rest_ms = (now_ns.saturating_sub(since_ns) / NS_PER_MS) as u32;
        // SAFETY: as above.
        unsafe {
            if rest_ms > (*exchange).number {
                (*exchange).number = rest_ms;
            }
        }
    }
    if !R::SENDS_BESIDE {
        return;
    }
    // A peer may answer before the call that sends is back: then the answer took no time that this host waited. Where it comes
    // at this very moment, either of the two takes the wait.
    // SAFETY: as above.
    let answered = unsafe { (&raw const (*exchange).mark).read_volatile() };
    if tcp.field(offset!(tcp_write_seq)) == Some(answered) && take::<R>(exchange) != 0 {
        record(Latency::Dependency, 0);
        if let Some(dependency) = dependency {
            waits::end(answers(dependency), 0);
        }
    }
}

/// Bytes that this side, which opened the connection, has written since data last came; `None` where that is not known.
#[inline(always)]
pub(crate) fn written_since(sock: Sock) -> Option<u32> {
    let exchange = record::of(sock, None)?;
    // SAFETY: the pointer comes from the socket's storage or its row, and its lock is held.
    let (role, mark) = unsafe { ((*exchange).role, (*exchange).mark) };
    if role != OPENED {
        return None;
    }
    let written: u32 = sock.tcp()?.field(offset!(tcp_write_seq))?;
    Some(written.wrapping_sub(mark))
}

/// Bytes that the application has not read.
#[inline(always)]
pub(crate) fn unread(sock: Sock) -> Option<u32> {
    Some(Stream::of(sock.tcp()?, end(sock)?).unread)
}

/// The end of a connection: how long it lived is known, and what still waits is over without an end as it should be.
///
/// No exchange in one instruction here: this is part of a program that kernels load which do not know it, though they never come
/// so far. Who sends at this very moment finds the connection in another state.
#[inline(always)]
pub(crate) fn closed(sock: Sock) {
    if let Some(exchange) = record::of(sock, None) {
        finish(exchange);
        record::forget(sock);
    }
}

#[inline(always)]
fn finish(exchange: *mut Exchange) {
    // SAFETY: the pointer comes from the socket's storage or its row, and its lock is held.
    let (role, number, since_ns, read_ns, begun_ns) = unsafe {
        let Exchange {
            role,
            number,
            since_ns,
            read_ns,
            begun_ns,
            ..
        } = *exchange;
        (*exchange).since_ns = 0;
        (*exchange).read_ns = 0;
        (role, number, since_ns, read_ns, begun_ns)
    };
    if begun_ns != 0 {
        record(Latency::Session, now().saturating_sub(begun_ns));
    }
    if since_ns == 0 && read_ns == 0 {
        return;
    }
    if role != ACCEPTED {
        // SAFETY: as above.
        let key = unsafe { (*exchange).peer };
        if let Some(dependency) = waits::known_dependency(key) {
            waits::give_up(answers(dependency), since_ns);
        }
        return;
    }
    let Some(requests) = waits::known_requests(port(exchange)) else {
        return;
    };
    if since_ns != 0 {
        waits::give_up_unread(requests, number);
    }
    if read_ns != 0 {
        // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
        waits::give_up(unsafe { &raw mut (*requests).response }, read_ns);
    }
}

/// A connection's record, made where it has none yet; `None` for one that is out of scope.
#[inline(always)]
fn followed<R: Records>(sock: Sock) -> Option<*mut Exchange> {
    let known = R::of(sock, None);
    if known.is_some() {
        return known;
    }
    let netns = sock.netns();
    if !in_scope(netns) {
        return None;
    }
    let flow = sock.flow();
    let first = if listener::is_known(netns, flow.local_port) {
        Exchange::accepted(netns, flow.local_port, 0)
    } else {
        Exchange::opened(netns, &flow, 0)
    };
    R::of(sock, Some(&first))
}

/// A peer's waits.
#[inline(always)]
fn answers(dependency: *mut Dependency) -> *mut Span {
    // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
    unsafe { &raw mut (*dependency).answers }
}

/// Where the open wait's beginning is kept.
#[inline(always)]
fn since(exchange: *mut Exchange) -> *mut u64 {
    // SAFETY: only the address of the field is taken; the pointer comes from the socket's storage or its row.
    unsafe { &raw mut (*exchange).since_ns }
}

/// Where the last read is.
#[inline(always)]
fn read_at(exchange: *mut Exchange) -> *mut u64 {
    // SAFETY: as above.
    unsafe { &raw mut (*exchange).read_ns }
}

/// Ends the open wait, if it is still there: its beginning, for the one who ends it.
#[inline(always)]
fn take<R: Records>(exchange: *mut Exchange) -> u64 {
    R::swap(since(exchange), 0)
}

/// Sequence numbers that the end of the stream takes, as far as it has arrived; `None` where nothing is received any more.
#[inline(always)]
fn end(sock: Sock) -> Option<u32> {
    match sock.state() {
        TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2 => Some(0),
        TCP_CLOSE_WAIT => Some(1),
        _ => None,
    }
}

/// How far a connection's receiving side has come.
struct Stream {
    /// Bytes that the application has not read.
    unread: u32,
    /// Sequence number behind what it has read.
    read: u32,
    /// Sequence number behind all that has arrived. The end of the stream is none of it.
    arrived: u32,
}

impl Stream {
    #[inline(always)]
    fn of(tcp: Object, end: u32) -> Self {
        let read: u32 = tcp.field(offset!(tcp_copied_seq)).unwrap_or(0);
        let arrived: u32 = tcp.field(offset!(tcp_rcv_nxt)).unwrap_or(0);
        let arrived = arrived.wrapping_sub(end);
        // Where the end itself was read, `read` lies behind it.
        let unread = arrived.wrapping_sub(read);
        Self {
            unread: if unread as i32 > 0 { unread } else { 0 },
            read,
            arrived,
        }
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: helper without preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}
