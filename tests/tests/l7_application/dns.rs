//! Queries of real clients to a real resolver: each is counted by what became of it, whatever the port and the transport.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::netns::Namespace;
use osi_tests::resolver::{
    self, Dnsmasq, FOREIGN, KNOWN, LARGE, MUTE, Questions, Told, UNKNOWN, ask, ask_in_one,
};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, Line, event_count, growth, rows, sum};
use osi_tests::topology::{Family, Pair};
use serde_json::Value;

const NEEDS: [Need; 2] = [Need::Program("dnsmasq"), Need::Program("dig")];

/// Names of each kind.
const NAMES: u64 = 12;
const MUTES: u64 = 2;

/// The agent takes a query for unanswered after five seconds, and tells it at the end of that window.
const GIVES_UP: usize = 7;

#[test]
fn every_query_is_counted_as_the_client_counts_it() -> Result<()> {
    let test = "l7_application::dns::every_query_is_counted_as_the_client_counts_it";
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let (v4, v6) = (
        Pair::server_at(Family::V4, 5300),
        Pair::server_at(Family::V6, 53),
    );
    let _resolvers = [
        Dnsmasq::start(&pair.server, v4)?,
        Dnsmasq::start(&pair.server, v6)?,
    ];
    let agent = Agent::watch(&pair.client)?;
    let mut told = Told::default();
    let mut over_tcp = 0;
    for server in [v4, v6] {
        for transport in ["+notcp", "+tcp"] {
            let names = names(&[KNOWN, UNKNOWN, FOREIGN], NAMES);
            let all = resolver::dig(&pair.client, server, &[transport, "+tries=1"], &names)?;
            ensure!(all.answered() == 3 * NAMES, "dig told {all:?}");
            over_tcp += if transport == "+tcp" { 3 * NAMES } else { 0 };
            told.add(all);
        }
        let cut = resolver::dig(
            &pair.client,
            server,
            &["+noedns", "+tries=1"],
            &[LARGE.to_owned()],
        )?;
        ensure!(cut.cut == 1 && cut.answered() == 2, "dig told {cut:?}");
        over_tcp += 1;
        told.add(cut);
        let patience = ["+tries=2", "+timeout=1"];
        let mute = resolver::dig(&pair.client, server, &patience, &names(&[MUTE], MUTES))?;
        ensure!(mute.unanswered == 2 * MUTES, "dig told {mute:?}");
        told.add(mute);
    }
    agent.wait_for_window(SystemTime::now(), GIVES_UP)?;
    let lines = agent.stop()?;
    let grown = |id| growth(&lines, "L7", id);
    let (answers, unknown, errors) = (
        grown("dns_answers"),
        grown("dns_nxdomain"),
        grown("dns_errors"),
    );
    let cut = grown("dns_truncated");
    let statuses = [
        ("NOERROR", answers - unknown - errors - cut),
        ("NXDOMAIN", unknown),
        ("REFUSED", errors),
    ];
    let counted = Told {
        answers: statuses
            .map(|(name, count)| (name.to_owned(), count))
            .into(),
        cut,
        unanswered: grown("dns_no_answer"),
        waited: Vec::new(),
    };
    stream::ensure(&lines, counted == told, || {
        format!("dig tells {told:?}, and the agent {counted:?}")
    })?;
    let timed = sum(&lines, |map| {
        map.latency("L7", "dns_time", "count").unwrap_or(0)
    });
    stream::ensure_counted(&lines, "times", told.answered(), timed)?;
    let tcp = grown("dns_over_tcp");
    stream::ensure_counted(&lines, "queries over TCP", over_tcp, tcp)?;
    stream::ensure_none_in_flight(&lines, "L7", "dns_time")?;
    each_failure_is_an_event(&lines, &told)?;
    // Half of all went to each.
    for server in [v4, v6] {
        let of_one = |row: &&Value| {
            row["id"] == "dns_answers"
                && row["scope"]["kind"] == "resolver"
                && row["scope"]["remote"] == server.ip().to_string()
                && row["scope"]["port"] == server.port()
        };
        let count = sum(&lines, |map| {
            let rows = rows(map.layer("L7"), "counters").filter(of_one);
            rows.filter_map(|row| row["delta"].as_u64()).sum()
        });
        stream::ensure(&lines, 2 * count == told.answered(), || {
            format!("{server} gave {count} of {} answers", told.answered())
        })?;
    }
    Ok(())
}

/// Events by reason are as many as dig saw, and their names are those that were asked for.
fn each_failure_is_an_event(lines: &[Line], told: &Told) -> Result<()> {
    for (reason, offered) in [
        ("nxdomain", told.of("NXDOMAIN")),
        ("refused", told.of("REFUSED")),
    ] {
        let count = event_count(lines, "dns_failed", |event| event["reason"] == reason);
        stream::ensure_counted(lines, reason, offered, count)?;
    }
    let unanswered = event_count(lines, "dns_failed", |event| {
        event["reason"] == "no_answer" || event["reason"] == "sent_again"
    });
    stream::ensure_counted(
        lines,
        "queries without an answer",
        told.unanswered,
        unanswered,
    )?;
    let below = |event: &Value, name: &str| {
        event["name"]
            .as_str()
            .is_some_and(|asked| asked.ends_with(name))
    };
    for (reason, name) in [
        ("nxdomain", UNKNOWN),
        ("refused", FOREIGN),
        ("no_answer", MUTE),
    ] {
        let named = event_count(lines, "dns_failed", |event| {
            event["reason"] == reason && below(event, name)
        });
        stream::ensure(lines, named > 0, || {
            format!("{named} of the {reason} are told with a name below {name}")
        })?;
    }
    Ok(())
}

#[test]
fn no_name_leaves_the_kernel_where_none_is_wanted() -> Result<()> {
    let test = "l7_application::dns::no_name_leaves_the_kernel_where_none_is_wanted";
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(Family::V4, 53);
    let _resolver = Dnsmasq::start(&pair.server, server)?;
    let agent = Agent::watch_with(&pair.client, &["--no-names"])?;
    let told = resolver::dig(&pair.client, server, &["+tries=1"], &names(&[UNKNOWN], 4))?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let count = event_count(&lines, "dns_failed", |event| event["name"].is_null());
    stream::ensure_counted(&lines, "failures", told.of("NXDOMAIN"), count)?;
    let spoken = lines
        .iter()
        .any(|line| line.value().to_string().contains(UNKNOWN));
    stream::ensure(&lines, !spoken, || format!("{UNKNOWN} is told: {spoken}"))
}

/// A fifth of the names that are asked for does not exist, and nobody is at fault.
#[test]
fn names_that_do_not_exist_are_normal_life() -> Result<()> {
    let test = "l7_application::dns::names_that_do_not_exist_are_normal_life";
    let Some(_turn) = skip::ready(test, &NEEDS[..1])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(Family::V4, 53);
    let _resolver = Dnsmasq::start(&pair.server, server)?;
    let agent = Agent::watch(&pair.client)?;
    let load = |below, per_second: u32| {
        let questions = Questions {
            server,
            below,
            count: 12 * u64::from(per_second),
            per_second,
            patience: Duration::from_secs(5),
        };
        ask(&pair.client, questions)
    };
    let (known, unknown) = (load(KNOWN, 40)?, load(UNKNOWN, 10)?);
    let (known, unknown) = (known.join()?, unknown.join()?);
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = osi_tests::expect::calm(agent)?;
    stream::ensure_none_in_flight(&lines, "L7", "dns_time")?;
    let offered = unknown.codes.get(&3).copied().unwrap_or(0);
    let counted = growth(&lines, "L7", "dns_nxdomain");
    stream::ensure_counted(&lines, "names that do not exist", offered, counted)?;
    let answered = offered + known.codes.get(&0).copied().unwrap_or(0);
    ensure!(
        answered == 12 * 50,
        "{answered} answers came: {known:?}, {unknown:?}"
    );
    let counted = growth(&lines, "L7", "dns_answers");
    stream::ensure_counted(&lines, "answers", answered, counted)
}

/// Of one segment, the first four messages are looked at.
const LOOKED_AT: u16 = 4;

/// Over TCP, a client may send what else it asks for at once. What is left out is said.
#[test]
fn each_query_of_a_segment_is_counted() -> Result<()> {
    let test = "l7_application::dns::each_query_of_a_segment_is_counted";
    let Some(_turn) = skip::ready(test, &NEEDS[..1])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let server = Pair::server_at(Family::V4, 53);
    let _resolver = Dnsmasq::start(&pair.server, server)?;
    let agent = Agent::watch(&pair.client)?;
    for count in [LOOKED_AT, LOOKED_AT + 1] {
        ask_in_one(&pair.client, server, KNOWN, count)?;
        agent.wait_for_window(SystemTime::now(), 2)?;
        let said = agent.lines().iter().any(leaves_messages_out);
        agent.ensure(said == (count > LOOKED_AT), || {
            format!("{count} messages, and that some are left out is said: {said}")
        })?;
    }
    let lines = agent.stop()?;
    for signal in ["dns_over_tcp", "dns_answers"] {
        let counted = growth(&lines, "L7", signal);
        stream::ensure_counted(&lines, signal, 2 * u64::from(LOOKED_AT), counted)?;
    }
    stream::ensure_none_in_flight(&lines, "L7", "dns_time")
}

fn leaves_messages_out(line: &Line) -> bool {
    line.is_fault_map() && line.is_blind("L7", &["more DNS messages"])
}

fn names(below: &[&str], count: u64) -> Vec<String> {
    let numbered = |below: &&str| {
        let below = (*below).to_owned();
        (0..count).map(move |number| format!("n{number}.{below}"))
    };
    below.iter().flat_map(numbered).collect()
}

/// What the client asks passes `lo` on both ways where the resolver is on the same host: it is one query all the same.
#[test]
fn a_resolver_on_this_host_is_asked_once() -> Result<()> {
    let test = "l7_application::dns::a_resolver_on_this_host_is_asked_once";
    let Some(_turn) = skip::ready(test, &NEEDS)? else {
        return Ok(());
    };
    let host = Namespace::create("client")?;
    let server = ([127, 0, 0, 53], 53).into();
    let _resolver = Dnsmasq::start(&host, server)?;
    let agent = Agent::watch(&host)?;
    let told = resolver::dig(
        &host,
        server,
        &["+tries=1"],
        &names(&[KNOWN, UNKNOWN], NAMES),
    )?;
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let counted = growth(&lines, "L7", "dns_answers");
    stream::ensure_counted(&lines, "answers", told.answered(), counted)?;
    stream::ensure_none_in_flight(&lines, "L7", "dns_time")
}
