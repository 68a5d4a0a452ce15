//! TCP handshakes: begun, sent, completed, failed, by namespace and by peer.

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_boot_ns, macros::map, maps::HashMap};
use aya_log_ebpf::warn;
use osi_common::failure::{Failure, Killer, Seen};
use osi_common::handshake::{Handshake, MAX_HANDSHAKES, MAX_PEERS, PeerKey, PeerRecord};
use osi_common::histogram::{COARSE_SLOTS, Coarse};
use osi_common::latency::Latency;
use osi_common::occurrence::{Control, Health, Key, Kind, Phase, Sample, is_session};

use super::{listener, round_trip};
use crate::shared::{
    latency::{record, tally},
    occurrence::{actor, control, count, send, started_ns, tick},
    own::{bump, note},
    row::row,
    sock::{Flow, Sock},
};

const ECONNREFUSED: u32 = 111;
const ETIMEDOUT: u32 = 110;
const EHOSTUNREACH: u32 = 113;
const ENETUNREACH: u32 = 101;

/// Writer: CLOSE → SYN_SENT, the `tcp_connect` hook, drops and resets. Reader: the agent, each window. Deleter: the change out of SYN_SENT.
/// Key: the socket's address; an entry lives only as long as its handshake, so that no address is reused under it.
#[map]
static HANDSHAKES: HashMap<u64, Handshake> = HashMap::with_max_entries(MAX_HANDSHAKES, 0);

/// Writer: connects and their outcomes. Reader: the agent, each window. Deleter: the agent, when a peer has been quiet.
#[map]
static PEERS: HashMap<PeerKey, PeerRecord> = HashMap::with_max_entries(MAX_PEERS, 0);

/// What a peer begins with; not built on the stack, of which kernels count at least 32 bytes for every function called.
static NEW_PEER: PeerRecord = PeerRecord::ZERO;

/// `connect()`: CLOSE → SYN_SENT, in the connecting process, before a local port is looked for.
#[inline(always)]
pub(crate) fn begin<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let (pid, cgroup, comm) = actor();
    // SAFETY: helper without preconditions.
    let begun_ns = unsafe { bpf_ktime_get_boot_ns() };
    let handshake = Handshake {
        begun_ns,
        sent_ns: 0,
        cgroup,
        started_ns: started_ns(),
        netns,
        pid,
        comm,
        dropped: 0,
        drop_location: 0,
        drop_reason: 0,
        reset: 0,
    };
    if HANDSHAKES.insert(sock.0.address(), handshake, 0).is_err() {
        note(Health::HandshakesFull);
        warn!(ctx, "handshake map full");
    }
    occurred(ctx, Kind::Connect, netns);
    if let Some(peer) = peer(ctx, netns, &sock.flow(), true) {
        bump!(peer, outcomes.attempts, 1);
    }
}

/// `tcp_connect`: a local port was found and the SYN is being built. Where `connect()` has returned since, it waited for data to
/// go with it (`TCP_FASTOPEN_CONNECT`), and the search is long over.
#[inline(always)]
pub(crate) fn sent(sock: Sock) {
    let Some(handshake) = HANDSHAKES.get_ptr_mut(sock.0.address()) else {
        return;
    };
    // SAFETY: helper without preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds.
    unsafe { (*handshake).sent_ns = now };
    if !sock.is_connecting() {
        // SAFETY: as above.
        let searched_ns = now.saturating_sub(unsafe { (*handshake).begun_ns });
        record(Latency::PortSearch, searched_ns);
    }
}

/// A packet of a socket in SYN_SENT was dropped: its SYN on the way out, or the answer on the way in.
#[inline(always)]
pub(crate) fn dropped(sock: u64, reason: u32, location: u64) {
    let Some(handshake) = HANDSHAKES.get_ptr_mut(sock) else {
        return;
    };
    bump!(handshake, dropped, 1);
    // SAFETY: the pointer comes from a map lookup. Of two drops at the same time either is as good.
    unsafe {
        (*handshake).drop_reason = reason;
        (*handshake).drop_location = location;
    }
}

/// A reset came for a socket in SYN_SENT.
#[inline(always)]
pub(crate) fn reset(sock: u64) {
    if let Some(handshake) = HANDSHAKES.get_ptr_mut(sock) {
        // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds.
        unsafe { (*handshake).reset = 1 };
    }
}

/// SYN_SENT → ESTABLISHED (or a simultaneous open): in softirq, so that the current task means nothing.
#[inline(always)]
pub(crate) fn complete<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let address = sock.0.address();
    // What took a timer of TCP says nothing of the way: its time is kept apart.
    let retried = sock.sent_again() > 0;
    // No slot is a number beyond the last one, and not `None`: what `None` leaves unwritten on the stack, LLVM may read all the
    // same, and the verifier of 5.10 refuses that.
    let mut slot = COARSE_SLOTS;
    if let Some(handshake) = HANDSHAKES.get_ptr(address) {
        // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds.
        let (begun_ns, sent_ns) = unsafe { ((*handshake).begun_ns, (*handshake).sent_ns) };
        let start = if sent_ns == 0 { begun_ns } else { sent_ns };
        // SAFETY: helper without preconditions.
        let taken_ns = unsafe { bpf_ktime_get_boot_ns() }.saturating_sub(start);
        record(Latency::HandshakeClient, taken_ns);
        if retried {
            record(Latency::HandshakeRetried, taken_ns);
        } else {
            slot = Coarse::slot(taken_ns);
        }
        let _gone = HANDSHAKES.remove(address);
    }
    occurred(ctx, Kind::Connected, netns);
    if let Some(peer) = peer(ctx, netns, &sock.flow(), true) {
        bump!(peer, outcomes.connected, 1);
        if slot < COARSE_SLOTS {
            // SAFETY: only the address of the field is taken; the pointer comes from a map lookup.
            tally(unsafe { &raw mut (*peer).times }, slot);
        }
    }
}

/// SYN_SENT → CLOSE. Source port 0 means that none could be had.
#[inline(always)]
pub(crate) fn fail<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let address = sock.0.address();
    let handshake = HANDSHAKES.get_ptr(address);
    let flow = sock.flow();
    let mut seen = Seen {
        errno: sock.error(),
        soft: sock.soft_error(),
        has_port: flow.local_port != 0,
        lost_route: sock.has_lost_route(),
        sent: 1 + u64::from(sock.sent_again()),
        dropped: 0,
        reset: false,
    };
    let (mut reason, mut location) = (0, 0);
    if let Some(handshake) = handshake {
        // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds.
        unsafe {
            let unsent = (*handshake).sent_ns == 0 && control(Control::TcpConnectHooked) == 1;
            // With `connect()` behind it, it has a port, and its SYN waits for data.
            if unsent && !sock.is_connecting() {
                seen.sent = 0;
            }
            seen.dropped = (*handshake).dropped;
            seen.reset = (*handshake).reset != 0;
            reason = (*handshake).drop_reason;
            location = (*handshake).drop_location;
        }
    }
    let (killer, errno) = (seen.killer(), seen.told());
    if killer as u32 != Killer::Dropped as u32 {
        (reason, location) = (0, 0);
    }
    let kind = if seen.has_port {
        Kind::ConnectFailed
    } else {
        Kind::PortExhausted
    };
    let failure = Failure {
        errno,
        killer,
        reason,
    };
    let key = Key {
        kind: kind as u32,
        code: failure.code(),
        netns,
        ifindex: 0,
        location,
    };
    if count(ctx, &key, 1) {
        send(ctx, &key, |sample| {
            place(sample, &flow);
            if let Some(handshake) = handshake {
                // SAFETY: as above. The process is the one that called connect(), noted at that time.
                let (pid, cgroup, comm) =
                    unsafe { ((*handshake).pid, (*handshake).cgroup, (*handshake).comm) };
                // SAFETY: as above.
                sample.started_ns = unsafe { (*handshake).started_ns };
                sample.pid = pid;
                sample.cgroup = cgroup;
                sample.comm = comm;
            }
        });
    }
    let _gone = HANDSHAKES.remove(address);
    let Some(peer) = peer(ctx, netns, &flow, true) else {
        return;
    };
    match (kind, errno) {
        (Kind::PortExhausted, _) => bump!(peer, outcomes.port_exhausted, 1),
        (_, 0) => bump!(peer, outcomes.abandoned, 1),
        (_, ECONNREFUSED) => bump!(peer, outcomes.refused, 1),
        (_, ETIMEDOUT) => bump!(peer, outcomes.timed_out, 1),
        (_, EHOSTUNREACH | ENETUNREACH) => bump!(peer, outcomes.unreachable, 1),
        _ => bump!(peer, outcomes.other, 1),
    }
    match killer {
        Killer::Unknown => {}
        Killer::NoPort => bump!(peer, killed.no_port, 1),
        Killer::Dropped => {
            bump!(peer, killed.dropped, 1);
            // SAFETY: the pointer comes from a map lookup. Of two drops at the same time either is as good.
            unsafe {
                (*peer).drop_reason = reason;
                (*peer).drop_location = location;
            }
        }
        Killer::Reset => bump!(peer, killed.reset, 1),
        Killer::NoRoute => bump!(peer, killed.no_route, 1),
        Killer::IcmpError => bump!(peer, killed.icmp_error, 1),
        Killer::NoAnswer => bump!(peer, killed.no_answer, 1),
        Killer::GivenUp => bump!(peer, killed.given_up, 1),
        Killer::Other => bump!(peer, killed.other, 1),
    }
}

/// SYN_RECV → ESTABLISHED on the accepting side: the kernel's own SYN-ACK → ACK sample is the handshake time.
#[inline(always)]
pub(crate) fn accept<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let handshake_ns = sock.srtt_ns();
    if handshake_ns == 0 {
        occurred(ctx, Kind::AcceptedUnmeasured, netns);
    } else {
        record(Latency::HandshakeServer, handshake_ns);
        listener::accepted(ctx, netns, sock.local_port(), handshake_ns);
        occurred(ctx, Kind::Accepted, netns);
    }
}

/// The end of a connection that was established once.
#[inline(always)]
pub(crate) fn close<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32, state: u8) {
    let code = sock.error();
    let key = Key {
        kind: Kind::Closed as u32,
        code,
        netns,
        ifindex: 0,
        location: u64::from(code != 0 && is_over(sock, state, code)),
    };
    if code == 0 || key.location != 0 {
        tick(ctx, &key);
    } else if count(ctx, &key, 1) {
        send(ctx, &key, |sample| place(sample, &sock.flow()));
    }
    let (smoothed, least_us) = sock.round_trip();
    round_trip::times(smoothed, least_us);
}

/// Whether an error met a connection that was over already: its application had closed it, or farewells crossed.
#[inline(always)]
fn is_over(sock: Sock, state: u8, code: u32) -> bool {
    const EPIPE: u32 = 32;
    !is_session(state.into()) || code == EPIPE && sock.says_farewell()
}

/// A segment sent again. Whom accepted connections send to is not counted: clients are many, and their ports are no services.
#[inline(always)]
pub(crate) fn retransmitted<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let phase = Phase::of_tcp_state(sock.state());
    let key = Key {
        kind: Kind::Retransmit as u32,
        code: phase as u32,
        netns,
        ifindex: 0,
        location: 0,
    };
    let wanted = count(ctx, &key, 1);
    let flow = sock.flow();
    if wanted {
        send(ctx, &key, |sample| place(sample, &flow));
    }
    let handshake = phase as u32 == Phase::Handshake as u32;
    let Some(peer) = peer(ctx, netns, &flow, handshake) else {
        return;
    };
    if handshake {
        bump!(peer, outcomes.syn_retransmits, 1);
    } else {
        bump!(peer, outcomes.retransmits, 1);
    }
}

/// Writes a socket's addresses and ports into a sample.
#[inline(always)]
pub(crate) fn place(sample: &mut Sample, flow: &Flow) {
    sample.family = flow.family;
    sample.local = flow.local;
    sample.remote = flow.remote;
    sample.local_port = flow.local_port;
    sample.remote_port = flow.remote_port;
    sample.protocol = 6;
}

/// Counts what needs no code and no example.
#[inline(always)]
fn occurred<C: EbpfContext>(ctx: &C, kind: Kind, netns: u32) {
    let key = Key {
        kind: kind as u32,
        code: 0,
        netns,
        ifindex: 0,
        location: 0,
    };
    tick(ctx, &key);
}

/// A peer's counters; one that is not known yet is noted where it is to be made.
#[inline(always)]
pub(crate) fn peer<C: EbpfContext>(
    ctx: &C,
    netns: u32,
    flow: &Flow,
    make: bool,
) -> Option<*mut PeerRecord> {
    let key = PeerKey {
        netns,
        family: flow.family,
        port: flow.remote_port,
        address: flow.remote,
    };
    if !make {
        return PEERS.get_ptr_mut(key);
    }
    let peer = row(&PEERS, &key, &NEW_PEER, Health::PeersFull);
    if peer.is_none() {
        warn!(ctx, "peer map full");
    }
    peer
}
