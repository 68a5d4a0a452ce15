//! Small TCP servers of the lab's own, on a thread in a host.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::netns::{Namespace, Task};
use crate::scale;

/// Bytes of one message of an echo.
pub const MESSAGE_BYTES: usize = 64;
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
    /// Reads and forgets until the client closes, each connection on its own thread.
    Sink,
    /// Keeps the connection open and does nothing until the server stops.
    Hold,
}

/// A running server; stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    task: Option<Task<()>>,
}

impl Server {
    /// Listens on `address` inside `host` and serves on a thread.
    pub fn start(host: &Namespace, address: SocketAddr, behaviour: Behaviour) -> Result<Self> {
        let listener = listen(host, address, 4096)?;
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU64::new(0));
        let (until, count) = (Arc::clone(&stop), Arc::clone(&accepted));
        let task = host.spawn(move || serve(&listener, behaviour, &until, &count))?;
        Ok(Self {
            stop,
            accepted,
            task: Some(task),
        })
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
) -> Result<()> {
    let mut held = Vec::new();
    let mut sinks = Vec::new();
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
            Behaviour::Sink => sinks.push(std::thread::spawn(move || sink(stream))),
            Behaviour::Hold => held.push(stream),
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

fn sink(mut stream: TcpStream) {
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
