//! Connects that nobody waits for; also from several addresses of one host, in turns: whoever takes a few packets for examples
//! has some of each.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::netns::{Namespace, Task};

/// Between the rounds: every window of the agent sees one.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds.
const ROUNDS: u32 = 4;
/// Connects from each address in a round.
const EACH: usize = 2;
/// From the first round until all are given up.
const PATIENCE: Duration = Duration::from_millis(3500);

/// Connects from these addresses to a target that does not answer, and gives them up after 3.5 seconds.
pub fn knock(host: &Namespace, sources: Vec<IpAddr>, target: SocketAddr) -> Result<Task<()>> {
    host.spawn(move || {
        let start = Instant::now();
        let mut held = Vec::new();
        for round in 0..ROUNDS {
            sleep_until(start + ROUND * round);
            for _ in 0..EACH {
                for source in &sources {
                    held.push(begin(Some(*source), target)?);
                }
            }
        }
        sleep_until(start + PATIENCE);
        Ok(())
    })
}

/// Connects on their way: nothing was waited for, and nobody is told how they end. Dropped, those that still wait are given up.
pub fn begin_all(host: &Namespace, target: SocketAddr, count: u64) -> Result<Vec<OwnedFd>> {
    ensure!(count <= 256, "{count} connects are too many");
    host.run(|| (0..count).map(|_| begin(None, target)).collect())
}

/// A connect on its way.
fn begin(source: Option<IpAddr>, target: SocketAddr) -> Result<OwnedFd> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))
            .with_context(|| format!("cannot bind {source}"))?;
    }
    match connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {target}")),
    }
}

fn sleep_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
