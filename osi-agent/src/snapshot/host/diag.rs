//! TCP and UDP sockets by `SOCK_DIAG_BY_FAMILY` (uapi/linux/inet_diag.h).

use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;

pub(super) use super::bytecode::{active_side, any_of, between};
use super::decode::{address, attribute, be16_at, u8_at, u32_at, u64_at};
use super::netlink::{Family, Request, dump};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;

/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;

/// `struct inet_diag_msg`, behind which the attributes are.
pub(super) const MESSAGE: usize = 72;

/// `INET_DIAG_INFO`.
const INFO: u16 = 2;

/// `idiag_timer` of a socket that waits to probe its peer's window.
pub(super) const PERSIST: u8 = 4;

/// States of include/net/tcp_states.h.
pub(super) mod state {
    /// `TCP_ESTABLISHED`.
    pub(in crate::snapshot) const ESTABLISHED: u8 = 1;
    /// `TCP_SYN_SENT`.
    pub(in crate::snapshot) const SYN_SENT: u8 = 2;
    /// `TCP_SYN_RECV`.
    pub(in crate::snapshot) const SYN_RECV: u8 = 3;
    /// `TCP_NEW_SYN_RECV`: a request socket.
    pub(in crate::snapshot) const NEW_SYN_RECV: u8 = 12;
    /// `TCP_TIME_WAIT`.
    pub(in crate::snapshot) const TIME_WAIT: u8 = 6;
    /// `TCP_CLOSE`: what a bound socket that neither listens nor connects is shown as.
    pub(in crate::snapshot) const CLOSE: u8 = 7;
    /// `TCP_CLOSE_WAIT`: the other end has closed, this one has not.
    pub(in crate::snapshot) const CLOSE_WAIT: u8 = 8;
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
    /// `idiag_timer`: which timer runs.
    pub(super) timer: u8,
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
    /// `idiag_cookie`: the socket's number, of which none is given twice.
    pub(super) cookie: u64,
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
    let body = request((family, protocol), states, filter, 0);
    ask(protocol, &body, buffer, start, |into, payload| {
        if let Some(socket) = parse(payload) {
            each(into, &socket);
        }
    })
}

/// The same with what TCP says of each, for which the kernel locks it: for few sockets.
pub(super) fn sockets_in_detail<S>(
    family: i32,
    states: u32,
    filter: &[u8],
    buffer: &mut Vec<u8>,
    start: impl Fn() -> S,
    mut each: impl FnMut(&mut S, &Socket, &TcpInfo),
) -> io::Result<S> {
    let of = (family, Protocol::Tcp);
    let body = request(of, states, filter, 1 << (INFO - 1));
    ask(Protocol::Tcp, &body, buffer, start, |into, payload| {
        if let (Some(socket), Some(info)) = (parse(payload), tcp_info(payload)) {
            each(into, &socket, &info);
        }
    })
}

/// `struct inet_diag_req_v2` and a filter. Extensions ask for attributes: a bit for each, from `INET_DIAG_MEMINFO` on.
pub(super) fn request(
    (family, protocol): (i32, Protocol),
    states: u32,
    filter: &[u8],
    extensions: u8,
) -> Vec<u8> {
    let mut body = vec![0; REQUEST];
    body[0] = family as u8;
    body[1] = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u8,
        Protocol::Udp => libc::IPPROTO_UDP as u8,
    };
    body[2] = extensions;
    body[4..8].copy_from_slice(&states.to_ne_bytes());
    body.extend(filter);
    body
}

/// Folds the answers to a request.
pub(super) fn ask<S>(
    protocol: Protocol,
    body: &[u8],
    buffer: &mut Vec<u8>,
    start: impl Fn() -> S,
    mut each: impl FnMut(&mut S, &[u8]),
) -> io::Result<S> {
    let request = Request {
        family: Family::SockDiag,
        kind: BY_FAMILY,
        body,
    };
    dump(request, buffer, start, |into, payload| {
        each(into, payload);
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
        timer: u8_at(payload, 2)?,
        local: end(4, 8)?,
        remote: end(6, 24)?,
        expires_ms: u32_at(payload, 52)?,
        rqueue: u32_at(payload, 56)?,
        wqueue: u32_at(payload, 60)?,
        uid: u32_at(payload, 64)?,
        inode: u32_at(payload, 68)?,
        cookie: u64_at(payload, 44)?,
    })
}

/// What `struct tcp_info` says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// `tcpi_probes`: probes since the peer last acknowledged anything.
    pub(super) probes: u8,
    /// `tcpi_snd_mss`.
    pub(super) mss: u32,
    /// `tcpi_last_data_sent`: milliseconds since it last sent data.
    pub(super) since_data_ms: u32,
    /// `tcpi_last_data_recv`: milliseconds since data last came in.
    pub(super) since_received_ms: u32,
    /// `tcpi_snd_wnd`: bytes that the peer takes.
    pub(super) window: Option<u32>,
}

pub(crate) fn tcp_info(payload: &[u8]) -> Option<TcpInfo> {
    let info = attribute(payload.get(MESSAGE..)?, INFO)?;
    Some(TcpInfo {
        probes: u8_at(info, 3)?,
        mss: u32_at(info, 16)?,
        since_data_ms: u32_at(info, 44)?,
        since_received_ms: u32_at(info, 52)?,
        window: u32_at(info, 228),
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

    #[test]
    fn ports_and_details_of_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let server = listener.local_addr().expect("address");
        let stream = std::net::TcpStream::connect(server).expect("connect");
        let client = stream.local_addr().expect("address");
        let seen = |local, remote| {
            let filter = between(local, remote);
            let find = |found: &mut Vec<_>, socket: &Socket, info: &TcpInfo| {
                found.push((socket.timer, *info));
            };
            let (family, buffer) = (libc::AF_INET, &mut Vec::new());
            sockets_in_detail(family, CONNECTED, &filter, buffer, Vec::new, find).expect("dump")
        };
        let (own, other) = (
            (client.port(), client.port()),
            (server.port(), server.port()),
        );
        let found = seen(own, other);
        let [(timer, info)] = *found else {
            panic!("{found:?}");
        };
        assert_ne!(timer, PERSIST);
        assert!(
            info.window.is_some_and(|window| window > info.mss),
            "{info:?}"
        );
        assert_eq!(info.probes, 0);
        assert!(seen(own, own).is_empty() && seen(other, other).is_empty());
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = (parse(&bytes), tcp_info(&bytes));
        }
    }
}
