//! A router drops chosen segments of one connection after the other, so that TCP notices each loss in another way; every way is
//! counted as the kernel counts it, while data moves and while the connection closes.
//!
//! Segments are told apart by their size. The client neither joins small ones when it sends them again nor stamps them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::netns::Namespace;
use osi_tests::nft::DropRule;
use osi_tests::server::{Behaviour, Server};
use osi_tests::skip::{self, Need};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Routed};
use osi_tests::{counters, load, wait};

const PATIENCE: Duration = Duration::from_secs(10);

/// Payload of the segments that are dropped, and of others.
const CHOSEN: usize = 200;
const OTHER: usize = 100;

/// So many of the first chosen segments are dropped, however often one of them is sent; 40 bytes are headers.
macro_rules! chosen {
    ($count:literal) => {
        concat!(
            "tcp dport 7 meta length 240 numgen inc mod 1000000 < ",
            $count
        )
    };
}

/// A loss on a connection of its own.
struct Fault {
    what: &'static str,
    /// What the router drops, and how many packets that are.
    drops: (&'static str, u64),
    /// `net.ipv4.tcp_early_retrans`: with 3 TCP probes for a lost tail, with 0 it waits for its timer.
    probing: &'static str,
    /// Payload of the segments, and of others that follow when all of these are acknowledged.
    segments: &'static [usize],
    then: &'static [usize],
    /// Counters that it moves.
    moves: &'static [&'static str],
}

/// While data moves.
const DATA: &[Fault] = &[
    Fault {
        what: "later segments arrive",
        drops: (chosen!(1), 1),
        probing: "0",
        segments: &[
            CHOSEN, OTHER, OTHER, OTHER, OTHER, OTHER, OTHER, OTHER, OTHER,
        ],
        then: &[],
        moves: &["TcpExtTCPFastRetrans"],
    },
    Fault {
        what: "its retransmission is lost as well",
        drops: (chosen!(2), 2),
        probing: "0",
        segments: &[
            CHOSEN, OTHER, OTHER, OTHER, OTHER, OTHER, OTHER, OTHER, OTHER,
        ],
        then: &[],
        moves: &["TcpExtTCPFastRetrans", "TcpExtTCPLostRetransmit"],
    },
    Fault {
        what: "all that is on its way is lost",
        drops: (chosen!(5), 5),
        probing: "0",
        segments: &[CHOSEN; 5],
        then: &[],
        moves: &["TcpExtTCPTimeouts", "TcpExtTCPSlowStartRetrans"],
    },
    Fault {
        what: "the last segment is lost",
        drops: (chosen!(1), 1),
        probing: "3",
        segments: &[OTHER, OTHER, CHOSEN],
        // What is acknowledged beyond the probe shows that there was a loss.
        then: &[OTHER],
        moves: &["TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery"],
    },
];

/// While the connection closes.
const CLOSE: Fault = Fault {
    what: "the FIN is lost",
    drops: (
        "tcp dport 7 tcp flags & fin == fin numgen inc mod 1000000 < 1",
        1,
    ),
    probing: "0",
    segments: &[OTHER],
    then: &[],
    moves: &["TcpExtTCPTimeouts"],
};

/// Signals, and the kernel's counters that are the same together.
const FIGURES: &[(&str, &[&str])] = &[
    ("segments_retransmitted", &["TcpRetransSegs"]),
    ("retransmits_fast", &["TcpExtTCPFastRetrans"]),
    ("retransmits_after_timeout", &["TcpExtTCPSlowStartRetrans"]),
    ("retransmits_lost", &["TcpExtTCPLostRetransmit"]),
    ("retransmission_timeouts", &["TcpExtTCPTimeouts"]),
    ("loss_probes", &["TcpExtTCPLossProbes"]),
    ("loss_probe_recoveries", &["TcpExtTCPLossProbeRecovery"]),
    ("spurious_timeouts", &["TcpExtTCPSpuriousRTOs"]),
    (
        "slowdowns_undone",
        &[
            "TcpExtTCPFullUndo",
            "TcpExtTCPPartialUndo",
            "TcpExtTCPDSACKUndo",
            "TcpExtTCPLossUndo",
        ],
    ),
];

#[test]
fn every_way_to_notice_a_loss_is_counted() -> Result<()> {
    let test = "l4_transport::recovery::every_way_to_notice_a_loss_is_counted";
    let needs = ["nft", "nstat"].map(Need::Program);
    // Alone where the machine is slow: a CPU that comes late makes a timer run out that should not.
    let Some(_turn) = skip::ready_to_time(test, &needs)? else {
        return Ok(());
    };
    let lab = Routed::build()?;
    let target = Routed::server_at(Family::V4, 7);
    for setting in ["tcp_timestamps", "tcp_retrans_collapse"] {
        lab.client.set_sysctl(&format!("net/ipv4/{setting}"), "0")?;
    }
    // What the server received twice it does not say: only F-RTO can tell that a timer ran out in vain.
    lab.server.set_sysctl("net/ipv4/tcp_dsack", "0")?;
    let _server = Server::start(&lab.server, target, Behaviour::Sink)?;
    let agent = Agent::watch(&lab.client)?;

    for fault in DATA {
        fault.happens(&lab, target)?;
    }
    acknowledgements_come_late(&lab, target)?;
    let data = sum(&lab.client, &["TcpRetransSegs"])?;
    CLOSE.happens(&lab, target)?;
    let close = sum(&lab.client, &["TcpRetransSegs"])? - data;

    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.lines();
    for (signal, names) in FIGURES {
        let (counted, told) = (sum(&lab.client, names)?, growth(&lines, "L4", signal));
        agent.compare(counted > 0 && told == counted, || {
            format!(
                "nstat counts {counted} as {}, and the agent {told} as {signal}",
                names.join(" + ")
            )
        })?;
    }
    let lines = agent.stop()?;
    for (signal, counted) in [("retransmits_data", data), ("retransmits_close", close)] {
        stream::ensure_counted(&lines, signal, counted, growth(&lines, "L4", signal))?;
    }
    Ok(())
}

impl Fault {
    fn happens(&self, lab: &Routed, target: SocketAddr) -> Result<()> {
        let client = &lab.client;
        client.set_sysctl("net/ipv4/tcp_early_retrans", self.probing)?;
        let before = self.counts(client)?;
        let mut stream = connect(client, target)?;
        let rule = DropRule::add(&lab.router, "forward", self.drops.0)?;
        for segments in [self.segments, self.then] {
            send(&mut stream, segments)?;
            acknowledged(client, target)?;
        }
        load::arrived(vec![stream])?;
        let dropped = rule.remove()?;
        ensure!(
            dropped == self.drops.1,
            "where {}, {dropped} segments were dropped",
            self.what
        );
        for ((name, before), after) in self.moves.iter().zip(before).zip(self.counts(client)?) {
            ensure!(after > before, "where {}, {name} stays {before}", self.what);
        }
        Ok(())
    }

    fn counts(&self, client: &Namespace) -> Result<Vec<u64>> {
        let counts = self.moves.iter().map(|name| sum(client, &[name]));
        counts.collect()
    }
}

/// Everything arrives, and the server's answers are dropped until the client's timer has run out.
fn acknowledgements_come_late(lab: &Routed, target: SocketAddr) -> Result<()> {
    let client = &lab.client;
    client.set_sysctl("net/ipv4/tcp_early_retrans", "0")?;
    let before = sum(client, &["TcpExtTCPSpuriousRTOs"])?;
    let timeouts = || sum(client, &["TcpExtTCPTimeouts"]);
    let so_far = timeouts()?;
    let mut stream = connect(client, target)?;
    let rule = DropRule::add(&lab.router, "forward", "tcp sport 7")?;
    send(&mut stream, &[OTHER; 5])?;
    wait::until_above("timers that ran out", so_far, PATIENCE, timeouts)?;
    rule.remove()?;
    acknowledged(client, target)?;
    load::arrived(vec![stream])?;
    let after = sum(client, &["TcpExtTCPSpuriousRTOs"])?;
    ensure!(after > before, "no timer is said to have run out in vain");
    Ok(())
}

fn connect(client: &Namespace, target: SocketAddr) -> Result<TcpStream> {
    client.run(|| {
        let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
}

/// One segment of each of these sizes.
fn send(stream: &mut TcpStream, segments: &[usize]) -> Result<()> {
    for bytes in segments {
        stream.write_all(&vec![b'o'; *bytes])?;
    }
    Ok(())
}

/// Waits until nothing is left in the connection's Send-Q.
fn acknowledged(client: &Namespace, target: SocketAddr) -> Result<()> {
    let filter = format!("dst {target}");
    wait::until("all is acknowledged", PATIENCE, || {
        let text = counters::timers(client, &filter)?;
        let unacknowledged = text.split_whitespace().nth(1);
        let unacknowledged = unacknowledged.with_context(|| format!("ss shows {text:?}"))?;
        Ok((unacknowledged == "0").then_some(()))
    })
}

/// Counters of the namespace, added up.
fn sum(host: &Namespace, names: &[&str]) -> Result<u64> {
    let counts = names.iter().map(|name| counters::snmp(host, name));
    counts.sum()
}
