//! What the packets of exchanges cost, all of them: what a program is handed counts as the time of who hands it on.

use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::daemon::Nginx;
use osi_tests::foreign;
use osi_tests::resolver::{self, Dnsmasq, KNOWN};
use osi_tests::secure::{Certificate, Requests, curl};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{http, load, quic, report};

use super::{REQUESTS, TALKERS, of_name, programs};

const HANDSHAKES: u64 = 300;
const QUERIES: u64 = 300;
/// Each by a process of its own.
const QUIC: u64 = 30;

#[test]
fn each_exchange_on_the_wire() -> Result<()> {
    let test = "safety::cost::exchanges::each_exchange_on_the_wire";
    let needs = [
        "bpftool",
        "nginx",
        "openssl",
        "curl",
        "dnsmasq",
        "dig",
        "gtlsserver",
        "gtlsclient",
    ]
    .map(Need::Program);
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
    let _quic = quic::serve(server, at(8443), &certificate)?;
    wire(
        &programs,
        "QUIC connections with one request each",
        QUIC,
        || {
            let told = quic::ask(client, at(8443), "v1", QUIC, Duration::from_secs(5))?;
            ensure!(told.completed() == QUIC, "{told:?}");
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
