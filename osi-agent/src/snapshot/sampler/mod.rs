//! Runs the host readers on threads of their own, under a deadline.
//!
//! Two threads, because `setns()` is per thread and because route netlink can hang behind somebody else's lock: one runs
//! the readers of tables, the other those of counters. They send every reading as soon as they have it, so what is late
//! costs only itself and what comes after it on its thread. A late answer belongs to a pass that is over and is dropped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use self::draft::{Draft, LAYERS};
use self::worker::{Answer, Content, Order, Worker};
use super::host::readers::Group;
use super::{Blind, HostState, NetnsState};
use crate::host::namespaces::{BOUND, Handle, NetnsScope, Registry};

mod draft;

mod worker;

/// What is blind when namespaces are not read at all.
const NAMESPACES: &str = "namespaces";

/// The part of a snapshot that the host's own interfaces give.
#[derive(Clone, Debug, Default)]
pub struct HostSample {
    /// Namespaces in scope, the agent's own one first where it is in scope.
    pub namespaces: Vec<NetnsState>,
    /// Host-wide resources.
    pub host: HostState,
    /// What could not be read, one row per reader, layer and reason.
    pub blind: Vec<Blind>,
}

/// Reads namespaces and host, one pass per request.
#[derive(Debug)]
pub struct Sampler {
    registry: Registry,
    workers: [Worker; 2],
    answers: Receiver<Answer>,
    sender: Sender<Answer>,
    pass: Pass,
}

/// The pass at hand.
#[derive(Debug)]
struct Pass {
    number: u64,
    handles: Arc<[Handle]>,
    deadline: Instant,
    length: Duration,
    /// Groups that still read, with the reason why they will never end where there is one.
    pending: Vec<Group>,
    stuck: Vec<(Group, String)>,
}

impl Sampler {
    /// Starts the threads. They begin in the namespace of the calling thread, which must be the agent's own.
    pub fn spawn(scope: NetnsScope) -> anyhow::Result<Self> {
        let registry = Registry::new(scope)?;
        let (sender, answers) = channel();
        let workers = [
            Worker::spawn(Group::Tables, &sender)?,
            Worker::spawn(Group::Counters, &sender)?,
        ];
        let pass = Pass {
            number: 0,
            handles: Arc::default(),
            deadline: Instant::now(),
            length: Duration::ZERO,
            pending: Vec::new(),
            stuck: Vec::new(),
        };
        Ok(Self {
            registry,
            workers,
            answers,
            sender,
            pass,
        })
    }

    /// The namespaces of the last pass.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Begins a pass that ends after `length` at the latest. What an earlier pass has not answered yet is lost.
    pub fn request(&mut self, length: Duration) {
        while self.answers.try_recv().is_ok() {}
        let handles: Arc<[Handle]> = self.registry.refresh().into();
        let (number, deadline) = (self.pass.number + 1, Instant::now() + length);
        let (mut pending, mut stuck) = (Vec::new(), Vec::new());
        for worker in &mut self.workers {
            let order = Order {
                pass: number,
                handles: Arc::clone(&handles),
                deadline,
            };
            match worker.order(order, &self.sender) {
                Ok(()) => pending.push(worker.group),
                Err(why) => stuck.push((worker.group, why)),
            }
        }
        self.pass = Pass {
            number,
            handles,
            deadline,
            length,
            pending,
            stuck,
        };
    }

    /// Waits for the pass that was requested, until its deadline, and returns what there is.
    pub fn collect(&mut self) -> HostSample {
        let mut draft = Draft::new(&self.pass.handles);
        while !self.pass.pending.is_empty() {
            let rest = self.pass.deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(rest) {
                Ok(answer) if answer.pass == self.pass.number => match answer.content {
                    Content::Namespace {
                        place,
                        reader,
                        result,
                    } => draft.namespace(place, reader, result),
                    Content::Host { reader, result } => draft.host(reader, result),
                    Content::NotEntered { place, group, why } => {
                        draft.not_entered(place, group, why);
                    }
                    Content::Finished(group) => {
                        self.pass.pending.retain(|pending| *pending != group);
                    }
                    Content::Ended(group, why) => {
                        self.pass.pending.retain(|pending| *pending != group);
                        self.pass.stuck.push((group, why));
                    }
                },
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        for gone in draft.gone() {
            self.registry.forget(gone);
        }
        let mut sample = draft.finish(&self.pass);
        sample.blind.extend(self.unseen_namespaces());
        sample
    }

    /// One pass: [`request`](Self::request), then [`collect`](Self::collect).
    pub fn sample(&mut self, length: Duration) -> HostSample {
        self.request(length);
        self.collect()
    }

    fn unseen_namespaces(&self) -> Vec<Blind> {
        let mut reasons = Vec::new();
        let (omitted, unreadable) = (self.registry.omitted(), self.registry.unreadable());
        if omitted > 0 {
            reasons.push(format!(
                "{omitted} namespaces beyond the first {BOUND} are not read; name one by --netns"
            ));
        }
        if unreadable > 0 {
            reasons.push(format!(
                "the namespaces of {unreadable} processes can not be seen without CAP_SYS_PTRACE"
            ));
        }
        let row = |layer, why: &String| Blind {
            layer,
            what: NAMESPACES.to_owned(),
            why: why.clone(),
        };
        reasons
            .iter()
            .flat_map(|why| LAYERS.map(|layer| row(layer, why)))
            .collect()
    }
}
