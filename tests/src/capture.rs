//! What tcpdump sees on an interface.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::netns::Namespace;
use crate::{command, wait};

/// How far tcpdump may be behind.
const SOON: Duration = Duration::from_secs(5);

/// Bits of a TCP header's flags.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Acknowledgement.
pub const ACK: u8 = 0x10;

/// A filter of pcap-filter(7): packets of TCP of which these flags are as wanted. `tcp[…]` means IPv4 alone.
pub fn flags(mask: u8, wanted: u8) -> String {
    // "and" and "or" bind alike.
    format!("(tcp[13] & {mask} = {wanted} or (ip6 proto 6 and ip6[53] & {mask} = {wanted}))")
}

/// tcpdump at work.
#[derive(Debug)]
pub struct Capture {
    process: Daemon,
    packets: Packets,
    /// It says more at its end.
    _says: Lines<BufReader<ChildStderr>>,
}

/// What it has seen.
#[derive(Debug)]
pub struct Packets {
    file: PathBuf,
}

impl Capture {
    /// Starts it for the TCP packets of an interface, and waits until it sees them.
    pub fn start(host: &Namespace, interface: &str) -> Result<Self> {
        let file = std::env::temp_dir().join(format!("{}.pcap", host.name()));
        let mut command = host.command("tcpdump")?;
        command
            // At once: what waits in a block that is not full is lost at the end.
            .args(["-i", interface, "-n", "-U", "--immediate-mode", "-Z", "root"])
            // Its ring has room for packets of this size: of whole ones, for eight.
            .args(["-s", "128", "--time-stamp-precision=nano", "-w"])
            .arg(&file)
            .arg("tcp")
            .stderr(Stdio::piped());
        let mut process = Daemon::start(&mut command)?;
        let packets = Packets { file };
        let mut says = BufReader::new(process.stderr()?).lines();
        let listens = says.any(|line| line.is_ok_and(|line| line.contains("listening on")));
        ensure!(listens, "tcpdump ended before it listened");
        Ok(Self {
            process,
            packets,
            _says: says,
        })
    }

    /// Ends it once it has seen `last`, a filter of pcap-filter(7): what it has not read by then is lost.
    pub fn stop(mut self, last: &str) -> Result<Packets> {
        wait::until("tcpdump has seen the last packet", SOON, || {
            // A file that is being written may end in the middle of a packet.
            let seen = self.packets.count(last).unwrap_or(0);
            Ok((seen > 0).then_some(()))
        })?;
        self.process.signal(Signal::INT)?;
        self.process.ended()?;
        Ok(self.packets)
    }
}

impl Packets {
    /// How many pass a filter of pcap-filter(7).
    pub fn count(&self, filter: &str) -> Result<u64> {
        Ok(self.lines(filter)?.lines().count() as u64)
    }

    /// The times in nanoseconds from the first SYN of each connection to this port to the answer that completes it.
    pub fn handshakes(&self, port: u16) -> Result<Vec<u64>> {
        let syns = format!("port {port} and {}", flags(SYN, SYN));
        let text = self.lines(&syns)?;
        let (mut sent, mut taken) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            // 1764390000.123456789 IP 10.1.0.1.40000 > 10.1.0.2.7: Flags [S.], …, or IP6 with addresses of its own.
            let words: Vec<_> = line.split_whitespace().collect();
            let [time, _, from, _, to, _, flags, ..] = words[..] else {
                continue;
            };
            let time_ns = nanoseconds(time).with_context(|| format!("no time: {line}"))?;
            if flags.starts_with("[S.") {
                let began = sent.remove(to.trim_end_matches(':'));
                taken.extend(began.map(|began: u64| time_ns.saturating_sub(began)));
            } else {
                sent.entry(from.to_owned()).or_insert(time_ns);
            }
        }
        taken.sort_unstable();
        Ok(taken)
    }

    fn lines(&self, filter: &str) -> Result<String> {
        let mut tcpdump = Command::new("tcpdump");
        // As the user that it is: there may be none of its own name.
        tcpdump.args(["-Z", "root", "-n", "-tt"]);
        tcpdump.args(["--time-stamp-precision=nano", "-r"]);
        command::output(tcpdump.arg(&self.file).arg(filter).stderr(Stdio::null()))
    }
}

fn nanoseconds(time: &str) -> Option<u64> {
    let (seconds, fraction) = time.split_once('.')?;
    let (seconds, fraction): (u64, u64) = (seconds.parse().ok()?, fraction.parse().ok()?);
    Some(seconds * 1_000_000_000 + fraction)
}

impl Drop for Packets {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.file) {
            eprintln!("a capture stays behind: {error}");
        }
    }
}
