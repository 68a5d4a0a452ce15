//! `prefork ADDRESS:PORT BACKLOG WORKERS`: listens, starts processes that share the listener, says so, and nobody accepts.
//!
//! Without words it is such a process, which ends when its master does.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(address) = args.next() else {
        std::io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    };
    let address: SocketAddr = address.parse()?;
    let mut number = || args.next().context("a number is missing");
    let backlog: i32 = number()?.parse()?;
    let workers: usize = number()?.parse()?;
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    // Kept over exec.
    let listener = socket_with(family, SocketType::STREAM, SocketFlags::empty(), None)?;
    bind(&listener, &address)?;
    listen(&listener, backlog)?;
    let worker = || {
        Command::new(std::env::current_exe()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
    };
    let _workers = (0..workers)
        .map(|_| worker())
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    output.flush()?;
    loop {
        std::thread::park();
    }
}
