//! Listening TCP sockets: who called `listen()`.
//!
//! CLOSE → LISTEN runs in that system call, so the current task is the opener for certain. It need not be who serves: pid 1
//! (socket activation) and the master of a pre-forking server open what others accept from.

use aya_ebpf::{EbpfContext, macros::map, maps::HashMap};
use aya_log_ebpf::warn;
use osi_common::occurrence::Health;
use osi_common::opener::{MAX_OPENERS, Opener};

use crate::shared::{
    occurrence::{actor, started_ns},
    own::note,
    sock::Sock,
};

/// Writer: CLOSE → LISTEN. Reader: the agent, each window. Deleter: LISTEN → CLOSE.
/// Key: the socket's address; an entry lives only as long as the socket listens, so that no address is reused under it.
#[map]
static OPENERS: HashMap<u64, Opener> = HashMap::with_max_entries(MAX_OPENERS, 0);

/// What an entry begins with; not built on the stack, which is short of room.
static NEW_OPENER: Opener = Opener {
    inode: 0,
    started_ns: 0,
    cgroup: 0,
    netns: 0,
    pid: 0,
    comm: [0; 16],
};

/// CLOSE → LISTEN.
#[inline(always)]
pub(crate) fn open<C: EbpfContext>(ctx: &C, sock: Sock, netns: u32) {
    let address = sock.0.address();
    let new = &NEW_OPENER;
    // One that is there already was left by a close that nobody saw.
    let _full = OPENERS.insert(address, new, 0);
    let Some(opener) = OPENERS.get_ptr_mut(address) else {
        note(Health::OpenersFull);
        warn!(ctx, "opener map full");
        return;
    };
    let (pid, cgroup, comm) = actor();
    // SAFETY: the pointer comes from a map lookup; the entry belongs to this socket, whose lock the caller holds. The agent
    // ignores it until it has its inode.
    unsafe {
        (*opener).started_ns = started_ns();
        (*opener).cgroup = cgroup;
        (*opener).netns = netns;
        (*opener).pid = pid;
        (*opener).comm = comm;
        (*opener).inode = sock.inode();
    }
}

/// LISTEN → CLOSE.
#[inline(always)]
pub(crate) fn close(sock: Sock) {
    let _unknown = OPENERS.remove(sock.0.address());
}
