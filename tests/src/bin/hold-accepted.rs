//! `hold-accepted ADDRESS:PORT BACKLOG …`: listens, says so, accepts as long as it has descriptors, and closes nothing.
//!
//! A process of its own, so that its limit is its own.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What servers do without descriptors: they try again a little later.
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().context("no address given")?.parse()?;
    let backlog: i32 = args.next().context("no backlog given")?.parse()?;
    let listener = TcpListener::bind(address)?;
    // A second listen(2) replaces the backlog that the standard library chose.
    rustix::net::listen(&listener, backlog)?;
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    output.flush()?;
    let mut held = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) => held.push(stream),
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => std::thread::sleep(PAUSE),
            Err(error) => bail!("accept failed after {} connections: {error}", held.len()),
        }
    }
}
