//! haproxy in front of another server, and wrk, which asks it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::command;
use crate::counters;
use crate::daemon::{Daemon, READY};
use crate::netns::Namespace;
use crate::{scale, wait};

/// haproxy as its package sets it up but for the addresses: connections to the server are used again when they are idle.
#[derive(Debug)]
pub struct Haproxy {
    process: Daemon,
    directory: PathBuf,
}

impl Haproxy {
    /// Starts it and waits until it listens.
    pub fn start(host: &Namespace, address: SocketAddr, server: SocketAddr) -> Result<Self> {
        Self::start_as("http", host, address, server)
    }

    /// The same for what is no HTTP: it hands on bytes, over one connection to the server for each of a client's.
    pub fn start_tcp(host: &Namespace, address: SocketAddr, server: SocketAddr) -> Result<Self> {
        Self::start_as("tcp", host, address, server)
    }

    fn start_as(
        mode: &str,
        host: &Namespace,
        address: SocketAddr,
        server: SocketAddr,
    ) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-haproxy", host.name()));
        std::fs::create_dir_all(&directory)?;
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, config(mode, address, server))?;
        let process = Daemon::start(
            host.command("haproxy")?
                .arg("-db")
                .arg("-f")
                .arg(&file)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        wait::until("haproxy listens", READY, || {
            Ok(counters::is_listening(host, address.port())?.then_some(()))
        })?;
        Ok(Self { process, directory })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("haproxy's files stay behind: {error}");
        }
    }
}

/// How long a request may take, in seconds.
fn patience() -> u64 {
    scale::patience(Duration::from_secs(90)).as_secs()
}

fn config(mode: &str, address: SocketAddr, server: SocketAddr) -> String {
    let patience = patience();
    format!(
        "global\n maxconn 4000\n nbthread 1\n\
         defaults\n mode {mode}\n retries 1\n timeout connect 5s\n timeout client {patience}s\n timeout server {patience}s\n\
         frontend web\n bind {address}\n default_backend nginx\n\
         backend nginx\n server nginx {server}\n"
    )
}

/// wrk with so many connections, each of which has one request on its way at all times; for `duration` on a machine at full speed.
///
/// Its `--timeout` stays as it is: it ends no request, and wrk takes 8 bytes for each of its microseconds.
pub fn wrk(
    host: &Namespace,
    server: SocketAddr,
    connections: u64,
    duration: Duration,
) -> Result<Daemon> {
    Daemon::start(command_of_wrk(host, server, connections, duration)?.stdout(Stdio::null()))
}

/// The same to its end: how many answers it counted. Those that came after its time was over are not among them.
pub fn wrk_answers(
    host: &Namespace,
    server: SocketAddr,
    connections: u64,
    duration: Duration,
) -> Result<u64> {
    let text = command::output(&mut command_of_wrk(host, server, connections, duration)?)?;
    let found = text
        .lines()
        .find_map(|line| line.split_once(" requests in "));
    let (count, _) = found.with_context(|| format!("wrk said {text:?}"))?;
    ensure!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    Ok(count.trim().parse()?)
}

fn command_of_wrk(
    host: &Namespace,
    server: SocketAddr,
    connections: u64,
    duration: Duration,
) -> Result<Command> {
    let mut wrk = host.command("wrk")?;
    wrk.args(["-t1", "-c", &connections.to_string()])
        .args(["-d", &format!("{}s", scale::patience(duration).as_secs())])
        .arg(format!("http://{server}/"));
    Ok(wrk)
}
