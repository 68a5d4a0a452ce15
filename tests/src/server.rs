//! Small TCP servers of the lab's own, on a thread in a host.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use crate::load::LONGEST;
use crate::netns::{Namespace, Task};
use crate::scale;

/// Bytes of one message of an echo.
pub const MESSAGE_BYTES: usize = 64;
/// What a request of HTTP/1 is answered with.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// How long a connection may stay silent before the server gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a server looks whether it shall stop.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Sends one message back and closes.
    Echo,
    /// Sends each message back after working on it, see [`Server::work_for`], each connection on its own thread.
    Converse,
    /// Answers each request of HTTP/1 with 200 after working on it, see [`Server::work_for`], each connection on its own thread.
    Web,
    /// Reads and forgets until the client closes, each connection on its own thread.
    Sink,
    /// Keeps the connection open and does nothing until the server stops.
    Hold,
    /// Sends half of a message back and resets the connection.
    Break,
    /// Says nothing, and resets the connection as soon as anything comes.
    HangUp,
}

/// A running server; stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    work_ns: Arc<AtomicU64>,
    task: Option<Task<()>>,
}

impl Server {
    /// Listens on `address` inside `host` and serves on a thread.
    pub fn start(host: &Namespace, address: SocketAddr, behaviour: Behaviour) -> Result<Self> {
        let listener = listen(host, address, 4096)?;
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU64::new(0));
        let work_ns = Arc::new(AtomicU64::new(0));
        let (until, count, work) = (stop.clone(), accepted.clone(), work_ns.clone());
        let task = host.spawn(move || serve(&listener, behaviour, &until, &count, &work))?;
        Ok(Self {
            stop,
            accepted,
            work_ns,
            task: Some(task),
        })
    }

    /// How long it works on a message from now on: it sleeps, as one that waits for a disk or for somebody else.
    pub fn work_for(&self, time: Duration) {
        self.work_ns
            .store(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.task.take().map(Task::join) {
            eprintln!("a server of the lab failed: {error:#}");
        }
    }
}

/// A listener with a backlog of our choice that nobody accepts from until the caller does.
pub fn listen(host: &Namespace, address: SocketAddr, backlog: i32) -> Result<TcpListener> {
    host.run(|| {
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        // A second listen(2) replaces the backlog that the standard library chose.
        rustix::net::listen(&listener, backlog)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })
}

fn serve(
    listener: &TcpListener,
    behaviour: Behaviour,
    stop: &AtomicBool,
    accepted: &AtomicU64,
    work_ns: &Arc<AtomicU64>,
) -> Result<()> {
    let mut held = Vec::new();
    let mut workers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        poll(&mut ready, Some(&GLANCE))?;
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error).context("accept failed"),
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(scale::patience(PATIENCE)))?;
        match behaviour {
            Behaviour::Echo => echo(stream)?,
            Behaviour::Converse => {
                let work_ns = work_ns.clone();
                workers.push(std::thread::spawn(move || converse(stream, &work_ns)));
            }
            Behaviour::Web => {
                let work_ns = work_ns.clone();
                workers.push(std::thread::spawn(move || answer(stream, &work_ns)));
            }
            Behaviour::Sink => workers.push(std::thread::spawn(move || sink(stream))),
            Behaviour::Hold => held.push(stream),
            Behaviour::Break => break_off(stream)?,
            Behaviour::HangUp => hang_up(stream)?,
        }
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    let outcome = stream
        .read_exact(&mut message)
        .and_then(|()| stream.write_all(&message));
    match outcome {
        Err(error) if !went_away(&error) => Err(error).context("echo failed"),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn break_off(mut stream: TcpStream) -> Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    stream.read_exact(&mut message)?;
    stream.write_all(&message[..MESSAGE_BYTES / 2])?;
    reset_on_close(&stream)
}

fn hang_up(mut stream: TcpStream) -> Result<()> {
    stream.read_exact(&mut [0])?;
    reset_on_close(&stream)
}

/// Lets a stream end by a reset when it is closed (`SO_LINGER` 0).
pub fn reset_on_close(stream: &TcpStream) -> Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}

fn converse(mut stream: TcpStream, work_ns: &AtomicU64) {
    let mut message = [0; MESSAGE_BYTES];
    while stream.read_exact(&mut message).is_ok() {
        std::thread::sleep(Duration::from_nanos(work_ns.load(Ordering::Relaxed)));
        if stream.write_all(&message).is_err() {
            return;
        }
    }
}

fn answer(mut stream: TcpStream, work_ns: &AtomicU64) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        request.extend(&buffer[..length]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        std::thread::sleep(Duration::from_nanos(work_ns.load(Ordering::Relaxed)));
        let is_last = String::from_utf8_lossy(&request).contains("Connection: close");
        if stream.write_all(OK).is_err() || is_last {
            return;
        }
        request.clear();
    }
}

fn sink(mut stream: TcpStream) {
    // Streams that share a full queue starve one another for longer than an exchange may take.
    if stream
        .set_read_timeout(Some(scale::patience(LONGEST)))
        .is_err()
    {
        return;
    }
    let mut buffer = vec![0; 256 * 1024];
    // Whether the stream ends, breaks or falls silent: the sender's own counts judge that.
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

fn went_away(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}
