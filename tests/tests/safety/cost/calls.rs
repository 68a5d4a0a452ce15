//! Programs on calls of the kernel: each with its twin beside it.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::bpf::Runs;
use osi_tests::foreign::{self, Foreign, Hook};
use osi_tests::load::{self, Exchange, Plan};
use osi_tests::netns::Namespace;
use osi_tests::nft::DropRule;
use osi_tests::server::{self, Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::twin::Twin;
use osi_tests::{cgroup, kernel};

use super::{DATAGRAMS, REQUESTS, TALKERS, beside, programs, send};

const CONNECTIONS: u64 = 500;
/// As fast as they go: between rarer ones the CPU sleeps, and what is measured then is how it wakes up.
const AT_ONCE: u64 = 50_000;
/// In vain and all at once; each SYN is sent again twice.
const UNANSWERED: u64 = 200;
/// Any address, and any port.
const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 0);
const NEIGHBOURS: u8 = 200;
const NEIGHBOUR: fn(u8) -> Ipv4Addr = |number| Ipv4Addr::new(10, 1, 1, number);

/// A probe, the function that it sits on, and a search for a port.
type Search = (&'static str, &'static str, fn() -> io::Result<()>);

#[test]
fn each_program_beside_an_empty_one() -> Result<()> {
    let test = "safety::cost::calls::each_program_beside_an_empty_one";
    let needs = [Need::Program("bpftool"), Need::Program("nft")];
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch_all()?;
    let _counted = foreign::counting()?;
    let programs = programs(&agent)?;

    // Both ends are on this host: ten changes of state for each connection.
    let echo_at = Pair::server_at(Family::V4, 7);
    let echo = Server::start(&pair.server, echo_at, Behaviour::Echo)?;
    let plan = Plan {
        target: echo_at,
        connections: CONNECTIONS,
        per_second: AT_ONCE,
        connect_timeout: Duration::from_secs(2),
        exchange: Exchange::Echo,
    };
    compare(&programs, "inet_sock_set_state", CONNECTIONS, || {
        let report = load::connections(&pair.client, plan)?.join()?;
        ensure!(report.completed == CONNECTIONS, "{:?}", report.errors);
        Ok(())
    })?;
    drop(echo);

    if kernel::is_at_least(6, 3)? {
        let talk_at = Pair::server_at(Family::V4, 8);
        let _talker = Server::start(&pair.server, talk_at, Behaviour::Converse)?;
        for hook in ["sk_data_ready", "tcp_rcv_space_adjust", "sock_send_length"] {
            // Both ends: each message is sent, arrives and is read once.
            compare(&programs, hook, 2 * TALKERS * REQUESTS, || {
                let pause = Duration::ZERO;
                let talk = load::conversation(&pair.client, talk_at, TALKERS, REQUESTS, pause)?;
                let answers = talk.join()?;
                ensure!(answers == TALKERS * REQUESTS, "{answers} answers");
                Ok(())
            })?;
        }
    }

    let closed = Plan::connects(Pair::server_at(Family::V4, 81), CONNECTIONS, AT_ONCE);
    let refuse = || {
        let report = load::connections(&pair.client, closed)?.join()?;
        let refused = report.errors_of(libc::ECONNREFUSED);
        ensure!(refused == CONNECTIONS, "{:?}", report.errors);
        Ok(())
    };
    compare(&programs, "tcp_receive_reset", CONNECTIONS, refuse)?;
    if kernel::is_at_least(6, 10)? {
        // Before, a reset without a socket is not told.
        compare(&programs, "tcp_send_reset", CONNECTIONS, refuse)?;
    }

    let rule = DropRule::add(&pair.server, "input", "tcp dport 82")?;
    compare(&programs, "tcp_retransmit_skb", UNANSWERED, || {
        let target = Pair::server_at(Family::V4, 82);
        let patience = Duration::from_millis(2500);
        load::connect_all_at_once(&pair.client, target, UNANSWERED, patience)?.join()?;
        Ok(())
    })?;
    rule.remove()?;

    // What the listener answers is lost on its way.
    let listens_at = Pair::server_at(Family::V4, 83);
    let listener = server::listen(&pair.server, listens_at, 4096)?;
    let rule = DropRule::add(&pair.client, "input", "tcp sport 83")?;
    compare(&programs, "tcp_retransmit_synack", UNANSWERED, || {
        let patience = Duration::from_millis(2500);
        load::connect_all_at_once(&pair.client, listens_at, UNANSWERED, patience)?.join()?;
        // It would go on answering while the counters are read.
        drop(listener);
        Ok(())
    })?;
    rule.remove()?;

    let rule = DropRule::add(&pair.server, "input", "udp dport 9")?;
    let send = || send(&pair.client, Pair::server_at(Family::V4, 9));
    compare(&programs, "kfree_skb", DATAGRAMS, send)?;
    rule.remove()?;

    neighbours(&pair.server)?;
    // A new address each time, as one that is known is not asked for again.
    let mut next = 1;
    for hook in ["neigh_create", "neigh_update"] {
        let count = NEIGHBOURS / 2;
        let asked = next..next + count;
        next += count;
        compare(&programs, hook, u64::from(count), || {
            ask(&pair.client, asked)
        })?;
    }
    agent.stop()?;
    Ok(())
}

/// Before a SYN is built. Where that is a callback of sockets, it is called for their other callbacks as well.
#[test]
fn each_connect_beside_an_empty_program() -> Result<()> {
    let test = "safety::cost::calls::each_connect_beside_an_empty_program";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("bpftool")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch_all()?;
    let _counted = foreign::counting()?;
    let programs = programs(&agent)?;
    let probe = agent.probe("tcp_connect")?;
    let closed = Plan::connects(Pair::server_at(Family::V4, 81), CONNECTIONS, AT_ONCE);
    let connect = || {
        let report = load::connections(&pair.client, closed)?.join()?;
        let refused = report.errors_of(libc::ECONNREFUSED);
        ensure!(refused == CONNECTIONS, "{:?}", report.errors);
        Ok(())
    };
    match probe["variant"].as_str() {
        Some("fentry") => {
            let twin = Twin::at_entry_of("tcp_connect")?;
            beside(
                &programs,
                "tcp_connect_fentry",
                CONNECTIONS,
                || twin.runs(),
                connect,
            )?;
        }
        Some("sock_ops") => {
            let root = cgroup::unified()?.context("there is no cgroup to attach to")?;
            let twin = Foreign::on_cgroup(&root, Hook::SockOps)?;
            let runs = || Runs::of(twin.id()?);
            beside(
                &programs,
                "tcp_connect_sock_ops",
                CONNECTIONS,
                runs,
                connect,
            )?;
        }
        _ => {
            agent.stop()?;
            return skip::skip(test, &format!("there is no twin for {}", probe["variant"]));
        }
    }
    agent.stop()?;
    Ok(())
}

/// At the end of the kernel's search for a port that whoever binds gets.
#[test]
fn each_search_for_a_port_beside_an_empty_program() -> Result<()> {
    let test = "safety::cost::calls::each_search_for_a_port_beside_an_empty_program";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("bpftool")])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let agent = Agent::watch_all()?;
    let _counted = foreign::counting()?;
    let programs = programs(&agent)?;
    let kinds: [Search; 2] = [
        ("tcp_get_port", "inet_csk_get_port", || {
            TcpListener::bind(ANYWHERE).map(drop)
        }),
        ("udp_get_port", "udp_lib_get_port", || {
            UdpSocket::bind(ANYWHERE).map(drop)
        }),
    ];
    for (probe, function, search) in kinds {
        let status = agent.probe(probe)?;
        if status["variant"] != "fexit" {
            agent.stop()?;
            let reason = status["reason"].as_str();
            let why = reason.unwrap_or("what it climbed to has no twin");
            return skip::skip(test, &format!("{probe}: {why}"));
        }
        let twin = Twin::at_exit_of(function)?;
        let program = format!("{probe}_fexit");
        beside(
            &programs,
            &program,
            CONNECTIONS,
            || twin.runs(),
            || {
                pair.client
                    .run(|| Ok((0..CONNECTIONS).try_for_each(|_| search())?))
            },
        )?;
    }
    agent.stop()?;
    Ok(())
}

/// Does something with the twin of a tracepoint's program in place.
fn compare(
    programs: &[u64],
    hook: &str,
    things: u64,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let twin = Twin::on(hook)?;
    beside(programs, hook, things, || twin.runs(), work)
}

/// Gives the server addresses that nobody has asked for.
fn neighbours(server: &Namespace) -> Result<()> {
    for number in 1..=NEIGHBOURS {
        let address = format!("{}/16", NEIGHBOUR(number));
        server.ip(&["addr", "add", &address, "dev", "eth0"])?;
    }
    Ok(())
}

/// Sends a datagram to each, so that each is asked for and answers.
fn ask(client: &Namespace, numbers: std::ops::Range<u8>) -> Result<()> {
    client.ip(&["route", "replace", "10.1.1.0/24", "dev", "eth0"])?;
    client.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for number in numbers {
            socket
                .send_to(b"?", (NEIGHBOUR(number), 9))
                .context("a datagram")?;
        }
        Ok(())
    })
}
