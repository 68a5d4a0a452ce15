//! Clients of a server that speaks TLS at one port and plain HTTP at another, while a fault comes and goes.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use osi_tests::http::{Told, browse};
use osi_tests::netns::{Namespace, Task};
use osi_tests::secure::{Certificate, Curl, Requests, curl};

/// What they ask.
pub(super) struct Plan<'a> {
    pub(super) tls: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) certificate: &'a Certificate,
    /// Clients of each kind.
    pub(super) clients: u64,
    /// Requests of each client.
    pub(super) requests: u64,
    /// How many of these a second, where it can.
    pub(super) per_second: u32,
}

/// At work.
pub(super) struct Clients {
    secure: Vec<Curl>,
    plain: Vec<Task<Told>>,
    requests: u64,
}

impl Clients {
    /// Starts all of them.
    pub(super) fn start(host: &Namespace, plan: &Plan) -> Result<Self> {
        let Plan {
            tls,
            http,
            certificate,
            clients,
            requests,
            per_second,
        } = *plan;
        let trusts = certificate.file();
        let secured = Requests {
            server: tls,
            trusts: &trusts,
            version: "1.3",
            count: requests,
            per_second: per_second.into(),
        };
        let secure = (0..clients).map(|_| curl(host, secured));
        let plain = (0..clients).map(|_| browse(host, http, "/", requests, per_second));
        Ok(Self {
            secure: secure.collect::<Result<_>>()?,
            plain: plain.collect::<Result<_>>()?,
            requests,
        })
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
