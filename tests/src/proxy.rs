//! haproxy in front of another server, and wrk, which asks it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use crate::counters;
use crate::daemon::{Daemon, READY};
use crate::netns::Namespace;
use crate::wait;

/// haproxy as its package sets it up but for the addresses: connections to the server are used again when they are idle.
#[derive(Debug)]
pub struct Haproxy {
    process: Daemon,
    directory: PathBuf,
}

impl Haproxy {
    /// Starts it and waits until it listens.
    pub fn start(host: &Namespace, address: SocketAddr, server: SocketAddr) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("{}-haproxy", host.name()));
        std::fs::create_dir_all(&directory)?;
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, config(address, server))?;
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

fn config(address: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n maxconn 4000\n nbthread 1\n\
         defaults\n mode http\n retries 1\n timeout connect 5s\n timeout client 90s\n timeout server 90s\n\
         frontend web\n bind {address}\n default_backend nginx\n\
         backend nginx\n server nginx {server}\n"
    )
}

/// wrk with so many connections, each of which has one request on its way at all times.
pub fn wrk(
    host: &Namespace,
    server: SocketAddr,
    connections: u64,
    duration: Duration,
) -> Result<Daemon> {
    Daemon::start(
        host.command("wrk")?
            .args(["-t1", "--timeout", "90s"])
            .args(["-c", &connections.to_string()])
            .args(["-d", &format!("{}s", duration.as_secs())])
            .arg(format!("http://{server}/"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}
