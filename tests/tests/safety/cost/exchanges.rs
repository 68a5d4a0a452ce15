//! What the packets of exchanges cost, all of them, at the end that asks and at the one that serves: what a program is handed
//! counts as the time of who hands it on.

use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::bpf::Runs;
use osi_tests::daemon::Nginx;
use osi_tests::foreign;
use osi_tests::resolver::{self, Dnsmasq, KNOWN};
use osi_tests::secure::{Certificate, Requests, curl};
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::topology::{Family, Pair};
use osi_tests::{http, load, quic, report};

use super::{REQUESTS, TALKERS, id_of, programs};

const HANDSHAKES: u64 = 300;
const QUERIES: u64 = 300;
/// Each by a process of its own.
const QUIC: u64 = 30;
/// Programs of an interface.
const HOOKS: [&str; 2] = ["osi_tc_ingress", "osi_tc_egress"];

/// One end, and its programs.
struct End {
    name: &'static str,
    programs: [u64; 2],
}

impl End {
    fn of(name: &'static str, agent: &Agent) -> Result<Self> {
        let all = programs(agent)?;
        let [ingress, egress] = HOOKS;
        Ok(Self {
            name,
            programs: [id_of(&all, ingress)?, id_of(&all, egress)?],
        })
    }

    fn runs(&self) -> Result<[Runs; 2]> {
        let [ingress, egress] = self.programs;
        Ok([Runs::of(ingress)?, Runs::of(egress)?])
    }
}

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
    let (asking, serving) = (Agent::watch(client)?, Agent::watch(server)?);
    let _counted = foreign::counting()?;
    let ends = [End::of("asking", &asking)?, End::of("serving", &serving)?];

    wire(
        &ends,
        "exchanges of no known protocol",
        TALKERS * REQUESTS,
        || {
            let talk = load::conversation(client, at(8), TALKERS, REQUESTS, Duration::ZERO)?;
            let answers = talk.join()?;
            ensure!(answers == TALKERS * REQUESTS, "{answers} answers");
            Ok(())
        },
    )?;
    wire(&ends, "HTTP requests on one connection", REQUESTS, || {
        let told = http::curl(client, at(80), "/", REQUESTS, &[])?;
        ensure!(told.of(200) == REQUESTS, "{:?}", told.codes);
        Ok(())
    })?;
    wire(&ends, "DNS queries", QUERIES, || {
        let names: Vec<_> = (0..QUERIES)
            .map(|number| format!("{number}.{KNOWN}"))
            .collect();
        let told = resolver::dig(client, at(53), &["+tries=1"], &names)?;
        ensure!(told.answered() == QUERIES, "{told:?}");
        Ok(())
    })?;
    wire(
        &ends,
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
        &ends,
        "QUIC connections with one request each",
        QUIC,
        || {
            let told = quic::ask(client, at(8443), "v1", QUIC, Duration::from_secs(5))?;
            ensure!(told.completed() == QUIC, "{told:?}");
            Ok(())
        },
    )?;
    asking.stop()?;
    serving.stop()?;
    Ok(())
}

/// Says how often the programs of both ends' interfaces run for things of a kind, and how long in all.
fn wire(ends: &[End], things: &str, count: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let read = || ends.iter().map(End::runs).collect::<Result<Vec<_>>>();
    let before = read()?;
    work()?;
    for ((end, after), before) in ends.iter().zip(read()?).zip(before) {
        let told = after.iter().zip(&before);
        let told: Vec<_> = told.map(|(after, before)| after.since(before)).collect();
        let words = told.iter().zip(HOOKS).map(|(runs, hook)| {
            let (packets, ns) = (runs.count, runs.each_ns());
            format!(
                "{hook} {packets} runs of {ns} ns, {} ns each",
                runs.time_ns / count
            )
        });
        let words = words.collect::<Vec<_>>().join("; ");
        let text = format!("{count} {things}, {}: {words}", end.name);
        report::say("cost", &text)?;
        ensure!(told.iter().all(|runs| runs.count >= count), "{text}");
    }
    Ok(())
}
