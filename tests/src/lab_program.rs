//! Programs of the lab's own, each a process with a name: some that listen, and one that holds connections.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::daemon::{Daemon, READY};
use crate::netns::Namespace;
use crate::server::Server;
use crate::{counters, wait};

/// What a [`Prefork`] does.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// Of `listen()`.
    pub backlog: u32,
    /// Processes that share the listener with the one that opened it.
    pub workers: u32,
    /// Connections that each of them accepts and keeps; the first process accepts none.
    pub accepts: u32,
}

/// A process that listens: one named `prefork`, with workers that share the listener, or another program of the lab that takes
/// the same words.
#[derive(Debug)]
pub struct Prefork {
    daemon: Daemon,
}

impl Prefork {
    /// Starts the program at `program` by `starter`, which becomes it, and returns when all its workers run.
    pub fn start(
        host: &Namespace,
        starter: &[&str],
        program: &str,
        address: SocketAddr,
        serving: Serving,
    ) -> Result<Self> {
        let Serving {
            backlog,
            workers,
            accepts,
        } = serving;
        let mut words = starter.iter().copied().chain([program]);
        let mut daemon = Daemon::start(
            host.command(words.next().context("no program")?)?
                .args(words)
                .args([
                    address.to_string(),
                    backlog.to_string(),
                    workers.to_string(),
                    accepts.to_string(),
                ])
                .stdout(Stdio::piped()),
        )?;
        let output = daemon.stdout()?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "the server said {line:?}");
        Ok(Self { daemon })
    }

    /// Process id of the one that listens.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}

/// A process named `hold-connections` that holds TCP connections to one server.
#[derive(Debug)]
pub struct Holder {
    daemon: Daemon,
    /// Connections it holds.
    pub held: u64,
    /// Connects that were refused, as it counted them.
    pub refused: u64,
}

impl Holder {
    /// Starts the program at `program`, makes `connections` connects to `target` and returns when the last was tried.
    pub fn start(
        host: &Namespace,
        program: &str,
        target: SocketAddr,
        connections: u64,
    ) -> Result<Self> {
        let mut daemon = Daemon::start(
            host.command(program)?
                .args([target.to_string(), connections.to_string()])
                .stdout(Stdio::piped()),
        )?;
        let output = daemon.stdout()?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut number = || {
            numbers
                .next()
                .context("the holder said too little")?
                .context("the holder said no number")
        };
        let (held, refused) = (number()?, number()?);
        Ok(Self {
            daemon,
            held,
            refused,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Closes every connection, the server's side first: the side that closes first keeps its port in `TIME_WAIT` for a minute.
    pub fn release(self, host: &Namespace, target: SocketAddr, server: Server) -> Result<()> {
        drop(server);
        let open = format!("state established dst {target}");
        wait::until("the server's closes arrive", READY, || {
            Ok((counters::tcp_sockets(host, &open)? == 0).then_some(()))
        })?;
        drop(self);
        Ok(())
    }
}
