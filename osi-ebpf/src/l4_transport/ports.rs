//! Local ports that the kernel refused to sockets that wanted any.

use aya_ebpf::{EbpfContext, helpers::bpf_get_current_pid_tgid, macros::map, maps::HashMap};
use osi_common::occurrence::{Health, Key, Kind};

use super::handshake::place;
use crate::shared::{
    occurrence::{actor, count, send},
    own::note,
    rodata::in_scope,
    sock::Sock,
};

/// Threads that look for a port at once, at most.
const MAX_WANTED: u32 = 1024;

/// Writer: the entry of a search for any port. Reader and deleter: its end, in the same thread.
/// Key: thread; value: address of the socket.
#[map]
static WANTED: HashMap<u64, u64> = HashMap::with_max_entries(MAX_WANTED, 0);

/// The current thread looks for a port for this socket.
#[inline(always)]
pub(crate) fn wanted(sock: u64) {
    if WANTED.insert(bpf_get_current_pid_tgid(), sock, 0).is_err() {
        note(Health::Uncounted);
    }
}

/// The search of the current thread, where it looked for any port, has ended.
#[inline(always)]
pub(crate) fn answered<C: EbpfContext>(ctx: &C, in_vain: bool) {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the entry is written and removed by this thread alone, and copied before anything else runs.
    let Some(sock) = unsafe { WANTED.get(thread) }.copied() else {
        return;
    };
    let _gone = WANTED.remove(thread);
    if in_vain && let Some(sock) = Sock::nullable(sock as *const u8) {
        refused(ctx, sock);
    }
}

/// This socket wanted any port and got none, in the system call of the current process.
#[inline(always)]
pub(crate) fn refused<C: EbpfContext>(ctx: &C, sock: Sock) {
    let netns = sock.netns();
    if !in_scope(netns) {
        return;
    }
    let protocol = sock.protocol();
    let key = Key {
        kind: Kind::PortRefused as u32,
        code: u32::from(protocol),
        netns,
        ifindex: 0,
        location: 0,
    };
    if count(ctx, &key, 1) {
        send(ctx, &key, |sample| {
            place(sample, &sock.flow());
            sample.protocol = protocol;
            let (pid, cgroup, comm) = actor();
            sample.pid = pid;
            sample.cgroup = cgroup;
            sample.comm = comm;
        });
    }
}
