//! TCP handshakes: begun, sent, completed, failed, by namespace and by peer.

use aya_ebpf::{
    EbpfContext, bindings::BPF_NOEXIST, helpers::bpf_ktime_get_boot_ns, macros::map, maps::HashMap,
};
use aya_log_ebpf::warn;
use osi_common::handshake::{Handshake, MAX_HANDSHAKES, MAX_PEERS, PeerKey, PeerRecord};
use osi_common::histogram::{COARSE_SLOTS, Coarse};
use osi_common::latency::Latency;
use osi_common::occurrence::{Control, Health, Key, Kind, Phase, Sample};

use super::{listener, round_trip};
use crate::shared::{
    latency::{record, tally},
    occurrence::{actor, control, count, send},
    own::{bump, note},
    sock::{Flow, Sock},
};

const ECONNREFUSED: u32 = 111;
const ETIMEDOUT: u32 = 110;
const EHOSTUNREACH: u32 = 113;
const ENETUNREACH: u32 = 101;
const EADDRNOTAVAIL: u32 = 99;

/// Writer: CLOSE → SYN_SENT, and the `tcp_connect` hook. Reader: the agent, each window. Deleter: the change out of SYN_SENT.
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
        netns,
        pid,
        comm,
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

/// `tcp_connect`: a local port was found and the SYN is being built.
#[inline(always)]
pub(crate) fn sent(sock: u64) {
    let Some(handshake) = HANDSHAKES.get_ptr_mut(sock) else {
        return;
    };
    // SAFETY: helper without preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds.
    unsafe { (*handshake).sent_ns = now };
    // SAFETY: as above.
    record(
        Latency::PortSearch,
        now.saturating_sub(unsafe { (*handshake).begun_ns }),
    );
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
    let unsent = control(Control::TcpConnectHooked) == 1
        // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds.
        && handshake.is_some_and(|handshake| unsafe { (*handshake).sent_ns } == 0);
    let (kind, code) = match (flow.local_port, sock.error()) {
        (0, _) => (Kind::PortExhausted, EADDRNOTAVAIL),
        (_, 0) if unsent => (Kind::ConnectFailed, EADDRNOTAVAIL),
        (_, errno) => (Kind::ConnectFailed, errno),
    };
    let key = Key {
        kind: kind as u32,
        code,
        netns,
        ifindex: 0,
        location: 0,
    };
    if count(ctx, &key, 1) {
        send(ctx, &key, |sample| {
            place(sample, &flow);
            if let Some(handshake) = handshake {
                // SAFETY: as above. The process is the one that called connect(), noted at that time.
                let (pid, cgroup, comm) =
                    unsafe { ((*handshake).pid, (*handshake).cgroup, (*handshake).comm) };
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
    match (kind, code) {
        (Kind::PortExhausted, _) => bump!(peer, outcomes.port_exhausted, 1),
        (_, 0) => bump!(peer, outcomes.abandoned, 1),
        (_, ECONNREFUSED) => bump!(peer, outcomes.refused, 1),
        (_, ETIMEDOUT) => bump!(peer, outcomes.timed_out, 1),
        (_, EHOSTUNREACH | ENETUNREACH) => bump!(peer, outcomes.unreachable, 1),
        _ => bump!(peer, outcomes.other, 1),
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
pub(crate) fn close<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let key = Key {
        kind: Kind::Closed as u32,
        code: sock.error(),
        netns,
        ifindex: 0,
        location: 0,
    };
    count(ctx, &key, 1);
    let (smoothed, least_us) = sock.round_trip();
    round_trip::times(smoothed, least_us);
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
    count(ctx, &key, 1);
}

/// A peer's counters; one that is not known yet is noted where it is to be made.
#[inline(always)]
fn peer<C: EbpfContext>(ctx: &C, netns: u32, flow: &Flow, make: bool) -> Option<*mut PeerRecord> {
    let key = PeerKey {
        netns,
        family: flow.family,
        port: flow.remote_port,
        address: flow.remote,
    };
    let known = PEERS.get_ptr_mut(key);
    if known.is_some() || !make {
        return known;
    }
    let new = &NEW_PEER;
    let _raced = PEERS.insert(key, new, u64::from(BPF_NOEXIST));
    let peer = PEERS.get_ptr_mut(key);
    if peer.is_none() {
        note(Health::PeersFull);
        warn!(ctx, "peer map full");
    }
    peer
}
