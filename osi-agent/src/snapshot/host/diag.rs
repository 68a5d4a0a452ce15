//! TCP and UDP sockets by `SOCK_DIAG_BY_FAMILY` (uapi/linux/inet_diag.h).

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;

use super::decode::{address, be16_at, u8_at, u32_at};
use super::netlink::{Family, Request, dump};

/// `SOCK_DIAG_BY_FAMILY`.
pub(super) const BY_FAMILY: u16 = 20;

/// `struct inet_diag_req_v2`.
pub(super) const REQUEST: usize = 56;

/// States of include/net/tcp_states.h.
pub(super) mod state {
    /// `TCP_SYN_SENT`.
    pub(in crate::snapshot) const SYN_SENT: u8 = 2;
    /// `TCP_TIME_WAIT`.
    pub(in crate::snapshot) const TIME_WAIT: u8 = 6;
    /// `TCP_CLOSE`: what a bound socket that neither listens nor connects is shown as.
    pub(in crate::snapshot) const CLOSE: u8 = 7;
    /// `TCP_LISTEN`.
    pub(in crate::snapshot) const LISTEN: u8 = 10;
    /// `TCP_BOUND_INACTIVE`, a filter bit since 6.8 that older kernels ignore.
    pub(in crate::snapshot) const BOUND_INACTIVE: u8 = 13;
}

/// Every state a socket with both ends may be in: ESTABLISHED to CLOSING and NEW_SYN_RECV, without CLOSE and LISTEN.
pub(super) const CONNECTED: u32 = 0x1ffe & !(1 << state::LISTEN) & !(1 << state::CLOSE);

/// Whose sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Of TCP.
    Tcp,
    /// Of UDP.
    Udp,
}

/// A socket as `struct inet_diag_msg` shows it, IPv4 addresses mapped into IPv6 turned back into IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// `idiag_state`.
    pub(super) state: u8,
    /// Local address and port.
    pub(crate) local: (IpAddr, u16),
    /// Remote address and port.
    pub(crate) remote: (IpAddr, u16),
    /// `idiag_expires`: what is left of the timer that runs, in milliseconds.
    pub(super) expires_ms: u32,
    /// `idiag_rqueue`: for a listener the connections that wait for `accept()`.
    pub(super) rqueue: u32,
    /// `idiag_wqueue`: for a listener its backlog.
    pub(super) wqueue: u32,
    /// Owner.
    pub(super) uid: u32,
    /// Inode of the socket, 0 when no process holds it.
    pub(super) inode: u32,
}

/// Folds the sockets of a family (`AF_INET`, `AF_INET6`) that are in one of these states and pass the filter; an
/// empty filter passes all.
pub(super) fn sockets<S>(
    (family, protocol): (i32, Protocol),
    states: u32,
    filter: &[u8],
    buffer: &mut Vec<u8>,
    start: impl Fn() -> S,
    mut each: impl FnMut(&mut S, &Socket),
) -> io::Result<S> {
    let mut body = vec![0; REQUEST];
    body[0] = family as u8;
    body[1] = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u8,
        Protocol::Udp => libc::IPPROTO_UDP as u8,
    };
    body[4..8].copy_from_slice(&states.to_ne_bytes());
    body.extend(filter);
    let request = Request {
        family: Family::SockDiag,
        kind: BY_FAMILY,
        body: &body,
    };
    dump(request, buffer, start, |into, payload| {
        if let Some(socket) = parse(payload) {
            each(into, &socket);
        }
        ControlFlow::Continue(())
    })
    .map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return io::Error::other(match protocol {
                Protocol::Tcp => "this kernel has no tcp_diag (CONFIG_INET_DIAG)",
                Protocol::Udp => "this kernel has no udp_diag (CONFIG_INET_UDP_DIAG)",
            });
        }
        error
    })
}

/// The filter that leaves out accepted connections before they are copied: it passes sockets whose local port is one of
/// `first..=last`, and those to a port below, whose own one somebody chose by hand.
///
/// An `INET_DIAG_REQ_BYTECODE` attribute: a list of `struct inet_diag_bc_op` (code, length to go on success, length to go
/// on failure), where a port stands in the `no` field of an operation of its own, the end accepts and beyond it rejects.
pub(super) fn active_side(first: u16, last: u16) -> Vec<u8> {
    const BYTECODE: u16 = 1;
    const JUMP: u8 = 1;
    const LOCAL_FROM: u8 = 2;
    const LOCAL_TO: u8 = 3;
    const REMOTE_TO: u8 = 5;
    let operation = |code: u8, yes: u8, no: u16| {
        let [low, high] = no.to_ne_bytes();
        [code, yes, low, high]
    };
    let port = |port| operation(0, 0, port);
    let program = [
        operation(LOCAL_FROM, 8, 20),
        port(first),
        operation(LOCAL_TO, 8, 12),
        port(last),
        operation(JUMP, 4, 12),
        operation(REMOTE_TO, 8, 12),
        port(first.saturating_sub(1)),
    ]
    .concat();
    let mut attribute = (program.len() as u16 + 4).to_ne_bytes().to_vec();
    attribute.extend(BYTECODE.to_ne_bytes());
    attribute.extend(program);
    attribute
}

/// Whether asking is free of side effects: where a module such as `tcp_diag` is not loaded, the kernel would load it for
/// whoever asks, and the agent loads no module.
pub(super) fn is_loaded(module: &str) -> bool {
    // No list of modules: the kernel has none, so this one is built in or absent, and an answer will tell.
    if Path::new("/sys/module").join(module).exists() || !Path::new("/proc/modules").exists() {
        return true;
    }
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let builtin = std::fs::read_to_string(format!("/lib/modules/{release}/modules.builtin"));
    let file = format!("/{module}.ko");
    builtin.is_ok_and(|list| list.lines().any(|module| module.ends_with(&file)))
}

pub(crate) fn parse(payload: &[u8]) -> Option<Socket> {
    let width = if i32::from(u8_at(payload, 0)?) == libc::AF_INET6 {
        16
    } else {
        4
    };
    let end = |port: usize, start: usize| {
        Some((
            address(payload.get(start..start + width)?)?.to_canonical(),
            be16_at(payload, port)?,
        ))
    };
    Some(Socket {
        state: u8_at(payload, 1)?,
        local: end(4, 8)?,
        remote: end(6, 24)?,
        expires_ms: u32_at(payload, 52)?,
        rqueue: u32_at(payload, 56)?,
        wqueue: u32_at(payload, 60)?,
        uid: u32_at(payload, 64)?,
        inode: u32_at(payload, 68)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_shown() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        let find = |found: &mut Option<Socket>, socket: &Socket| {
            if socket.local.1 == port {
                *found = Some(*socket);
            }
        };
        let states = 1 << state::LISTEN;
        let none = || None;
        let found = sockets(
            (libc::AF_INET, Protocol::Tcp),
            states,
            &[],
            &mut Vec::new(),
            none,
            find,
        )
        .expect("dump");
        let found = found.expect("listener");
        assert_eq!(
            (found.state, found.local.0.to_string().as_str()),
            (state::LISTEN, "127.0.0.1")
        );
        assert!(found.inode > 0 && found.wqueue > 0 && found.rqueue == 0);
    }

    #[test]
    fn connected_states_are_all_but_close_and_listen() {
        let states: Vec<u32> = (0..32)
            .filter(|state| CONNECTED >> state & 1 == 1)
            .collect();
        assert_eq!(states, [1, 2, 3, 4, 5, 6, 8, 9, 11, 12]);
    }

    #[test]
    fn the_kernel_leaves_out_the_accepting_side() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let server = listener.local_addr().expect("address");
        let stream = std::net::TcpStream::connect(server).expect("connect");
        let client = stream.local_addr().expect("address");
        let seen = |first, last| {
            let filter = active_side(first, last);
            let find = |found: &mut Vec<u16>, socket: &Socket| {
                if [socket.local.1, socket.remote.1] == [client.port(), server.port()]
                    || [socket.local.1, socket.remote.1] == [server.port(), client.port()]
                {
                    found.push(socket.local.1);
                }
            };
            let start = Vec::new;
            sockets(
                (libc::AF_INET, Protocol::Tcp),
                CONNECTED,
                &filter,
                &mut Vec::new(),
                start,
                find,
            )
            .expect("dump")
        };
        assert_eq!(seen(1, u16::MAX).len(), 2);
        assert_eq!(seen(client.port(), client.port()), [client.port()]);
        // Outside of the range, but towards a port below it.
        let above = client.port().max(server.port());
        let found = seen(above + 1, u16::MAX);
        assert_eq!(found.len(), 2, "{client} {server}");
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse(&bytes);
        }
    }
}
