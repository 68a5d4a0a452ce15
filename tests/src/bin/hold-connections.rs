//! `hold-connections ADDRESS:PORT COUNT`: connects COUNT times, prints how many succeeded and how many failed, holds until killed.
//!
//! A process of its own, so that a scenario can assert which process the agent blames.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let target: SocketAddr = args.next().context("no address given")?.parse()?;
    let count: u64 = args.next().context("no count given")?.parse()?;
    let (held, failed): (Vec<_>, Vec<_>) = (0..count)
        .map(|_| TcpStream::connect(target))
        .partition(Result::is_ok);
    let mut output = std::io::stdout();
    writeln!(output, "{} {}", held.len(), failed.len())?;
    output.flush()?;
    loop {
        std::thread::park();
    }
}
