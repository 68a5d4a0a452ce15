//! Filters that `sock_diag` applies before it copies a socket (uapi/linux/inet_diag.h).

/// The filter that leaves out accepted connections before they are copied: it passes sockets whose local port is one of
/// `first..=last`, and those to a port below, whose own one somebody chose by hand.
///
/// An `INET_DIAG_REQ_BYTECODE` attribute: a list of `struct inet_diag_bc_op` (code, length to go on success, length to go
/// on failure), where a port stands in the `no` field of an operation of its own, the end accepts and beyond it rejects.
pub(super) fn active_side(first: u16, last: u16) -> Vec<u8> {
    bytecode(&[
        operation(LOCAL_FROM, 8, 20),
        port(first),
        operation(LOCAL_TO, 8, 12),
        port(last),
        operation(JUMP, 4, 12),
        operation(REMOTE_TO, 8, 12),
        port(first.saturating_sub(1)),
    ])
}

/// The filter that passes sockets whose local and remote ports lie in these ranges.
pub(super) fn between(local: (u16, u16), remote: (u16, u16)) -> Vec<u8> {
    bytecode(&[
        operation(LOCAL_FROM, 8, 36),
        port(local.0),
        operation(LOCAL_TO, 8, 28),
        port(local.1),
        operation(REMOTE_FROM, 8, 20),
        port(remote.0),
        operation(REMOTE_TO, 8, 12),
        port(remote.1),
    ])
}

/// The filter that passes sockets with one of these pairs of local and remote port.
pub(super) fn any_of(pairs: &[(u16, u16)]) -> Vec<u8> {
    /// Bytes of the operations for a pair: four comparisons, and the way to the end of the list, which accepts.
    const PAIR: u16 = 36;
    let all = PAIR * pairs.len() as u16;
    let mut program = Vec::new();
    for (at, (local, remote)) in (0..).step_by(PAIR.into()).zip(pairs) {
        // To the next pair, or from the last one beyond the end, which rejects.
        let next = |within: u16| {
            let last = at + PAIR == all;
            PAIR - within + if last { 4 } else { 0 }
        };
        program.extend([
            operation(LOCAL_FROM, 8, next(0)),
            port(*local),
            operation(LOCAL_TO, 8, next(8)),
            port(*local),
            operation(REMOTE_FROM, 8, next(16)),
            port(*remote),
            operation(REMOTE_TO, 8, next(24)),
            port(*remote),
            operation(JUMP, 4, all - at - 32),
        ]);
    }
    bytecode(&program)
}

const JUMP: u8 = 1;
const LOCAL_FROM: u8 = 2;
const LOCAL_TO: u8 = 3;
const REMOTE_FROM: u8 = 4;
const REMOTE_TO: u8 = 5;

fn operation(code: u8, yes: u8, no: u16) -> [u8; 4] {
    let [low, high] = no.to_ne_bytes();
    [code, yes, low, high]
}

fn port(port: u16) -> [u8; 4] {
    operation(0, 0, port)
}

fn bytecode(program: &[[u8; 4]]) -> Vec<u8> {
    const BYTECODE: u16 = 1;
    let program = program.concat();
    let mut attribute = (program.len() as u16 + 4).to_ne_bytes().to_vec();
    attribute.extend(BYTECODE.to_ne_bytes());
    attribute.extend(program);
    attribute
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::diag::{CONNECTED, Protocol, sockets};
    use super::*;

    #[test]
    fn the_kernel_passes_any_of_some_pairs() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let server = listener.local_addr().expect("address");
        let streams = [(); 4].map(|()| TcpStream::connect(server).expect("connect"));
        let mut pairs: Vec<_> = streams
            .iter()
            .map(|stream| (stream.local_addr().expect("address").port(), server.port()))
            .collect();
        pairs.remove(1);
        for count in 1..=pairs.len() {
            let mut found = sockets(
                (libc::AF_INET, Protocol::Tcp),
                CONNECTED,
                &any_of(&pairs[..count]),
                &mut Vec::new(),
                Vec::new,
                |found, socket| found.push((socket.local.1, socket.remote.1)),
            )
            .expect("dump");
            let mut expected = pairs[..count].to_vec();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }
}
