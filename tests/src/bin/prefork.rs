//! `prefork ADDRESS:PORT BACKLOG WORKERS ACCEPTS`: listens, starts processes that share the listener, and says so. Each of them
//! accepts so many connections, keeps them, and accepts no more; the first process never does.
//!
//! With one word only it is such a process: its standard input is the listener, and it ends when its master does.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept, bind, listen, socket_with};
use rustix::process::{Signal, set_parent_process_death_signal};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [accepts] => serve(accepts.parse()?),
        [address, backlog, workers, accepts] => lead(
            address.parse()?,
            backlog.parse()?,
            workers.parse()?,
            accepts,
        ),
        _ => anyhow::bail!("prefork ADDRESS:PORT BACKLOG WORKERS ACCEPTS"),
    }
}

fn lead(address: SocketAddr, backlog: i32, workers: usize, accepts: &str) -> Result<()> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let listener = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&listener, &address)?;
    listen(&listener, backlog)?;
    let worker = || {
        Command::new(std::env::current_exe()?)
            .arg(accepts)
            .stdin(listener.try_clone()?)
            .stdout(Stdio::null())
            .spawn()
    };
    let _workers = (0..workers)
        .map(|_| worker())
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    output.flush()?;
    wait()
}

fn serve(accepts: usize) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let listener = std::io::stdin();
    let next = || accept(listener.as_fd()).context("no connection");
    let _kept = (0..accepts)
        .map(|_| next())
        .collect::<Result<Vec<OwnedFd>>>()?;
    wait()
}

fn wait() -> ! {
    loop {
        std::thread::park();
    }
}
