//! Rows out of sockets, made by hand and of this process.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use super::*;

fn end(text: &str) -> (IpAddr, u16) {
    let address: std::net::SocketAddr = text.parse().expect("address");
    (address.ip(), address.port())
}

fn listener(text: &str) -> Listener {
    let (address, port) = end(text);
    Listener {
        address,
        port,
        queued: 0,
        backlog: 8,
        inode: 1,
        uid: 0,
    }
}

fn socket(cookie: u64, state: u8, remote: &str, rqueue: u32) -> Socket {
    Socket {
        state,
        timer: 0,
        local: end("10.0.0.1:80"),
        remote: end(remote),
        expires_ms: 0,
        rqueue,
        wqueue: 0,
        uid: 0,
        inode: cookie as u32,
        cookie,
    }
}

fn walk(listeners: &[Listener], sockets: &[Socket]) -> Walk {
    let listeners = Listeners::of(listeners);
    let mut walk = Walk::default();
    for socket in sockets {
        walk.add(socket, &listeners);
    }
    walk
}

#[test]
fn connections_belong_to_the_nearest_listener() {
    let listeners = Listeners::of(&[
        listener("[::]:80"),
        listener("0.0.0.0:80"),
        listener("10.0.0.1:80"),
        listener("[::]:81"),
        listener("10.0.0.1:82"),
    ]);
    for (local, listener) in [
        ("10.0.0.1:80", Some("10.0.0.1:80")),
        ("10.0.0.2:80", Some("0.0.0.0:80")),
        ("[fd00::1]:80", Some("[::]:80")),
        ("10.0.0.2:81", Some("[::]:81")),
        ("10.0.0.2:82", None),
        ("10.0.0.2:83", None),
    ] {
        let expected = listener.map(|text| {
            let (address, port) = end(text);
            End::Listener(address, port)
        });
        assert_eq!(listeners.accepted(end(local)), expected, "{local}");
    }
}

#[test]
fn ends_are_counted_and_the_worst_comes_first() {
    let sockets = [
        socket(1, state::ESTABLISHED, "10.0.0.9:443", 0),
        socket(2, state::ESTABLISHED, "10.0.0.9:443", 5),
        // The end of the stream is read, or is all that is unread.
        socket(3, state::CLOSE_WAIT, "10.0.0.8:443", 0),
        socket(4, state::CLOSE_WAIT, "10.0.0.8:443", 1),
        socket(5, state::CLOSE_WAIT, "10.0.0.8:443", 2),
    ];
    let rows = walk(&[], &sockets).rows(&[], &BTreeMap::new());
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.open, row.close_wait, row.unread))
        .collect();
    assert_eq!(shown, [(3, 3, 1), (2, 0, 1)]);
    let rows = walk(&[listener("0.0.0.0:80")], &sockets).rows(&[], &BTreeMap::new());
    assert_eq!((rows.len(), rows[0].open), (1, 5));
}

#[test]
fn a_socket_is_as_old_as_it_has_been_seen() {
    let mut known = Since::new();
    let mut long = |second: u64, cookies: &[u64]| {
        let sockets: Vec<_> = cookies
            .iter()
            .map(|cookie| socket(*cookie, state::CLOSE_WAIT, "10.0.0.9:443", 0))
            .collect();
        let now_ns = second * 1_000_000_000;
        let long = walk(&[], &sockets).long(&mut known, now_ns);
        long.iter().map(|seen| seen.cookie).collect::<Vec<_>>()
    };
    assert_eq!(long(1, &[1, 2]), [0; 0]);
    assert_eq!(long(10, &[1, 3]), [0; 0]);
    assert_eq!(long(11, &[1, 2, 3]), [1]);
    // The second one was gone in between.
    assert_eq!(long(20, &[1, 2, 3]), [1, 3]);
}

/// The passes out of twelve in which each of these namespaces is walked, which takes so many milliseconds.
fn walked(namespaces: &[(u32, u64)]) -> Vec<Vec<u64>> {
    let mut followed = Followed::default();
    let mut passes = vec![Vec::new(); namespaces.len()];
    for pass in 1..=12 {
        followed.begin();
        for ((inode, ms), passes) in namespaces.iter().zip(&mut passes) {
            if followed.due(*inode).is_some() {
                followed.walked(*inode, Duration::from_millis(*ms));
                passes.push(pass);
            }
        }
    }
    passes
}

#[test]
fn what_takes_long_is_walked_in_one_of_several_passes() {
    assert_eq!(walked(&[(7, 19)]), [(1..=12).collect::<Vec<_>>()]);
    assert_eq!(walked(&[(7, 60)]), [[1, 5, 9]]);
    // Each waits until the others have had their time.
    let passes = walked(&[(7, 15), (8, 15), (9, 15), (10, 15)]);
    assert!(passes.iter().all(|passes| passes.len() >= 3), "{passes:?}");
    for pass in 1..=12 {
        let at_once = passes
            .iter()
            .filter(|passes| passes.contains(&pass))
            .count();
        assert!(at_once <= 2, "{passes:?}");
    }
}

#[test]
fn namespaces_of_the_past_are_forgotten() {
    let mut followed = Followed::default();
    followed.begin();
    assert!(followed.due(7).is_some());
    followed.walked(7, Duration::ZERO);
    for _ in 0..=GONE {
        followed.begin();
        assert!(followed.due(8).is_some());
        followed.walked(8, Duration::ZERO);
    }
    assert!(followed.namespaces.contains_key(&8) && !followed.namespaces.contains_key(&7));
}

#[test]
fn the_kernel_says_how_long_data_has_been_unread() {
    let server = TcpListener::bind("127.0.0.1:0").expect("listener");
    let at = server.local_addr().expect("address");
    let mut client = TcpStream::connect(at).expect("connect");
    let (accepted, _) = server.accept().expect("accept");
    client.write_all(b"unread").expect("write");
    let listeners = Listeners::of(&[listener(&at.to_string())]);
    let mut known = Since::new();
    let mut left = |now_ns| {
        let add = |part: &mut Walk, socket: &Socket| {
            if [socket.local.1, socket.remote.1].contains(&at.port()) {
                part.add(socket, &listeners);
            }
        };
        let of = (libc::AF_INET, Protocol::Tcp);
        let walk = diag::sockets(of, STATES, &[], &mut Vec::new(), Walk::default, add);
        walk.expect("dump").left_unread(&mut known, now_ns)
    };
    assert!(left(1).is_empty(), "seen once");
    let left = left(2);
    let [seen] = left[..] else {
        panic!("{left:?}");
    };
    let own = client.local_addr().expect("address");
    assert_eq!(seen.ports, (at.port(), own.port()));
    let told = ask(&[seen], &mut Vec::new()).expect("dump");
    let end = End::Listener(at.ip(), at.port());
    assert!(told.contains_key(&end), "{told:?}");
    drop(accepted);
}
