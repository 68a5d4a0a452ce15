//! Data that nobody reads.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::netns::Namespace;
use crate::{counters, wait};

/// More than both ends' buffers together ever hold.
const MOST: usize = 64 * 1024 * 1024;

/// A connection on which as much was written as the two ends take.
pub fn filled(host: &Namespace, target: SocketAddr) -> Result<TcpStream> {
    host.run(|| {
        let mut stream = TcpStream::connect(target)?;
        stream.set_nonblocking(true)?;
        let chunk = vec![b'o'; 64 * 1024];
        let mut written = 0;
        wait::until("the window is closed", Duration::from_secs(10), || {
            // The kernel enlarges both buffers while data moves: only a pause tells that they are full.
            let before = written;
            while written < MOST {
                match stream.write(&chunk) {
                    Ok(more) => written += more,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("the stream broke"),
                }
            }
            if written >= MOST {
                bail!("{MOST} bytes found room");
            }
            let probed = counters::snmp(host, "TcpExtTCPWinProbe")? > 0;
            Ok((probed && written == before).then_some(()))
        })?;
        Ok(stream)
    })
}
