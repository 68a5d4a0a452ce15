//! The sampler's threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::host::boot;
use crate::host::namespaces::Handle;
use crate::snapshot::host::Scratch;
use crate::snapshot::host::accepted::Accepted;
use crate::snapshot::host::enter::{Home, Visit};
use crate::snapshot::host::readers::{Filling, Group, READERS, Read, Reader};
use crate::snapshot::{HostState, NetnsState};

/// Orders that may wait while a thread is late; it takes the newest of them.
const WAITING: usize = 8;

/// A thread that runs the readers of one group.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its readers.
    pub(super) group: Group,
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
}

/// What a thread is to do in a pass.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) pass: u64,
    pub(super) handles: Arc<[Handle]>,
    pub(super) deadline: Instant,
    /// Inodes of the namespaces whose rule sets are to be read.
    pub(super) rule_sets: Arc<[u32]>,
    /// Inodes of the listeners whose accepted connections are to be listed.
    pub(super) served: Arc<[u32]>,
}

/// What a thread tells.
#[derive(Debug)]
pub(super) struct Answer {
    /// Number of the pass that it belongs to.
    pub(super) pass: u64,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// One reader has read in a namespace, or why it could not; `place` is that of the namespace in the pass, `read_ns` when
    /// it began.
    Namespace {
        place: usize,
        reader: &'static Reader,
        read_ns: u64,
        result: Result<Filling<NetnsState>, String>,
    },
    /// One reader has read of the host, or why it could not.
    Host {
        reader: &'static Reader,
        read_ns: u64,
        result: Result<Filling<HostState>, String>,
    },
    /// Connections of a listener.
    Accepted(Accepted),
    /// The namespace could not be entered: gone (`None`), or the reason.
    NotEntered {
        place: usize,
        group: Group,
        why: Option<String>,
    },
}

/// A thread is through with a pass. Only this wakes the collector; the answers lie there by then.
#[derive(Debug)]
pub(super) struct End {
    /// Number of the pass.
    pub(super) pass: u64,
    /// Whose.
    pub(super) group: Group,
    /// Why the thread reads no more, where it had to stop.
    pub(super) stopped: Option<String>,
}

/// Where the threads put what they have.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    pub(super) answers: Sender<Answer>,
    pub(super) ends: Sender<End>,
}

impl Worker {
    /// Starts a thread in the namespace of the calling one.
    pub(super) fn spawn(group: Group, outlet: &Outlet) -> std::io::Result<Self> {
        let (orders, received) = sync_channel(WAITING);
        let outlet = outlet.clone();
        let name = match group {
            Group::Tables => "osi-tables",
            Group::Counters => "osi-counters",
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(group, &received, &outlet))?;
        Ok(Self {
            group,
            orders,
            thread,
        })
    }

    /// Hands over an order; a thread that has ended is replaced.
    pub(super) fn order(&mut self, order: Order, outlet: &Outlet) -> Result<(), String> {
        if self.thread.is_finished() {
            *self = Self::spawn(self.group, outlet)
                .map_err(|error| format!("no thread to read with: {error}"))?;
        }
        match self.orders.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err("timed out: the kernel has not answered an earlier pass yet".to_owned())
            }
            Err(TrySendError::Disconnected(_)) => Err("the reading thread has ended".to_owned()),
        }
    }
}

/// A sampler thread: for each order the host, then the namespaces in turn.
fn work(group: Group, orders: &Receiver<Order>, outlet: &Outlet) {
    let mut scratch = Scratch::default();
    let mut home = None;
    while let Ok(order) = orders.recv() {
        let order = orders.try_iter().last().unwrap_or(order);
        let stopped = run(group, &order, &mut home, &mut scratch, outlet).err();
        let goes_on = stopped.is_none();
        let end = End {
            pass: order.pass,
            group,
            stopped,
        };
        if outlet.ends.send(end).is_err() || !goes_on {
            return;
        }
    }
}

/// One pass of one thread. An error means that the thread must not read any more.
fn run(
    group: Group,
    order: &Order,
    home: &mut Option<Home>,
    scratch: &mut Scratch,
    outlet: &Outlet,
) -> Result<(), String> {
    let home = match home {
        Some(home) => home,
        None => home.insert(
            Home::here().map_err(|error| format!("cannot read its own namespace: {error}"))?,
        ),
    };
    let send = |content| {
        // Nobody listens any more when the agent ends.
        let _ = outlet.answers.send(Answer {
            pass: order.pass,
            content,
        });
    };
    scratch.begin(Arc::clone(&order.rule_sets), Arc::clone(&order.served));
    // The host first: it is short, and it must be read from the agent's own namespace.
    for reader in READERS.iter().filter(|reader| reader.group == group) {
        if let Read::Host { read, .. } = reader.read {
            let read_ns = boot::now_ns();
            let result = read(scratch).map_err(|error| error.to_string());
            send(Content::Host {
                reader,
                read_ns,
                result,
            });
        }
    }
    // Where there is too little time for all, each pass goes on where the last one broke off: none is blind for ever.
    let broke_off = scratch.broke_off.take();
    let is_first = |handle: &Handle| Some(handle.netns.inode) == broke_off;
    let first = order.handles.iter().position(is_first).unwrap_or(0);
    let mut handles: Vec<_> = order.handles.iter().enumerate().collect();
    handles.rotate_left(first);
    for (place, handle) in handles {
        if Instant::now() >= order.deadline {
            scratch.broke_off = Some(handle.netns.inode);
            break;
        }
        scratch.reset();
        let visit = home.visit(handle, || {
            for reader in READERS.iter().filter(|reader| reader.group == group) {
                if let Read::Namespace { read, .. } = reader.read {
                    let read_ns = boot::now_ns();
                    let result = read(&handle.netns, scratch).map_err(|error| error.to_string());
                    send(Content::Namespace {
                        place,
                        reader,
                        read_ns,
                        result,
                    });
                }
            }
        });
        match visit {
            Ok(Visit::Done(())) => {
                let accepted = scratch.take_accepted().into_iter();
                accepted.map(Content::Accepted).for_each(&send);
            }
            Ok(Visit::Gone) => send(Content::NotEntered {
                place,
                group,
                why: None,
            }),
            Ok(Visit::Refused(error)) => {
                let why = format!("cannot enter it ({error}): run as root or with CAP_SYS_ADMIN");
                send(Content::NotEntered {
                    place,
                    group,
                    why: Some(why),
                });
            }
            Err(lost) => {
                return Err(format!(
                    "could not return from a namespace ({}); it is begun anew",
                    lost.0
                ));
            }
        }
    }
    Ok(())
}
