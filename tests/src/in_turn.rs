//! A server with one thread for all connections, which serves them in turn: while it works for one, all others wait.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, setpriority_process};
use rustix::thread::gettid;

use crate::netns::{Namespace, Task};
use crate::server::listen;

/// The most that is read at once.
const READ_BYTES: usize = 256 * 1024;
/// Of a weight of 110, where the usual one is 1024.
const NICE: i32 = 10;
/// How often it looks whether it shall stop.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// What it does with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sends it back after it has kept a CPU busy for its time.
    Compute,
    /// Forgets it, and sleeps for its time.
    Store,
}

/// A running server; stops when it is dropped.
#[derive(Debug)]
pub struct InTurn {
    stop: Arc<AtomicBool>,
    time_ns: Arc<AtomicU64>,
    thread: Pid,
    task: Option<Task<()>>,
}

impl InTurn {
    /// Listens on `address` inside `host` and serves on a thread, at first without any time for it.
    pub fn start(host: &Namespace, address: SocketAddr, work: Work) -> Result<Self> {
        let listener = listen(host, address, 128)?;
        let (stop, time_ns) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (until, time) = (stop.clone(), time_ns.clone());
        let (tell, told) = channel();
        let task = host.spawn(move || {
            tell.send(gettid())?;
            serve(&listener, work, &until, &time)
        })?;
        Ok(Self {
            stop,
            time_ns,
            thread: told.recv().context("the server did not start")?,
            task: Some(task),
        })
    }

    /// Makes its thread give way to others: to one with the usual weight, it gets a tenth of a CPU.
    pub fn be_nice(&self) -> Result<()> {
        setpriority_process(Some(self.thread), NICE).context("its weight stays")
    }

    /// How long it takes for each connection's turn from now on.
    pub fn work_for(&self, time: Duration) {
        self.time_ns
            .store(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.task.take().map(Task::join) {
            eprintln!("a server of the lab failed: {error:#}");
        }
    }
}

fn serve(listener: &TcpListener, work: Work, stop: &AtomicBool, time_ns: &AtomicU64) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut streams: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut ready: Vec<_> = streams
            .iter()
            .map(|stream| PollFd::new(stream, PollFlags::IN))
            .collect();
        ready.push(PollFd::new(listener, PollFlags::IN));
        poll(&mut ready, Some(&GLANCE))?;
        let mut has_come = ready
            .iter()
            .map(|one| !one.revents().is_empty())
            .collect::<Vec<_>>()
            .into_iter();
        streams.retain_mut(|stream| {
            let time = Duration::from_nanos(time_ns.load(Ordering::Relaxed));
            has_come.next() != Some(true) || takes_its_turn(stream, work, time, &mut buffer)
        });
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                streams.push(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads, works and answers; whether the connection stays.
fn takes_its_turn(stream: &mut TcpStream, work: Work, time: Duration, buffer: &mut [u8]) -> bool {
    let length = match stream.read(buffer) {
        Ok(0) => return false,
        Ok(length) => length,
        Err(error) => return error.kind() == ErrorKind::WouldBlock,
    };
    match work {
        Work::Compute => {
            let begun = Instant::now();
            while begun.elapsed() < time {
                std::hint::spin_loop();
            }
            stream.write_all(&buffer[..length]).is_ok()
        }
        Work::Store => {
            std::thread::sleep(time);
            true
        }
    }
}
