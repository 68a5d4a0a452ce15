//! The one netlink loop: ask for a dump, hand over its messages, tell a broken one from a whole one.
//!
//! Every dump has a socket of its own, opened in the namespace that the thread is in and closed at once: nothing is left
//! over from an aborted dump, and no namespace is kept alive. Sockets are connected to the kernel, so that no other
//! process can answer in its place.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use super::decode::{align, bytes_at, u16_at, u32_at};

/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// The kernel fills at most 32 KiB per read, unless one message alone is longer.
const BUFFER: usize = 64 * 1024;

/// Longest message that is believed.
const BUFFER_MAX: usize = 4 * 1024 * 1024;

/// A kernel that sends nothing more for so long has lost the dump.
const SILENCE: Duration = Duration::from_secs(2);

/// A dump to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// Which netlink family answers.
    pub(super) family: Family,
    /// `RTM_GETLINK`, `SOCK_DIAG_BY_FAMILY`, …
    pub(super) kind: u16,
    /// The family's struct, as `struct ifinfomsg` or `struct inet_diag_req_v2`, and attributes.
    pub(super) body: &'a [u8],
}

/// Netlink families that are asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    /// `NETLINK_ROUTE`.
    Route,
    /// `NETLINK_SOCK_DIAG`.
    SockDiag,
    /// `NETLINK_NETFILTER`.
    Netfilter,
}

/// Why a dump is worth another try.
enum Failure {
    /// The table changed under the dump (`NLM_F_DUMP_INTR`), or the kernel was short of buffers.
    Again(io::Error),
    /// It would fail again.
    Final(io::Error),
}

/// Folds the messages of a dump into what `start` makes; `each` gets every message's payload and may end the dump.
///
/// A dump that the kernel marks as interrupted by a change is asked for once more from a fresh start; if it is
/// interrupted again, its second answer is taken as it is.
pub(super) fn dump<S>(
    request: Request,
    buffer: &mut Vec<u8>,
    start: impl Fn() -> S,
    each: impl FnMut(&mut S, &[u8]) -> ControlFlow<()>,
) -> io::Result<S> {
    dump_and_tell(request, buffer, start, each).map(|(found, _)| found)
}

/// What was read, and whether it is whole: no change interrupted it, so that nothing is missing or there twice.
pub(super) type Whole<T> = (T, bool);

/// [`dump`], and whether its answer is whole.
pub(super) fn dump_and_tell<S>(
    request: Request,
    buffer: &mut Vec<u8>,
    start: impl Fn() -> S,
    mut each: impl FnMut(&mut S, &[u8]) -> ControlFlow<()>,
) -> io::Result<Whole<S>> {
    let mut first = start();
    match attempt(request, buffer, |payload| each(&mut first, payload)) {
        Ok(()) => return Ok((first, true)),
        Err(Failure::Final(error)) => return Err(error),
        Err(Failure::Again(_)) => {}
    }
    let mut second = start();
    match attempt(request, buffer, |payload| each(&mut second, payload)) {
        Ok(()) => Ok((second, true)),
        Err(Failure::Again(error)) if error.kind() == io::ErrorKind::Interrupted => {
            Ok((second, false))
        }
        Err(Failure::Again(error) | Failure::Final(error)) => Err(error),
    }
}

fn attempt(
    request: Request,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let protocol = match request.family {
        Family::Route => None,
        Family::SockDiag => Some(SOCK_DIAG),
        Family::Netfilter => Some(NETFILTER),
    };
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )
    .map_err(sort)?;
    connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(sort)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(SILENCE)).map_err(sort)?;
    send(&socket, &encode(request), SendFlags::empty()).map_err(sort)?;

    if buffer.len() < BUFFER {
        buffer.resize(BUFFER, 0);
    }
    let mut interrupted = false;
    loop {
        let length = receive(&socket, buffer)?;
        for message in messages(&buffer[..length]) {
            interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
            match i32::from(message.kind) {
                libc::NLMSG_NOOP => {}
                libc::NLMSG_OVERRUN => return Err(sort(Errno::NOBUFS)),
                // Both begin with a negative errno, 0 for success; a short NLMSG_DONE is a plain end.
                libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                    return match bytes_at(message.payload, 0).map(i32::from_ne_bytes) {
                        Some(error) if error < 0 => {
                            Err(sort(Errno::from_raw_os_error(error.saturating_neg())))
                        }
                        _ if interrupted => Err(Failure::Again(io::ErrorKind::Interrupted.into())),
                        _ => Ok(()),
                    };
                }
                _ => {
                    if each(message.payload).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// One read, whole: what did not fit is lost, so the buffer grows and the dump begins again.
fn receive(socket: &rustix::fd::OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Failure> {
    loop {
        match recv(socket, &mut buffer[..], RecvFlags::TRUNC) {
            Ok((_, 0)) => return Err(Failure::Final(io::ErrorKind::UnexpectedEof.into())),
            Ok((_, length)) if length <= buffer.len() => return Ok(length),
            Ok((_, length)) => {
                if length > BUFFER_MAX {
                    return Err(sort(Errno::MSGSIZE));
                }
                buffer.resize(length.next_power_of_two(), 0);
                return Err(sort(Errno::NOBUFS));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let error = io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the kernel sent nothing for {SILENCE:?}"),
                );
                return Err(Failure::Final(error));
            }
            Err(error) => return Err(sort(error)),
        }
    }
}

fn sort(error: Errno) -> Failure {
    match error {
        Errno::NOBUFS | Errno::BUSY | Errno::AGAIN => Failure::Again(error.into()),
        _ => Failure::Final(error.into()),
    }
}

fn encode(request: Request) -> Vec<u8> {
    let length = HEADER + request.body.len();
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(request.kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and port id: one request per socket needs neither.
    bytes.extend([0; 8]);
    bytes.extend(request.body);
    bytes
}

pub(crate) struct Message<'a> {
    kind: u16,
    flags: u16,
    pub(crate) payload: &'a [u8],
}

/// The messages of one read; ends quietly at the first malformed one.
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let message = Message {
            kind: u16_at(rest, 4)?,
            flags: u16_at(rest, 6)?,
            payload: rest.get(HEADER..length)?,
        };
        rest = rest.get(align(length)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_comes_back_as_a_message() {
        let bytes = encode(Request {
            family: Family::Route,
            kind: 18,
            body: &[1, 2, 3, 4],
        });
        let seen: Vec<_> = messages(&bytes)
            .map(|message| (message.kind, message.payload.to_vec()))
            .collect();
        assert_eq!(seen, [(18, vec![1, 2, 3, 4])]);
    }

    #[test]
    fn an_unknown_request_is_an_error_and_no_hang() {
        let request = Request {
            family: Family::Route,
            kind: 0x3ff0,
            body: &[0; 16],
        };
        assert!(
            dump(
                request,
                &mut Vec::new(),
                || (),
                |(), _| ControlFlow::Continue(())
            )
            .is_err()
        );
    }

    #[test]
    fn a_dump_may_be_ended_early_and_asked_again() {
        let request = Request {
            family: Family::Route,
            kind: libc::RTM_GETLINK,
            body: &[0; 16],
        };
        let mut buffer = Vec::new();
        for _ in 0..2 {
            let seen = dump(
                request,
                &mut buffer,
                || 0,
                |seen, _| {
                    *seen += 1;
                    ControlFlow::Break(())
                },
            );
            assert_eq!(seen.ok(), Some(1));
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = messages(&bytes).count();
        }
    }
}
