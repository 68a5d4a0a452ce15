//! Two joined network namespaces for a test, and the standard tools to compare with.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use osi_agent::host::namespaces::resolve;
use osi_agent::snapshot::sampler::{HostSample, Sampler};
use osi_agent::snapshot::{Link, NetnsState, Qdisc};
use serde_json::Value;

/// Generous: the machine that runs the tests may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Two namespaces joined by a veth pair (`va` 10.99.0.1 and fd99::1 in `a`, `vb` with 2 in `b`), gone when it ends.
pub(crate) struct Pair {
    pub(crate) a: String,
    pub(crate) b: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("osir-{}-{number}{side}", std::process::id());
        let pair = Self {
            a: name('a'),
            b: name('b'),
        };
        let (a, b) = (&pair.a, &pair.b);
        for command in [
            format!("ip netns add {a}"),
            format!("ip netns add {b}"),
            format!("ip -n {a} link add va type veth peer name vb netns {b}"),
            format!("ip -n {a} addr add 10.99.0.1/24 dev va"),
            format!("ip -n {b} addr add 10.99.0.2/24 dev vb"),
            format!("ip -n {a} addr add fd99::1/64 dev va nodad"),
            format!("ip -n {b} addr add fd99::2/64 dev vb nodad"),
            format!("ip -n {a} link set lo up"),
            format!("ip -n {b} link set lo up"),
            format!("ip -n {a} link set va up"),
            format!("ip -n {b} link set vb up"),
        ] {
            run(&command);
        }
        pair
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Standard output of a command that must succeed.
pub(crate) fn run(command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect(command);
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect(command)
}

/// The JSON list that a command prints.
pub(crate) fn json(command: &str) -> Vec<Value> {
    serde_json::from_str(&run(command)).expect(command)
}

pub(crate) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// Runs in a namespace, on a thread of its own.
pub(crate) fn within<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let namespace = fs::File::open(format!("/run/netns/{name}")).expect("namespace");
    let enter = move || {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(kind))
            .expect("setns");
        work()
    };
    std::thread::spawn(enter).join().expect("thread")
}

pub(crate) fn sampler(spec: &str) -> Sampler {
    Sampler::spawn(resolve(spec).expect(spec)).expect("sampler")
}

/// One pass over a single namespace that must see everything.
pub(crate) fn state(name: &str) -> NetnsState {
    let HostSample {
        mut namespaces,
        host: _,
        holders: _,
        blind,
    } = sampler(name).sample(DEADLINE);
    assert_eq!(blind, [], "{name}");
    assert_eq!(namespaces.len(), 1);
    namespaces.remove(0)
}

pub(crate) fn link<'a>(state: &'a NetnsState, name: &str) -> &'a Link {
    state
        .links
        .iter()
        .find(|link| link.iface.name == name)
        .expect(name)
}

pub(crate) fn qdisc<'a>(state: &'a NetnsState, kind: &str) -> &'a Qdisc {
    state
        .qdiscs
        .iter()
        .find(|qdisc| qdisc.kind == kind)
        .expect(kind)
}

/// Connections from a namespace to a listener, as (client, server).
pub(crate) fn connect(
    from: &str,
    listener: &TcpListener,
    to: &str,
    count: usize,
) -> Vec<(TcpStream, TcpStream)> {
    let address: SocketAddr = to.parse().expect("address");
    let listener = listener.try_clone().expect("listener");
    within(from, move || {
        let one = |_| {
            (
                TcpStream::connect(address).expect("connect"),
                listener.accept().expect("accept").0,
            )
        };
        (0..count).map(one).collect()
    })
}
