//! Load with exact counts: connections at a rate, datagrams of a number, one bulk stream. All of it bounded.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::netns::{Namespace, Task};
use crate::scale;
use crate::server::MESSAGE_BYTES;

pub use self::report::Report;

mod report;

/// Bytes of one exchange, each way.
pub const MESSAGE: [u8; MESSAGE_BYTES] = [b'o'; MESSAGE_BYTES];
const HTTP_REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// Longer than any exchange of the lab takes; only a lost server makes it expire.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
const WORKERS: usize = 4;
/// The most connections, datagrams and seconds that any plan may ask for.
const MOST_CONNECTIONS: u64 = 60_000;
const MOST_DATAGRAMS: u64 = 100_000;
pub(crate) const LONGEST: Duration = Duration::from_mins(1);
/// How often a stream that can send nothing looks whether its time is over.
const GLANCE: Duration = Duration::from_millis(200);

/// What is said on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// 64 bytes out, the same 64 bytes back; the server closes, so that no client port is left in `TIME_WAIT`.
    Echo,
    /// One HTTP/1.0 request; the server closes after its answer.
    Http,
    /// Nothing: connect and close.
    None,
}

/// Connections at a steady rate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where to.
    pub target: SocketAddr,
    /// How many.
    pub connections: u64,
    /// How many are started each second on a machine at full speed, whatever the earlier ones do.
    pub per_second: u64,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// What is said.
    pub exchange: Exchange,
}

impl Plan {
    /// Bare connects: nothing is said on them, and what takes a second counts as no answer.
    pub fn connects(target: SocketAddr, connections: u64, per_second: u64) -> Self {
        Self {
            target,
            connections,
            per_second,
            connect_timeout: Duration::from_secs(1),
            exchange: Exchange::None,
        }
    }
}

/// Makes the connections of a plan from `host`.
pub fn connections(host: &Namespace, plan: Plan) -> Result<Task<Report>> {
    ensure!(
        plan.connections <= MOST_CONNECTIONS,
        "a plan of {} connections is unbounded",
        plan.connections
    );
    ensure!(plan.per_second > 0, "a plan needs a rate");
    host.spawn(move || {
        let start = Instant::now();
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            // Threads are born in the namespace of their parent.
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| scope.spawn(|| work(plan, start, &next)))
                .collect();
            let mut total = Report::empty()?;
            for worker in workers {
                total.add(
                    &worker
                        .join()
                        .map_err(|_| anyhow!("a load worker panicked"))??,
                )?;
            }
            Ok(total)
        })
    })
}

/// The same connects at once, each on its own thread: for targets that make every connect wait.
pub fn connect_all_at_once(
    host: &Namespace,
    target: SocketAddr,
    count: u64,
    timeout: Duration,
) -> Result<Task<Report>> {
    ensure!(count <= 256, "{count} threads are too many");
    host.spawn(move || {
        let attempts: Vec<_> = (0..count)
            .map(|_| {
                std::thread::spawn(move || {
                    let began = Instant::now();
                    let outcome = TcpStream::connect_timeout(&target, timeout);
                    (outcome, began.elapsed())
                })
            })
            .collect();
        let mut report = Report::empty()?;
        // Kept until all have ended, so that no early close makes room for a later connect.
        let mut held = Vec::new();
        for attempt in attempts {
            let (outcome, taken) = attempt.join().map_err(|_| anyhow!("a connect panicked"))?;
            match outcome {
                Ok(stream) => {
                    report.connect_ns.record(taken.as_nanos() as u64)?;
                    held.push(stream);
                }
                Err(error) => report.fail(&error),
            }
        }
        report.connected = held.len() as u64;
        Ok(report)
    })
}

fn work(plan: Plan, start: Instant, next: &AtomicU64) -> Result<Report> {
    let mut report = Report::empty()?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.connections {
            return Ok(report);
        }
        let due = Duration::from_nanos(number * 1_000_000_000 / plan.per_second);
        sleep_until(start + scale::patience(due));
        let began = Instant::now();
        match TcpStream::connect_timeout(&plan.target, plan.connect_timeout) {
            Ok(stream) => {
                report.connected += 1;
                report
                    .connect_ns
                    .record(began.elapsed().as_nanos() as u64)?;
                match exchange(stream, plan.exchange) {
                    Ok(()) => report.completed += 1,
                    Err(error) => report.fail(&error),
                }
            }
            Err(error) => report.fail(&error),
        }
    }
}

/// Connections that each ask so many times, one request after the other with a pause between; joins to the answers.
pub fn conversation(
    host: &Namespace,
    target: SocketAddr,
    connections: u64,
    requests: u64,
    pause: Duration,
) -> Result<Task<u64>> {
    ensure!(connections <= 64, "{connections} threads are too many");
    host.spawn(move || {
        let talk = move || -> std::io::Result<u64> {
            let mut stream = TcpStream::connect_timeout(&target, EXCHANGE_TIMEOUT)?;
            stream.set_read_timeout(Some(scale::patience(EXCHANGE_TIMEOUT)))?;
            let mut answer = [0; MESSAGE_BYTES];
            for _ in 0..requests {
                stream.write_all(&MESSAGE)?;
                stream.read_exact(&mut answer)?;
                std::thread::sleep(pause);
            }
            Ok(requests)
        };
        let talks: Vec<_> = (0..connections).map(|_| std::thread::spawn(talk)).collect();
        talks.into_iter().try_fold(0, |sum, talk| {
            let answers = talk.join().map_err(|_| anyhow!("a client panicked"))??;
            Ok(sum + answers)
        })
    })
}

/// Connections that each send a request and leave its answer where it is.
pub fn ask(host: &Namespace, target: SocketAddr, connections: usize) -> Result<Vec<TcpStream>> {
    send(host, target, connections, HTTP_REQUEST)
}

/// Connections that each send these bytes and read nothing.
pub fn send(
    host: &Namespace,
    target: SocketAddr,
    connections: usize,
    bytes: &[u8],
) -> Result<Vec<TcpStream>> {
    host.run(|| {
        let one = || {
            let mut stream = TcpStream::connect_timeout(&target, EXCHANGE_TIMEOUT)?;
            stream.write_all(bytes)?;
            Ok(stream)
        };
        (0..connections).map(|_| one()).collect()
    })
}

/// Reads the answer of such a connection.
pub fn answered(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(scale::patience(EXCHANGE_TIMEOUT)))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(expect_answer(answer.starts_with(b"HTTP/1.1 200"))?)
}

/// Waits until unit `number` of a stream of `per_second` is due.
fn pace(start: Instant, number: u64, per_second: u64) {
    sleep_until(start + Duration::from_nanos(number * 1_000_000_000 / per_second));
}

fn sleep_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn exchange(mut stream: TcpStream, exchange: Exchange) -> std::io::Result<()> {
    stream.set_read_timeout(Some(scale::patience(EXCHANGE_TIMEOUT)))?;
    match exchange {
        Exchange::Echo => {
            stream.write_all(&MESSAGE)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            expect_answer(answer == MESSAGE)
        }
        Exchange::Http => {
            stream.write_all(HTTP_REQUEST)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            expect_answer(answer.starts_with(b"HTTP/1.1 200"))
        }
        Exchange::None => Ok(()),
    }
}

fn expect_answer(right: bool) -> std::io::Result<()> {
    if right {
        Ok(())
    } else {
        Err(std::io::Error::from_raw_os_error(libc::EPROTO))
    }
}

/// Datagrams in bursts.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Where to.
    pub target: SocketAddr,
    /// How many in all.
    pub count: u64,
    /// Bytes of payload in each.
    pub size: usize,
    /// How many leave back to back.
    pub burst: u64,
    /// Time from the start of one burst to the start of the next, on a machine at full speed.
    pub every: Duration,
}

/// Sends exactly `count` datagrams from `host`.
pub fn datagrams(host: &Namespace, plan: Datagrams) -> Result<Task<()>> {
    ensure!(
        plan.count <= MOST_DATAGRAMS,
        "{} datagrams are unbounded",
        plan.count
    );
    host.spawn(move || {
        let socket = if plan.target.is_ipv4() {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        }?;
        socket.set_broadcast(true)?;
        let payload = vec![b'o'; plan.size];
        let start = Instant::now();
        for number in 0..plan.count {
            if number % plan.burst == 0 {
                let due = plan.every * (number / plan.burst) as u32;
                sleep_until(start + scale::patience(due));
            }
            let sent = socket
                .send_to(&payload, plan.target)
                .with_context(|| format!("datagram {number} was refused"))?;
            ensure!(
                sent == plan.size,
                "datagram {number} was cut to {sent} bytes"
            );
        }
        Ok(())
    })
}

/// Connections that each send so much at once, and then nothing; see [`arrived`].
pub fn push(
    host: &Namespace,
    target: SocketAddr,
    connections: usize,
    bytes: usize,
) -> Result<Vec<TcpStream>> {
    ensure!(connections <= 256, "{connections} connections are too many");
    host.run(|| {
        let one = || {
            let mut stream = TcpStream::connect_timeout(&target, EXCHANGE_TIMEOUT)?;
            stream.set_write_timeout(Some(scale::patience(EXCHANGE_TIMEOUT)))?;
            stream.write_all(&vec![b'o'; bytes])?;
            Ok(stream)
        };
        (0..connections).map(|_| one()).collect()
    })
}

/// Ends connections to a sink; returns when all that was sent on them has arrived.
pub fn arrived(streams: Vec<TcpStream>) -> Result<()> {
    for mut stream in streams {
        stream.set_read_timeout(Some(scale::patience(Duration::from_secs(30))))?;
        stream.shutdown(Shutdown::Write)?;
        stream
            .read_to_end(&mut Vec::new())
            .context("what was sent did not arrive")?;
    }
    Ok(())
}

/// A TCP stream to a sink for `duration`, as fast as it goes or at `bytes_per_second`; joins to the bytes written.
pub fn bulk(
    host: &Namespace,
    target: SocketAddr,
    duration: Duration,
    bytes_per_second: Option<u64>,
) -> Result<Task<u64>> {
    let longest = scale::patience(LONGEST);
    ensure!(duration <= longest, "a stream of {duration:?} is unbounded");
    host.spawn(move || {
        let mut stream = TcpStream::connect_timeout(&target, EXCHANGE_TIMEOUT)?;
        // Others may fill the queue that it shares with them: then it waits, and still ends in time.
        stream.set_write_timeout(Some(GLANCE))?;
        let chunk = vec![b'o'; 16 * 1024];
        let start = Instant::now();
        let mut written = 0;
        while start.elapsed() < duration {
            if let Some(rate) = bytes_per_second {
                pace(start, written, rate);
            }
            match stream.write(&chunk) {
                Ok(more) => written += more as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the bulk stream broke"),
            }
        }
        stream.shutdown(Shutdown::Both)?;
        Ok(written)
    })
}
