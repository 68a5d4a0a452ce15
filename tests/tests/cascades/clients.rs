//! Clients of a server that speaks TLS at one port and plain HTTP at another, while a fault comes and goes.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use osi_tests::agent::INTERVAL;
use osi_tests::http::{Told, browse};
use osi_tests::netns::{Namespace, Task};
use osi_tests::scale;
use osi_tests::secure::{Certificate, Curl, Requests, curl};

/// What they ask.
pub(super) struct Plan<'a> {
    pub(super) tls: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) certificate: &'a Certificate,
    /// Clients that speak TLS on a machine at full speed, and for each of them two that do not.
    pub(super) clients: u64,
    /// For so many of the agent's windows.
    pub(super) windows: u64,
    /// How long each of them is.
    pub(super) window: Duration,
}

/// Windows for the agent: longer on a slow machine, where less is asked. Those with few answers tell nothing.
pub(super) fn window() -> Duration {
    scale::patience(INTERVAL) * fewer()
}

/// Half as many clients for twice as long where the CPU that they share with the server is slow: with more, handshakes wait for each
/// other for a second without any fault.
fn fewer() -> u32 {
    if scale::is_slow() { 2 } else { 1 }
}

/// How often each asks where it can, on a machine at full speed.
const PER_SECOND: u64 = 3;

/// At work.
pub(super) struct Clients {
    secure: Vec<Curl>,
    plain: Vec<Task<Told>>,
    requests: u64,
}

impl Clients {
    /// Starts all of them, one after the other, so that they do not ask at the same time: they would wait for each other, with
    /// or without a fault.
    pub(super) fn start(host: &Namespace, plan: &Plan) -> Result<Self> {
        let Plan {
            tls,
            http,
            certificate,
            clients,
            windows,
            window,
        } = *plan;
        let clients = scale::rate(clients) / u64::from(fewer());
        let per_second = scale::rate(PER_SECOND);
        let requests = windows * window.as_secs() * per_second;
        let period = Duration::from_secs(1) / u32::try_from(per_second)?;
        // In an odd number of periods: no two ask in step.
        let whole = scale::patience(2 * period).saturating_sub(period);
        let apart = whole / u32::try_from(clients)?;
        let trusts = certificate.file();
        let secured = Requests {
            server: tls,
            trusts: &trusts,
            version: "1.3",
            count: requests,
            per_second,
        };
        let mut started = Self {
            secure: Vec::new(),
            plain: Vec::new(),
            requests,
        };
        for _ in 0..clients {
            started.secure.push(curl(host, secured)?);
            for _ in 0..2 {
                let pace = u32::try_from(per_second)?;
                let plain = browse(host, http, "/", requests, pace)?;
                started.plain.push(plain);
                thread::sleep(apart / 2);
            }
        }
        Ok(started)
    }

    /// Waits until all have asked; each request was answered well.
    pub(super) fn all_are_served(self) -> Result<()> {
        for client in self.secure {
            let told = client.join()?;
            ensure!(
                (told.completed(), told.failed) == (self.requests, 0),
                "{} handshakes failed",
                told.failed
            );
        }
        for client in self.plain {
            let told = client.join()?;
            ensure!(told.of(200) == self.requests, "{:?}", told.codes);
        }
        Ok(())
    }
}
