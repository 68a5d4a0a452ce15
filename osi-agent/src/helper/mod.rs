//! The helper: a process of its own that reads the host's interfaces, so that the one with the programs, the screen and the
//! streams needs no privilege to enter namespaces or to look at other processes.
//!
//! It takes no orders but "read now", and whose rule sets, too; it tells plain data. When it is gone, everything that it read
//! is blind, with that reason; it cannot be started again, because the process that started it may run nothing any more.

use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::wire::{Reply, Request};
use crate::host::namespaces::NetnsScope;
use crate::probe::own::Usage;
use crate::sandbox;
use crate::snapshot::host::readers::READERS;
use crate::snapshot::sampler::HostSample;
use crate::snapshot::{Blind, Wanted};

mod serve;

pub(crate) mod wire;

pub use serve::serve;

/// Name of the hidden command.
pub const COMMAND: &str = "helper";

/// What a reply may take beyond the pass itself.
const GRACE: Duration = Duration::from_millis(250);

/// A running helper. Dropping it ends it; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Helper {
    process: Child,
    orders: UnixStream,
    replies: Receiver<Reply>,
    number: u64,
    usage: Usage,
}

impl Helper {
    /// Starts it, for these namespaces. The thread that takes its replies holds no privilege.
    ///
    /// # Errors
    /// When this program cannot be run again.
    pub fn start(scope: &NetnsScope) -> anyhow::Result<Self> {
        let (mut orders, theirs) = UnixStream::pair()?;
        // The group is its own, so that Ctrl-C reaches the watcher alone.
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the helper, which is this program itself (/proc/self/exe)")?;
        orders.set_write_timeout(Some(GRACE))?;
        wire::send(&mut orders, scope)?;
        let mut answers = BufReader::new(orders.try_clone()?);
        let (sender, replies) = channel();
        sandbox::idle_thread("replies", move || {
            let mut line = Vec::new();
            while let Ok(Some(reply)) = wire::receive(&mut answers, &mut line) {
                if sender.send(reply).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            process,
            orders,
            replies,
            number: 0,
            usage: Usage::default(),
        })
    }

    /// One pass, which ends after `length` at the latest and reads the rule sets of the namespaces `filtered`, too: their inodes.
    /// Who holds what is `wanted` is told by a later pass: it takes longer.
    /// A helper that does not answer is blindness, not an error.
    pub fn sample(&mut self, length: Duration, filtered: Vec<u32>, wanted: Wanted) -> HostSample {
        self.number += 1;
        let number = self.number;
        let request = Request {
            number,
            length,
            filtered,
            wanted,
        };
        if let Err(error) = wire::send(&mut self.orders, &request) {
            return blind(&format!("the reading process takes no orders: {error}"));
        }
        let deadline = Instant::now() + length + GRACE;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.replies.recv_timeout(rest) {
                Ok(reply) if reply.number == number => {
                    self.usage = reply.usage;
                    return reply.sample;
                }
                // Of a pass that was given up.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return blind(&format!(
                        "timed out: no answer of the reading process within {:?}",
                        length + GRACE
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return blind("the reading process has ended: start the agent again");
                }
            }
        }
    }

    /// What it cost until the last pass.
    pub const fn usage(&self) -> Usage {
        self.usage
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It holds nothing that would have to be put back.
        let _already_ended = self.process.kill();
        let _not_ours = self.process.wait();
    }
}

/// A pass in which no reader has answered.
fn blind(why: &str) -> HostSample {
    let row = |layer, what: &str| Blind {
        layer,
        what: what.to_owned(),
        why: why.to_owned(),
    };
    let rows = READERS
        .iter()
        .flat_map(|reader| reader.layers.iter().map(|layer| row(*layer, reader.id)));
    HostSample {
        blind: rows.collect(),
        ..HostSample::default()
    }
}
