//! Real servers: nginx and iperf3, and a process that holds connections; killed when they are dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Namespace;
use crate::server::Server;
use crate::{command, counters, wait};

pub(crate) const READY: Duration = Duration::from_secs(10);

/// A child that does not outlive its owner.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("the daemon is gone")
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        let child = &mut self.child;
        let status = wait::until("the daemon ends", timeout, || Ok(child.try_wait()?))?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            for outcome in [self.child.kill(), self.child.wait().map(drop)] {
                if let Err(error) = outcome {
                    eprintln!("cannot end process {}: {error}", self.child.id());
                }
            }
        }
    }
}

/// nginx with one worker that answers every request with `ok`.
#[derive(Debug)]
pub struct Nginx<'a> {
    host: &'a Namespace,
    address: SocketAddr,
    directory: PathBuf,
    master: Daemon,
}

impl<'a> Nginx<'a> {
    /// Starts it and waits until it listens.
    pub fn start(host: &'a Namespace, address: SocketAddr) -> Result<Self> {
        Self::start_with(host, address, "return 200 ok;")
    }

    /// The same, but the answer takes more than a minute: it leaves at 20 bytes a second.
    pub fn start_slow(host: &'a Namespace, address: SocketAddr) -> Result<Self> {
        let body = "slow ".repeat(400);
        Self::start_with(
            host,
            address,
            &format!("limit_rate 20; return 200 \"{body}\";"),
        )
    }

    fn start_with(host: &'a Namespace, address: SocketAddr, answer: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-nginx", host.name()));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(
            directory.join("nginx.conf"),
            config(&directory, address, answer),
        )?;
        let master = launch(host, &directory, address)?;
        Ok(Self {
            host,
            address,
            directory,
            master,
        })
    }

    /// A graceful reload, as `nginx -s reload` does it.
    pub fn reload(&self) -> Result<()> {
        self.master.signal(Signal::HUP)
    }

    /// A clean stop of the old and a start of a new one.
    pub fn restart(&mut self) -> Result<()> {
        self.master.signal(Signal::QUIT)?;
        self.master.wait(READY)?;
        self.master = launch(self.host, &self.directory, self.address)?;
        Ok(())
    }
}

impl Drop for Nginx<'_> {
    fn drop(&mut self) {
        // TERM lets the master take its worker along; the daemon's own drop would orphan it.
        let stopped = self
            .master
            .signal(Signal::TERM)
            .and_then(|()| self.master.wait(READY))
            .and_then(|()| Ok(std::fs::remove_dir_all(&self.directory)?));
        if let Err(error) = stopped {
            eprintln!("nginx did not stop cleanly: {error:#}");
        }
    }
}

fn launch(host: &Namespace, directory: &Path, address: SocketAddr) -> Result<Daemon> {
    let daemon = Daemon::start(
        host.command("nginx")?
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(directory.join("nginx.conf"))
            .stderr(Stdio::null()),
    )?;
    wait::until("nginx listens", READY, || {
        Ok(counters::is_listening(host, address.port())?.then_some(()))
    })?;
    Ok(daemon)
}

fn config(directory: &Path, address: SocketAddr, answer: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n client_body_temp_path {directory}/body;\n proxy_temp_path {directory}/proxy;\n\
          fastcgi_temp_path {directory}/fastcgi;\n uwsgi_temp_path {directory}/uwsgi;\n scgi_temp_path {directory}/scgi;\n\
          server {{ listen {address}; location / {{ {answer} }} }}\n}}\n"
    )
}

/// An iperf3 server for one test, then it ends.
pub fn iperf3_server(host: &Namespace, port: u16) -> Result<Daemon> {
    let port_text = port.to_string();
    let daemon = Daemon::start(
        host.command("iperf3")?
            .args(["-s", "-1", "-p", &port_text])
            .stdout(Stdio::null()),
    )?;
    wait::until("iperf3 listens", READY, || {
        Ok(counters::is_listening(host, port)?.then_some(()))
    })?;
    Ok(daemon)
}

/// Runs an iperf3 client against it for some seconds; the bytes that arrived.
pub fn iperf3_bytes(host: &Namespace, server: SocketAddr, seconds: u64) -> Result<u64> {
    let (address, port, seconds) = (
        server.ip().to_string(),
        server.port().to_string(),
        seconds.to_string(),
    );
    let report = command::json(
        host.command("iperf3")?
            .args(["-J", "-c", &address, "-p", &port, "-t", &seconds]),
    )?;
    report["end"]["sum_received"]["bytes"]
        .as_u64()
        .context("iperf3 reports no bytes")
}

/// A process named `prefork` that listens, with workers that share the listener; nobody accepts.
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
        backlog: u32,
        workers: u32,
    ) -> Result<Self> {
        let mut words = starter.iter().copied().chain([program]);
        let mut daemon = Daemon::start(
            host.command(words.next().context("no program")?)?
                .args(words)
                .args([
                    address.to_string(),
                    backlog.to_string(),
                    workers.to_string(),
                ])
                .stdout(Stdio::piped()),
        )?;
        let output = daemon.child.stdout.take().context("it has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "the server said {line:?}");
        Ok(Self { daemon })
    }

    /// Process id of the master.
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
        let output = daemon
            .child
            .stdout
            .take()
            .context("the holder has no output")?;
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
