//! Sixty thousand open sockets: what they cost the agent, and what it makes of them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::{Agent, INTERVAL};
use osi_tests::lab_program::Holder;
use osi_tests::netns::Namespace;
use osi_tests::server::listen;
use osi_tests::stream::{self, Line};
use osi_tests::{counters, expect, processes, report, scale, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Servers that the connections go to: pools of which none is nearly full.
const SERVERS: usize = 6;
/// Connections to each, both ends of which are sockets of the host.
const EACH: u64 = 5000;
/// Descriptors of a process that holds them: as many again as it needs, so that it is not short of them.
const DESCRIPTORS: u64 = 2 * EACH;
/// Windows that are measured.
const WINDOWS: usize = 8;
/// Share of one CPU that the agent may take for them, on a machine at full speed.
const CPU_RATIO: f64 = 0.35;
/// What reading the values of a window may take: half of the time after which a reader is late.
const READING: Duration = Duration::from_millis(250);
/// Memory that a window's own lists may take for a while.
const ROOM: u64 = 6 << 20;
/// Of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

#[test]
fn sixty_thousand_sockets_cost_little() -> Result<()> {
    let test = "l4_transport::many_sockets::sixty_thousand_sockets_cost_little";
    if scale::is_slow() {
        return skip::skip(
            test,
            "an emulated machine has not the memory for 60,000 sockets",
        );
    }
    let Some(_turn) = skip::ready_alone(test, &[])? else {
        return Ok(());
    };
    if !allow_descriptors()? {
        let reason = format!("a process may not have {DESCRIPTORS} descriptors here");
        return skip::skip(test, &reason);
    }
    let host = Namespace::create("client")?;
    host.set_sysctl("net/ipv4/ip_local_port_range", "10000 65000")?;
    // The accepting ends wait in their listeners' queues, which are far from full.
    host.set_sysctl("net/core/somaxconn", "65535")?;
    let agent = Agent::watch(&host)?;
    let idle = Cost::of(&agent)?;
    agent.wait_for_window(SystemTime::now(), WINDOWS)?;
    let idle = Cost::of(&agent)?.since(&idle);

    let began = Instant::now();
    let sockets = open(&host)?;
    let opening = began.elapsed();
    let (open, first) = (
        counters::tcp_sockets(&host, "state established")?,
        server(0),
    );
    ensure!(
        open == 2 * EACH * SERVERS as u64,
        "ss lists {open} open sockets"
    );
    // The first whole windows take what memory they need.
    agent.wait_for_window(SystemTime::now(), 2)?;
    let before = Cost::of(&agent)?;
    let map = agent.wait_for_window(SystemTime::now(), WINDOWS)?;
    let after = Cost::of(&agent)?;
    let busy = after.since(&before);
    report::say(
        "measured",
        &format!(
            "{open} sockets, opened in {opening:?}: {:.0} ms of CPU per window ({:.0} idle), {} KiB resident, {} KiB more after {WINDOWS} windows",
            busy.per_window_ms(),
            idle.per_window_ms(),
            after.resident >> 10,
            after.resident.saturating_sub(before.resident) >> 10,
        ),
    )?;
    let listed = counters::tcp_sockets(&host, &format!("dst {first}"))?;
    // A window whose reader of ports was late knows no pool.
    let map = agent.wait_for("the pools", INTERVAL * 10, |line| {
        line.is_fault_map()
            && line.value()["seq"].as_u64() >= map.value()["seq"].as_u64()
            && used(line, first).is_some()
    })?;
    agent.compare(used(&map, first) == Some(listed as f64), || {
        format!(
            "ss lists {listed} sockets towards {first}, the agent {:?}",
            used(&map, first)
        )
    })?;
    let pools = map.meters("L4", "ephemeral_ports").count();
    agent.ensure(pools == SERVERS, || format!("{pools} pools are shown"))?;
    agent.ensure(busy.ratio() <= CPU_RATIO, || {
        format!("it took {:.2} of a CPU", busy.ratio())
    })?;
    agent.ensure(after.resident <= before.resident + ROOM, || {
        format!(
            "its memory grew from {} to {} bytes",
            before.resident, after.resident
        )
    })?;
    let lines = expect::calm(agent)?;
    drop(sockets);
    let reading = reading(&lines).context("no stats lines tell how long readings took")?;
    stream::ensure(&lines, reading <= READING, || {
        format!("the reading of a window takes {reading:?}")
    })
}

/// What a window's reading took since the first line that tells of it, which comes when few of the sockets are open.
fn reading(lines: &[Line]) -> Option<Duration> {
    let mut told = Vec::new();
    let mut windows = 0;
    for line in lines {
        windows += u64::from(line.is_fault_map());
        let reading = line.value()["reading_ns"].as_u64();
        told.extend(reading.map(|ns| (windows, ns)));
    }
    let ((from, before), (to, after)) = (told.first()?, told.last()?);
    let each = (after - before).checked_div(to - from)?;
    Some(Duration::from_nanos(each))
}

/// Both processes.
struct Cost {
    ticks: u64,
    resident: u64,
    at: Instant,
}

/// What a time cost.
struct Spent {
    cpu: Duration,
    time: Duration,
}

impl Cost {
    fn of(agent: &Agent) -> Result<Self> {
        let (mut ticks, mut resident) = (0, 0);
        for pid in agent.processes()? {
            ticks += processes::ticks(pid)?;
            resident += processes::resident(pid)?;
        }
        Ok(Self {
            ticks,
            resident,
            at: Instant::now(),
        })
    }

    fn since(&self, before: &Self) -> Spent {
        Spent {
            cpu: Duration::from_secs_f64((self.ticks - before.ticks) as f64 / TICKS_PER_SECOND),
            time: self.at - before.at,
        }
    }
}

impl Spent {
    fn ratio(&self) -> f64 {
        self.cpu.as_secs_f64() / self.time.as_secs_f64()
    }

    /// Windows are a second long.
    fn per_window_ms(&self) -> f64 {
        self.ratio() * 1000.0
    }
}

fn server(number: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 1, number as u8 + 1), 7))
}

/// The same number of connections to each server, from a process each.
fn open(host: &Namespace) -> Result<Vec<(Holder, TcpListener)>> {
    let program = env!("CARGO_BIN_EXE_hold-connections");
    let one = |number| {
        let listener = listen(host, server(number), 65_535)?;
        let holder = Holder::start(host, program, server(number), EACH)?;
        ensure!(holder.held == EACH, "{} connections are held", holder.held);
        Ok((holder, listener))
    };
    (0..SERVERS).map(one).collect()
}

fn used(map: &Line, server: SocketAddr) -> Option<f64> {
    let mut rows = map.meters("L4", "ephemeral_ports");
    let row = rows.find(|row| row["scope"]["remote"] == server.ip().to_string())?;
    row["used"].as_f64()
}

/// Lets this process and those that it starts have enough descriptors; false where they may not.
fn allow_descriptors() -> Result<bool> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= DESCRIPTORS) {
        return Ok(true);
    }
    if limit.maximum.is_some_and(|most| most < DESCRIPTORS) {
        return Ok(false);
    }
    let wider = Rlimit {
        current: Some(DESCRIPTORS),
        ..limit
    };
    setrlimit(Resource::Nofile, wider)?;
    Ok(true)
}
