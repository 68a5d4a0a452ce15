//! dnsmasq, dig, which asks it, and a client of the lab's own that asks at a pace.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::daemon::{Daemon, READY};
use crate::netns::{Namespace, Task};
use crate::{counters, http, wait};

/// A name below this has an address.
pub const KNOWN: &str = "known.lab";
/// A name below this does not exist.
pub const UNKNOWN: &str = "unknown.lab";
/// A name below this is asked of a name server that is not there: no answer comes.
pub const MUTE: &str = "mute.lab";
/// A name that has more addresses than fit into 512 bytes.
pub const LARGE: &str = "large.lab";
/// Nobody to ask is named for any other: it is refused.
pub const FOREIGN: &str = "foreign.example";

const ADDRESSES: u8 = 60;
/// Nothing of the lab listens here.
const CLOSED: &str = "127.0.0.1#9";
/// The trust anchor of the root (2017): right there, and wrong for whatever else it is given to.
const ANCHOR: &str = "20326,8,2,E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
/// The name server that the resolver with a wrong trust anchor asks.
const UPSTREAM: u16 = 5354;

/// Options of dig: it says how long each answer took, in microseconds.
pub const TIMES: &[&str] = &["-u", "+stats"];

/// Exit code of dig where no answer came.
const NO_REPLY: i32 = 9;

/// dnsmasq as a resolver.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Daemon,
    /// Whom it asks, where it asks anybody.
    _upstream: Option<Daemon>,
}

impl Dnsmasq {
    /// Starts one that knows all names below [`KNOWN`], and waits until it listens.
    pub fn start(host: &Namespace, address: SocketAddr) -> Result<Self> {
        let known = format!("--address=/{KNOWN}/10.9.9.9");
        let process = launch(host, address, &[&known])?;
        Ok(Self {
            process,
            _upstream: None,
        })
    }

    /// The same, but it asks another name server for these names and finds no signature that it was told to expect: SERVFAIL.
    pub fn start_with_a_wrong_anchor(host: &Namespace, address: SocketAddr) -> Result<Self> {
        let known = format!("--address=/{KNOWN}/10.9.9.9");
        let upstream = SocketAddr::from(([127, 0, 0, 1], UPSTREAM));
        let asked = launch(host, upstream, &[&known])?;
        let options = [
            "--dnssec".to_owned(),
            format!("--trust-anchor=.,{ANCHOR}"),
            format!("--trust-anchor={KNOWN},{ANCHOR}"),
            format!("--server=/{KNOWN}/{}#{UPSTREAM}", upstream.ip()),
        ];
        let process = launch(host, address, &options.each_ref().map(String::as_str))?;
        Ok(Self {
            process,
            _upstream: Some(asked),
        })
    }

    /// Stops it (SIGSTOP), or lets it go on (SIGCONT).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

fn launch(host: &Namespace, address: SocketAddr, options: &[&str]) -> Result<Daemon> {
    let mut dnsmasq = host.command("dnsmasq")?;
    dnsmasq
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
        ])
        .args(["--no-resolv", "--no-hosts", "--user=root"])
        .args(["--bind-interfaces", "--log-facility=/dev/null"])
        .arg(format!("--listen-address={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .arg(format!("--local=/{UNKNOWN}/"))
        .arg(format!("--server=/{MUTE}/{CLOSED}"))
        .args((1..=ADDRESSES).map(|last| format!("--host-record={LARGE},10.8.0.{last}")))
        .args(options);
    let process = Daemon::start(dnsmasq.stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait::until("dnsmasq listens", READY, || {
        Ok(counters::is_listening(host, address.port())?.then_some(()))
    })?;
    Ok(process)
}

/// How queries ended, as dig tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Answers by their status, such as `NXDOMAIN`; of those that were cut, the ones that came over TCP then.
    pub answers: BTreeMap<String, u64>,
    /// Answers that were cut.
    pub cut: u64,
    /// Queries that it waited for in vain.
    pub unanswered: u64,
    /// How long each answer took, with the options [`TIMES`].
    pub waited: Vec<Duration>,
}

impl Told {
    /// Answers of one status.
    pub fn of(&self, status: &str) -> u64 {
        self.answers.get(status).copied().unwrap_or(0)
    }

    /// All answers.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.cut
    }

    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.cut += other.cut;
        self.waited.extend(other.waited);
        self.unanswered += other.unanswered;
    }
}

/// Asks for each of these names with dig, one after the other.
pub fn dig(
    host: &Namespace,
    server: SocketAddr,
    options: &[&str],
    names: &[String],
) -> Result<Told> {
    let mut dig = host.command("dig")?;
    dig.arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["+noall", "+comments"])
        .args(options)
        .args(names);
    let done = dig
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {dig:?}"))?;
    // It fails where an answer is missing, and that may be what was wanted.
    let is_told = done.status.success() || done.status.code() == Some(NO_REPLY);
    ensure!(is_told, "{dig:?} ended with {}", done.status);
    let text = String::from_utf8_lossy(&done.stdout);
    let mut told = Told::default();
    for line in text.lines() {
        if let Some((_, status)) = line.split_once("status: ") {
            let status = status.split(',').next().unwrap_or_default().to_owned();
            *told.answers.entry(status).or_default() += 1;
        }
        if let Some((_, time)) = line.split_once("Query time: ") {
            let time = time.strip_suffix(" usec").context("not in microseconds")?;
            told.waited.push(Duration::from_micros(time.parse()?));
        }
        told.cut += u64::from(line.contains("Truncated, retrying in TCP mode"));
        told.unanswered += u64::from(line.ends_with(": timed out"));
    }
    Ok(told)
}

/// Queries of the lab's own client over UDP, each from a socket of its own.
#[derive(Clone, Copy, Debug)]
pub struct Questions {
    /// Whom.
    pub server: SocketAddr,
    /// Below which name: each is another one.
    pub below: &'static str,
    /// How many.
    pub count: u64,
    /// How many of these a second.
    pub per_second: u32,
    /// How long it waits for an answer.
    pub patience: Duration,
}

/// How they ended, as the client counted.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Answers by response code.
    pub codes: BTreeMap<u8, u64>,
    /// Those that it waited for in vain.
    pub unanswered: u64,
}

/// Asks on a thread.
pub fn ask(host: &Namespace, questions: Questions) -> Result<Task<Asked>> {
    host.spawn(move || {
        let begun = Instant::now();
        let mut asked = Asked::default();
        for number in 0..questions.count {
            let due = Duration::from_secs(number) / questions.per_second;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            match one(questions, number)? {
                Some(code) => *asked.codes.entry(code).or_default() += 1,
                None => asked.unanswered += 1,
            }
        }
        Ok(asked)
    })
}

/// Asks for one name: the response code, none where no answer came.
fn one(questions: Questions, number: u64) -> Result<Option<u8>> {
    let Questions { server, below, .. } = questions;
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0; 16], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(questions.patience))?;
    // Refused by a filter, it is not sent, and no answer comes.
    match socket.send(&query(number as u16, &format!("n{number}.{below}"))) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        sent => drop(sent.context("cannot ask")?),
    }
    let mut answer = [0; 512];
    match socket.recv(&mut answer) {
        Ok(length) => {
            let code = answer[..length]
                .get(3)
                .context("an answer without a header")?;
            Ok(Some(code & 0x0f))
        }
        Err(error) if is_silence(&error) => Ok(None),
        Err(error) => Err(error).context("no answer"),
    }
}

/// Asks for so many names over one connection, all in one segment, and waits for every answer.
pub fn ask_in_one(host: &Namespace, server: SocketAddr, below: &str, count: u16) -> Result<()> {
    let messages = (0..count).flat_map(|number| {
        let query = query(number, &format!("n{number}.{below}"));
        let length = query.len() as u16;
        [length.to_be_bytes().to_vec(), query].concat()
    });
    let segment: Vec<u8> = messages.collect();
    host.run(|| {
        let mut stream = http::connect(server)?;
        stream.write_all(&segment)?;
        for number in 0..count {
            let mut length = [0; 2];
            stream
                .read_exact(&mut length)
                .with_context(|| format!("answer {number} is missing"))?;
            let mut answer = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut answer)?;
        }
        Ok(())
    })
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
    )
}

/// A query for the IPv4 address of a name (RFC 1035 4).
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}
