//! ngtcp2's own server and client, which speak QUIC; the client tells what it sends, and when.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemon::{Daemon, READY};
use crate::netns::Namespace;
use crate::secure::{Certificate, NAME, Told};
use crate::{command, counters, scale, wait};

/// A version that the server does not speak: a draft that never was.
pub const UNKNOWN: &str = "0xff0000ff";

/// Starts a server and waits until it has its port.
pub fn serve(host: &Namespace, server: SocketAddr, certificate: &Certificate) -> Result<Daemon> {
    let mut gtlsserver = host.command("gtlsserver")?;
    gtlsserver
        .arg("--quiet")
        .args([server.ip().to_string(), server.port().to_string()])
        .args([certificate.key(), certificate.file()]);
    let serving = Daemon::start(gtlsserver.stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait::until("gtlsserver has its port", READY, || {
        Ok(counters::is_bound(host, server.port())?.then_some(()))
    })?;
    Ok(serving)
}

/// Asks so often for a hundred bytes, one time after the other and each time from a port of its own, in this version (`v1`,
/// `v2draft` or a number); gives up after `patience` without an answer.
pub fn ask(
    host: &Namespace,
    server: SocketAddr,
    version: &str,
    count: u64,
    patience: Duration,
) -> Result<Told> {
    let mut told = Told::default();
    let patience = format!("{}ms", scale::patience(patience).as_millis());
    for _ in 0..count {
        // It says how it ended, and its exit code does not.
        let text = command::diagnostics(
            host.command("gtlsclient")?
                .args(["--no-quic-dump", "--no-http-dump"])
                .args(["--exit-on-all-streams-close", "--version", version])
                .args(["--handshake-timeout", &patience, "--sni", NAME])
                .args([server.ip().to_string(), server.port().to_string()])
                .arg(format!("https://{NAME}/100")),
        )?;
        if text.contains("QUIC handshake has completed") {
            told.times.push(time(&text)?);
        } else {
            told.failed += 1;
        }
    }
    Ok(told)
}

/// From the first packet to the first of data, as the client's log has them: `I00000023 …`, in milliseconds.
fn time(log: &str) -> Result<Duration> {
    let first = |kind: &str| -> Result<u64> {
        let is_sent = |line: &&str| line.contains(" pkt tx ") && line.contains(kind);
        let line = log.lines().find(is_sent).context("nothing was sent")?;
        let (stamp, _) = line.split_once(' ').context("a line has no time")?;
        let digits = stamp.strip_prefix('I').context("a line has no time")?;
        Ok(digits.parse()?)
    };
    let (begun, ended) = (first("type=Initial")?, first("type=1RTT")?);
    Ok(Duration::from_millis(ended.saturating_sub(begun)))
}
