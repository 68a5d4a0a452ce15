//! The thread that walks through the descriptors of all processes: it may take longer than a pass, and no reader waits for it.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::host::holders::{Bounds, walk};
use crate::snapshot::Holders;
use crate::snapshot::host::accepted::Accepted;

/// A link takes about two microseconds, and few hosts have more than 250,000 descriptors. Servers open what they listen on
/// before they serve, and a proxy may hold a million connections after that.
const BOUNDS: Bounds = Bounds {
    longest: Duration::from_millis(500),
    of_process: 16_384,
    of_all: usize::MAX,
};

/// What one walk is to find.
#[derive(Debug)]
pub(super) struct Sought {
    /// Sockets, each by itself.
    pub(super) held: Vec<u32>,
    /// Connections, by listener.
    pub(super) accepted: Vec<Accepted>,
}

/// The thread, from outside.
#[derive(Debug)]
pub(super) struct Walk {
    orders: SyncSender<Sought>,
    found: Receiver<Holders>,
}

impl Walk {
    /// Starts the thread.
    pub(super) fn spawn() -> std::io::Result<Self> {
        let (orders, received) = sync_channel(1);
        let (finds, found) = channel();
        std::thread::Builder::new()
            .name("osi-owners".to_owned())
            .spawn(move || {
                for sought in received {
                    if finds.send(find(sought)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { orders, found })
    }

    /// Asks for the holders of these sockets. While an earlier walk goes on, and another waits, the question is dropped: whoever
    /// asked will ask again.
    pub(super) fn begin(&self, sought: Sought) {
        let _busy = self.orders.try_send(sought);
    }

    /// What the last walk found, once.
    pub(super) fn found(&self) -> Option<Holders> {
        self.found.try_iter().last()
    }
}

fn find(sought: Sought) -> Holders {
    let Sought { held, accepted } = sought;
    let (listeners, connections): (Vec<_>, Vec<_>) = accepted
        .into_iter()
        .map(|Accepted { listener, sockets }| (listener, sockets))
        .unzip();
    let mut questions: Vec<_> = held.iter().map(|inode| [*inode].into()).collect();
    questions.extend(connections);
    let walked = walk(&questions, &BOUNDS);
    let mut answers = walked.held.into_iter();
    Holders {
        held: held.into_iter().zip(answers.by_ref()).collect(),
        served: listeners.into_iter().zip(answers).collect(),
        unread: walked.unread,
    }
}
