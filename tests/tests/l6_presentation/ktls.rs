//! TLS in the kernel whose ends do not have the same key.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use osi_tests::agent::Agent;
use osi_tests::skip;
use osi_tests::socket_option::{Way, kernel_tls};
use osi_tests::stream::{self, growth};
use osi_tests::topology::{Family, Pair};
use osi_tests::{command, counters};

/// Connections, each of which carries one record.
const RECORDS: u64 = 5;

#[test]
fn records_that_do_not_authenticate_are_counted() -> Result<()> {
    let test = "l6_presentation::ktls::records_that_do_not_authenticate_are_counted";
    let Some(_turn) = skip::ready(test, &[])? else {
        return Ok(());
    };
    let pair = Pair::build()?;
    let target = Pair::server_at(Family::V4, 443);
    let listener = pair.server.run(|| Ok(TcpListener::bind(target)?))?;
    let connect = || -> Result<Option<(TcpStream, TcpStream)>> {
        let client = pair.client.run(|| Ok(TcpStream::connect(target)?))?;
        let (server, _) = listener.accept()?;
        let begun =
            kernel_tls(&client, Way::Out, [1; 16])? && kernel_tls(&server, Way::In, [2; 16])?;
        Ok(begun.then_some((client, server)))
    };
    // The first one brings the module in, where it is not there yet.
    let Some(first) = connect()? else {
        return skip::skip(test, "this kernel has no TLS, or not with AES-GCM");
    };
    drop(first);
    let agent = Agent::watch(&pair.server)?;
    for _ in 0..RECORDS {
        let (mut client, mut server) = connect()?.context("TLS is gone")?;
        client.write_all(b"nobody reads this")?;
        let error = server
            .read(&mut [0; 64])
            .err()
            .and_then(|error| error.raw_os_error());
        ensure!(error == Some(libc::EBADMSG), "it was read, or {error:?}");
    }
    agent.wait_for_window(SystemTime::now(), 2)?;
    let lines = agent.stop()?;
    let text = command::output(pair.server.command("cat")?.arg("/proc/net/tls_stat"))?;
    let kernel = counters::pair(&text, "TlsDecryptError")?;
    let counted = growth(&lines, "L6", "ktls_errors");
    stream::ensure_counted(&lines, "records", RECORDS, counted)?;
    stream::ensure_counted(&lines, "TlsDecryptError", kernel, counted)
}
