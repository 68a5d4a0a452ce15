//! Going into a network namespace and back, on the calling thread only.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::host::namespaces::Handle;

/// `SO_NETNS_COOKIE` of asm-generic/socket.h, which every architecture with Rust's standard library but SPARC and PA-RISC
/// uses; there it is unknown and the cookie stays 0.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The namespace that the thread began in, held open: the way back.
#[derive(Debug)]
pub(crate) struct Home {
    namespace: File,
    inode: u32,
}

/// What became of going into a namespace.
#[derive(Debug)]
pub(crate) enum Visit<T> {
    /// Been there.
    Done(T),
    /// The namespace is gone, or another one has taken its place.
    Gone,
    /// The kernel does not let the agent in.
    Refused(io::Error),
}

/// The thread could not return to its own namespace: whatever it read from now on would be another namespace's.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) io::Error);

impl Home {
    /// Remembers where the calling thread is.
    pub(crate) fn here() -> io::Result<Self> {
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let inode = namespace.metadata()?.ino() as u32;
        Ok(Self { namespace, inode })
    }

    /// Inode of this namespace.
    pub(crate) const fn inode(&self) -> u32 {
        self.inode
    }

    /// Runs `read` in another namespace, which is open only while it runs.
    pub(crate) fn visit<T>(
        &self,
        handle: &Handle,
        read: impl FnOnce() -> T,
    ) -> Result<Visit<T>, Lost> {
        if handle.netns.inode == self.inode {
            return Ok(if is_same(handle) {
                Visit::Done(read())
            } else {
                Visit::Gone
            });
        }
        let namespace = match File::open(&handle.path) {
            Ok(namespace) => namespace,
            Err(error) if is_gone(&error) => return Ok(Visit::Gone),
            Err(error) => return Ok(Visit::Refused(error)),
        };
        if namespace.metadata().map(|file| file.ino() as u32).ok() != Some(handle.netns.inode) {
            return Ok(Visit::Gone);
        }
        if let Err(error) = enter(namespace.as_fd()) {
            return Ok(Visit::Refused(error));
        }
        drop(namespace);
        let result = if is_same(handle) {
            Visit::Done(read())
        } else {
            Visit::Gone
        };
        enter(self.namespace.as_fd()).map_err(Lost)?;
        Ok(result)
    }
}

fn enter(namespace: BorrowedFd) -> io::Result<()> {
    Ok(move_into_link_name_space(
        namespace,
        Some(LinkNameSpaceType::Network),
    )?)
}

/// ESRCH: the process that stood for the namespace ends at this moment.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Inodes are reused at once, cookies never: the namespace of that inode may be another one by now.
fn is_same(handle: &Handle) -> bool {
    handle.netns.cookie == 0 || cookie().is_ok_and(|cookie| cookie == handle.netns.cookie)
}

/// Cookie of the namespace that the calling thread is in (`SO_NETNS_COOKIE`); 0 where the kernel has none (before 5.14).
pub(crate) fn cookie() -> io::Result<u64> {
    // A Unix socket is the one kind that no kernel lacks and that costs no port.
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is open during the call, and the kernel writes at most `length` bytes, which is the size of
    // `cookie`, an integer that any bytes are valid for.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(cookie);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOPROTOOPT) {
        Ok(0)
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_needs_no_entering() {
        let home = Home::here().expect("own namespace");
        let netns = crate::scope::Netns {
            inode: home.inode(),
            cookie: cookie().expect("cookie"),
            name: None,
            ..crate::scope::Netns::default()
        };
        let handle = Handle {
            netns,
            path: "/nonexistent".into(),
        };
        assert!(matches!(home.visit(&handle, || 7), Ok(Visit::Done(7))));
    }

    #[test]
    fn another_cookie_is_another_namespace() {
        let home = Home::here().expect("own namespace");
        let netns = crate::scope::Netns {
            inode: home.inode(),
            cookie: u64::MAX,
            name: None,
            ..crate::scope::Netns::default()
        };
        let handle = Handle {
            netns,
            path: "/proc/self/ns/net".into(),
        };
        assert!(
            cookie().expect("cookie") == 0 || matches!(home.visit(&handle, || ()), Ok(Visit::Gone))
        );
    }
}
