//! What each hook costs: how often its program runs for what the lab does, exactly, and how long a run takes beside that of an
//! empty program on the same hook.
//!
//! Times are said and never judged: they are this machine's, and only the difference to the empty twin means something.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::bpf::{Objects, Runs};
use osi_tests::daemon::Nginx;
use osi_tests::foreign::{self, Foreign, Hook};
use osi_tests::load::{self, Datagrams, Exchange, Plan};
use osi_tests::netns::Namespace;
use osi_tests::nft::DropRule;
use osi_tests::resolver::{self, Dnsmasq, KNOWN};
use osi_tests::secure::{Certificate, Requests, curl};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::twin::Twin;
use osi_tests::{http, kernel, report};

const CONNECTIONS: u64 = 500;
/// As fast as they go: between rarer ones the CPU sleeps, and what is measured then is how it wakes up.
const AT_ONCE: u64 = 50_000;
/// Connections that ask one request after the other.
const TALKERS: u64 = 4;
const REQUESTS: u64 = 1000;
const DATAGRAMS: u64 = 5000;
const HANDSHAKES: u64 = 300;
const QUERIES: u64 = 300;
/// In vain and all at once; each SYN is sent again twice.
const UNANSWERED: u64 = 200;
const NEIGHBOURS: u8 = 200;
const NEIGHBOUR: fn(u8) -> Ipv4Addr = |number| Ipv4Addr::new(10, 1, 1, number);

#[test]
fn each_program_beside_an_empty_one() -> Result<()> {
    let test = "safety::cost::each_program_beside_an_empty_one";
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

    let rule = DropRule::add(&pair.server, "input", "udp dport 9")?;
    let send = || {
        let plan = Datagrams {
            target: Pair::server_at(Family::V4, 9),
            count: DATAGRAMS,
            size: 500,
            burst: 50,
            every: Duration::from_millis(10),
        };
        load::datagrams(&pair.client, plan)?.join()
    };
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

#[test]
fn each_packet_beside_an_empty_program() -> Result<()> {
    let test = "safety::cost::each_packet_beside_an_empty_program";
    let Some(_turn) = skip::ready_alone(test, &[Need::Program("bpftool")])? else {
        return Ok(());
    };
    if !kernel::is_at_least(6, 6)? {
        return skip::skip(test, "TCX, where twins stand side by side, is since 6.6");
    }
    let pair = Pair::build()?;
    let _counted = foreign::counting()?;
    for (hook, program) in [
        (Hook::TcxIngressNext, "osi_tc_ingress"),
        (Hook::TcxEgressNext, "osi_tc_egress"),
    ] {
        let agent = Agent::watch(&pair.client)?;
        let programs = programs(&agent)?;
        let twin = Foreign::on_interface(&pair.client, "eth0", hook)?;
        let both = || {
            let ours = of_name(&programs, program)?;
            Ok::<_, anyhow::Error>((ours, Runs::of(twin.id()?)?))
        };
        let before = both()?;
        let server = if hook == Hook::TcxEgressNext {
            (&pair.client, Pair::server_at(Family::V4, 9))
        } else {
            (&pair.server, Pair::client_at(Family::V4, 9))
        };
        let plan = Datagrams {
            target: server.1,
            count: DATAGRAMS,
            size: 500,
            burst: 50,
            every: Duration::from_millis(10),
        };
        load::datagrams(server.0, plan)?.join()?;
        let after = both()?;
        judge(
            program,
            DATAGRAMS,
            &after.0.since(&before.0),
            &after.1.since(&before.1),
        )?;
        agent.stop()?;
    }
    Ok(())
}

/// What the packets of exchanges cost, all of them: what a program is handed counts as the time of who hands it on.
#[test]
fn each_exchange_on_the_wire() -> Result<()> {
    let test = "safety::cost::each_exchange_on_the_wire";
    let needs = ["bpftool", "nginx", "openssl", "curl", "dnsmasq", "dig"].map(Need::Program);
    let Some(_turn) = skip::ready_alone(test, &needs)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (client, server) = (&pair.client, &pair.server);
    let at = |port| Pair::server_at(Family::V4, port);
    let certificate = Certificate::create(server, "good")?;
    let _nginx = Nginx::start_tls_beside(server, at(443), &certificate, at(80))?;
    let _resolver = Dnsmasq::start(server, at(53))?;
    let _talker = Server::start(server, at(8), Behaviour::Converse)?;
    let agent = Agent::watch(client)?;
    let _counted = foreign::counting()?;
    let programs = programs(&agent)?;

    wire(
        &programs,
        "exchanges of no known protocol",
        TALKERS * REQUESTS,
        || {
            let talk = load::conversation(client, at(8), TALKERS, REQUESTS, Duration::ZERO)?;
            let answers = talk.join()?;
            ensure!(answers == TALKERS * REQUESTS, "{answers} answers");
            Ok(())
        },
    )?;
    wire(
        &programs,
        "HTTP requests on one connection",
        REQUESTS,
        || {
            let told = http::curl(client, at(80), "/", REQUESTS, &[])?;
            ensure!(told.of(200) == REQUESTS, "{:?}", told.codes);
            Ok(())
        },
    )?;
    wire(&programs, "DNS queries", QUERIES, || {
        let names: Vec<_> = (0..QUERIES)
            .map(|number| format!("{number}.{KNOWN}"))
            .collect();
        let told = resolver::dig(client, at(53), &["+tries=1"], &names)?;
        ensure!(told.answered() == QUERIES, "{told:?}");
        Ok(())
    })?;
    wire(
        &programs,
        "TLS connections with one request each",
        HANDSHAKES,
        || {
            let requests = Requests {
                server: at(443),
                trusts: &certificate.file(),
                version: "1.3",
                count: HANDSHAKES,
                per_second: 0,
            };
            let told = curl(client, requests)?.join()?;
            ensure!(told.completed() == HANDSHAKES, "{told:?}");
            Ok(())
        },
    )?;
    agent.stop()?;
    Ok(())
}

/// Says how often the programs of an interface run for things of a kind, and how long in all: both directions, one end.
fn wire(
    programs: &[u64],
    things: &str,
    count: u64,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let hooks = ["osi_tc_ingress", "osi_tc_egress"];
    let read = || {
        let of_hooks = hooks.map(|name| of_name(programs, name));
        of_hooks.into_iter().collect::<Result<Vec<_>>>()
    };
    let before = read()?;
    work()?;
    let told = read()?.into_iter().zip(before).zip(hooks);
    let told: Vec<_> = told
        .map(|((after, before), hook)| (hook, after.since(&before)))
        .collect();
    let words = told.iter().map(|(hook, runs)| {
        let (packets, ns) = (runs.count, runs.each_ns());
        format!(
            "{hook} {packets} runs of {ns} ns, {} ns each",
            packets * ns / count
        )
    });
    let text = format!("{count} {things}: {}", words.collect::<Vec<_>>().join("; "));
    report::say("cost", &text)?;
    ensure!(told.iter().all(|(_, runs)| runs.count >= count), "{text}");
    Ok(())
}

/// Does something with the twin of a program in place; the runs of both must be the same, and at least one for each.
fn compare(
    programs: &[u64],
    hook: &str,
    things: u64,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let twin = Twin::on(hook)?;
    let before = (of_name(programs, hook)?, twin.runs()?);
    work()?;
    let after = (of_name(programs, hook)?, twin.runs()?);
    judge(
        hook,
        things,
        &after.0.since(&before.0),
        &after.1.since(&before.1),
    )
}

fn judge(hook: &str, things: u64, ours: &Runs, twin: &Runs) -> Result<()> {
    let text = format!(
        "{hook}: {things} done, {} runs and {} of the empty twin; {} ns a run, the twin {}, net {}",
        ours.count,
        twin.count,
        ours.each_ns(),
        twin.each_ns(),
        ours.each_ns().saturating_sub(twin.each_ns())
    );
    report::say("cost", &text)?;
    // Counters are read one after the other, and the machine's own connections go on meanwhile.
    let apart = ours.count.abs_diff(twin.count);
    ensure!(ours.count >= things && apart <= things / 50, "{text}");
    Ok(())
}

fn programs(agent: &Agent) -> Result<Vec<u64>> {
    Ok(Objects::held_by(agent.pid())?
        .programs
        .into_iter()
        .collect())
}

/// A program by its name, of which the kernel keeps 15 bytes; some versions of bpftool take the whole of it from the types.
fn of_name(programs: &[u64], name: &str) -> Result<Runs> {
    let short = &name[..name.len().min(15)];
    let all = programs.iter().map(|id| Runs::of(*id));
    let all = all.collect::<Result<Vec<_>>>()?;
    all.into_iter()
        .find(|runs| [name, short].contains(&runs.name.as_str()))
        .with_context(|| format!("the agent holds no program {name}"))
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
