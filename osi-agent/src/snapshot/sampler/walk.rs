//! The thread that walks through the descriptors of all processes: it may take longer than a pass, and no reader waits for it.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::host::holders::Holders;

/// A walk may take so long: a link takes about two microseconds, and few hosts have more than 250,000 descriptors.
const LONGEST: Duration = Duration::from_millis(500);

/// The thread, from outside.
#[derive(Debug)]
pub(super) struct Walk {
    orders: SyncSender<Vec<u32>>,
    found: Receiver<Holders>,
}

impl Walk {
    /// Starts the thread.
    pub(super) fn spawn() -> std::io::Result<Self> {
        let (orders, received) = sync_channel::<Vec<u32>>(1);
        let (finds, found) = channel();
        std::thread::Builder::new()
            .name("osi-owners".to_owned())
            .spawn(move || {
                for inodes in received {
                    let inodes = inodes.into_iter().collect();
                    if finds.send(Holders::find(&inodes, LONGEST)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { orders, found })
    }

    /// Asks for the holders of these sockets. While an earlier walk goes on, and another waits, the question is dropped: whoever
    /// asked will ask again.
    pub(super) fn begin(&self, inodes: Vec<u32>) {
        let _busy = self.orders.try_send(inodes);
    }

    /// What the last walk found, once.
    pub(super) fn found(&self) -> Option<Holders> {
        self.found.try_iter().last()
    }
}
