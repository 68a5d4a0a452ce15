//! Clients of HTTP/1: curl, which tells how each of its requests ended, one of the lab's own that asks at a pace, and one that
//! does not wait for answers.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::netns::{Namespace, Task};
use crate::{command, scale};

/// Longer than any answer of the lab takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of one run of a client.
const MOST_REQUESTS: u64 = 10_000;

/// How requests ended, as their client counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Answers by their status.
    pub codes: BTreeMap<u16, u64>,
    /// From the last byte of each request to the first of its answer, where the client measures it.
    pub waited: Vec<Duration>,
}

impl Told {
    /// Answers of one status.
    pub fn of(&self, status: u16) -> u64 {
        self.codes.get(&status).copied().unwrap_or(0)
    }

    /// All answers.
    pub fn answered(&self) -> u64 {
        self.codes.values().sum()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        for (status, count) in other.codes {
            *self.codes.entry(status).or_default() += count;
        }
        self.waited.extend(other.waited);
    }
}

/// Asks for a path so often with curl, one request after the other on one connection where the server keeps it.
pub fn curl(
    host: &Namespace,
    server: SocketAddr,
    path: &str,
    count: u64,
    options: &[&str],
) -> Result<Told> {
    let told = command::output(
        host.command("curl")?
            .args(["--silent", "--show-error", "--output", "/dev/null"])
            .args([
                "--write-out",
                "%{http_code} %{time_pretransfer} %{time_starttransfer}\n",
            ])
            .args(options)
            .arg(format!("http://{server}{path}?number=[1-{count}]")),
    )?;
    let mut all = Told::default();
    for line in told.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().with_context(|| format!("curl said {line}"));
        *all.codes.entry(word()?.parse()?).or_default() += 1;
        let (sent, began): (f64, f64) = (word()?.parse()?, word()?.parse()?);
        all.waited
            .push(Duration::from_secs_f64((began - sent).max(0.0)));
    }
    Ok(all)
}

/// Asks for a path at a pace on a thread, each time on a connection of its own; joins to how the answers began.
pub fn browse(
    host: &Namespace,
    server: SocketAddr,
    path: &'static str,
    count: u64,
    per_second: u32,
) -> Result<Task<Told>> {
    ensure!(count <= MOST_REQUESTS, "{count} requests are too many");
    host.spawn(move || {
        let begun = Instant::now();
        let mut told = Told::default();
        for number in 0..count {
            let due = Duration::from_secs(number) / per_second;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let mut stream = connect(server)?;
            stream.write_all(&request(path, "close"))?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            *told.codes.entry(status(&answer)?).or_default() += 1;
        }
        Ok(told)
    })
}

/// Asks at a pace on one connection that stays open, on a thread; joins to how many answers said 200.
pub fn stay(
    host: &Namespace,
    server: SocketAddr,
    count: u64,
    per_second: u32,
) -> Result<Task<u64>> {
    ensure!(count <= MOST_REQUESTS, "{count} requests are too many");
    host.spawn(move || {
        let mut stream = connect(server)?;
        let one = request("/", "keep-alive");
        let (begun, mut answered) = (Instant::now(), 0);
        for number in 0..count {
            let due = Duration::from_secs(number) / per_second;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            stream.write_all(&one)?;
            answered += read_answers(&mut stream, 1)?;
        }
        Ok(answered)
    })
}

/// Asks once on a connection, and when the answer is there so many times more, of which no answer is read before the last is sent:
/// each in a segment of its own, or all in one. Returns how many answers said 200, the first among them.
///
/// nginx turns Nagle's algorithm off where a connection waits for its next request. Without the first request, later answers would
/// wait for the acknowledgement of the one before and share a segment (`tcp_nagle_check`).
pub fn pipeline(host: &Namespace, server: SocketAddr, count: u64, in_one: bool) -> Result<u64> {
    ensure!(count <= MOST_REQUESTS, "{count} requests are too many");
    host.run(|| {
        let mut stream = connect(server)?;
        stream.set_nodelay(true)?;
        let one = request("/", "keep-alive");
        stream.write_all(&one)?;
        let first = read_answers(&mut stream, 1)?;
        if in_one {
            stream.write_all(&one.repeat(count as usize))?;
        } else {
            (0..count).try_for_each(|_| stream.write_all(&one))?;
        }
        Ok(first + read_answers(&mut stream, count)?)
    })
}

/// Reads until so many answers said 200, or the server closes.
fn read_answers(stream: &mut TcpStream, count: u64) -> Result<u64> {
    let (mut all, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
    loop {
        let answered = all
            .windows(12)
            .filter(|part| *part == b"HTTP/1.1 200")
            .count() as u64;
        let length = if answered == count {
            0
        } else {
            stream.read(&mut buffer).context("an answer is missing")?
        };
        if length == 0 {
            return Ok(answered);
        }
        all.extend(&buffer[..length]);
    }
}

/// A connection whose other end is not waited for without end.
pub(crate) fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, scale::patience(PATIENCE))?;
    stream.set_read_timeout(Some(scale::patience(PATIENCE)))?;
    Ok(stream)
}

fn request(path: &str, connection: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: {connection}\r\n\r\n").into_bytes()
}

fn status(answer: &[u8]) -> Result<u16> {
    let text = String::from_utf8_lossy(answer.get(..12).context("no answer came")?).into_owned();
    let code = text
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| text.strip_prefix("HTTP/1.0 "));
    Ok(code
        .with_context(|| format!("{text:?} is no answer"))?
        .parse()?)
}
