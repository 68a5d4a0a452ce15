//! The connections that were accepted from a listener: whoever holds them serves it.
//!
//! The kernel walks the sockets of all namespaces for a dump, so it is asked only about listeners that somebody asks about.

use std::collections::HashSet;

use super::closest::closest;
use super::diag::{self, Protocol, state};
use crate::snapshot::Listener;

/// Listeners that are looked at per namespace and pass.
const LISTENERS: usize = 8;

/// Connections that are looked for per listener; so many show who serves.
const CONNECTIONS: usize = 4096;

/// States of a connection that may have been accepted.
const STATES: u32 = diag::CONNECTED
    & !(1 << state::SYN_SENT
        | 1 << state::SYN_RECV
        | 1 << state::NEW_SYN_RECV
        | 1 << state::TIME_WAIT);

/// A listener's connections.
#[derive(Debug)]
pub(in crate::snapshot) struct Accepted {
    /// Inode of the listener; of several at one address and port, of the first.
    pub(in crate::snapshot) listener: u32,
    /// Inodes of the connections, without those that wait for `accept()`, which have none.
    pub(in crate::snapshot) sockets: HashSet<u32>,
}

/// The connections of those of the namespace's listeners that are wanted. What can not be read is left out: who serves is not
/// known then.
pub(super) fn read(listeners: &[Listener], wanted: &[u32], buffer: &mut Vec<u8>) -> Vec<Accepted> {
    let mut found: Vec<(&Listener, Accepted)> = Vec::new();
    for listener in listeners {
        let place = |other: &Listener| (other.address, other.port);
        let again = found
            .iter()
            .any(|(other, _)| place(other) == place(listener));
        if again || !wanted.contains(&listener.inode) || found.len() >= LISTENERS {
            continue;
        }
        if let Ok(sockets) = connections(listener, listeners, buffer) {
            let accepted = Accepted {
                listener: listener.inode,
                sockets,
            };
            found.push((listener, accepted));
        }
    }
    found.into_iter().map(|(_, accepted)| accepted).collect()
}

fn connections(
    listener: &Listener,
    all: &[Listener],
    buffer: &mut Vec<u8>,
) -> std::io::Result<HashSet<u32>> {
    let filter = diag::between((listener.port, listener.port), (0, u16::MAX));
    let at_port = || all.iter().filter(|other| other.port == listener.port);
    let mut found = HashSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let part = diag::sockets(
            (family, Protocol::Tcp),
            STATES,
            &filter,
            buffer,
            HashSet::new,
            |part, socket| {
                let kept = socket.inode != 0 && part.len() < CONNECTIONS;
                let owner = || closest(at_port().map(|row| row.address), socket.local.0);
                if kept && owner() == Some(listener.address) {
                    part.insert(socket.inode);
                }
            },
        )?;
        found.extend(part);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::host::holders::tests::inode;

    #[test]
    fn only_what_was_accepted_counts() {
        let server = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = server.local_addr().expect("address");
        let clients = [(); 2].map(|()| TcpStream::connect(address).expect("connect"));
        let (accepted, _) = server.accept().expect("accept");
        let shown = Listener {
            address: address.ip(),
            port: address.port(),
            queued: 0,
            backlog: 8,
            inode: inode(&server),
            uid: 0,
        };
        let found = read(
            &[shown.clone(), shown.clone()],
            &[shown.inode],
            &mut Vec::new(),
        );
        let [found] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(found.listener, shown.inode);
        assert_eq!(
            found.sockets,
            HashSet::from([inode(&accepted)]),
            "{clients:?}"
        );
        assert!(
            read(&[shown], &[], &mut Vec::new()).is_empty(),
            "nobody asks"
        );
    }
}
