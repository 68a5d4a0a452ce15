//! Who called `listen()` on the TCP sockets that listen.

use crate::pod::kernel_struct;

/// Listening sockets whose opener is kept at once.
pub const MAX_OPENERS: u32 = 4096;

kernel_struct! {
    /// Who opened a listening socket; kept under the socket's address in the kernel for as long as it listens.
    pub struct Opener {
        /// Inode of the socket, as `sock_diag` and `/proc/PID/fd` show it.
        pub inode: u64,
        /// When the process started (`CLOCK_BOOTTIME`).
        pub started_ns: u64,
        /// Its cgroup id.
        pub cgroup: u64,
        /// Network namespace of the socket.
        pub netns: u32,
        /// The process (thread group).
        pub pid: u32,
        /// Name of the thread that called.
        pub comm: [u8; 16],
    }
}
