//! Runs the host readers on threads of their own, under a deadline.
//!
//! Two threads, because `setns()` is per thread and because route netlink can hang behind somebody else's lock: one runs
//! the readers of tables, the other those of counters. They send every reading as soon as they have it, so what is late
//! costs only itself and what comes after it on its thread. A late answer belongs to a pass that is over and is dropped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::draft::{Draft, LAYERS};
use self::walk::{Sought, Walk};
use self::worker::{Answer, Content, End, Order, Outlet, Worker};
use super::host::readers::Group;
use super::{Blind, Holders, HostState, NetnsState, Wanted};
use crate::host::namespaces::{BOUND, Handle, NetnsScope, Registry};

mod draft;

mod walk;

mod worker;

/// What is blind when namespaces are not read at all.
pub(super) const NAMESPACES: &str = "namespaces";

/// The part of a snapshot that the host's own interfaces give.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostSample {
    /// Namespaces in scope, the agent's own one first where it is in scope.
    pub namespaces: Vec<NetnsState>,
    /// Host-wide resources.
    pub host: HostState,
    /// What could not be read, one row per reader, layer and reason.
    pub blind: Vec<Blind>,
    /// Who holds the sockets that were asked for in an earlier pass, once that is known.
    pub holders: Option<Holders>,
}

/// Reads namespaces and host, one pass per request.
#[derive(Debug)]
pub struct Sampler {
    registry: Registry,
    workers: [Worker; 2],
    outlet: Outlet,
    answers: Receiver<Answer>,
    ends: Receiver<End>,
    rule_sets: Arc<[u32]>,
    wanted: Wanted,
    walk: Walk,
    pass: Pass,
}

/// The pass at hand.
#[derive(Debug)]
struct Pass {
    number: u64,
    handles: Arc<[Handle]>,
    deadline: Instant,
    length: Duration,
    /// Groups that still read.
    pending: Vec<Group>,
    /// Groups that will not end, and why.
    stuck: Vec<(Group, String)>,
}

impl Sampler {
    /// Starts the threads. They begin in the namespace of the calling thread, which must be the agent's own.
    pub fn spawn(scope: NetnsScope) -> anyhow::Result<Self> {
        let registry = Registry::new(scope)?;
        let (answers_in, answers) = channel();
        let (ends_in, ends) = channel();
        let outlet = Outlet {
            answers: answers_in,
            ends: ends_in,
        };
        let workers = [
            Worker::spawn(Group::Tables, &outlet)?,
            Worker::spawn(Group::Counters, &outlet)?,
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
            outlet,
            answers,
            ends,
            rule_sets: Arc::default(),
            wanted: Wanted::default(),
            walk: Walk::spawn()?,
            pass,
        })
    }

    /// The namespaces of the last pass.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Also reads the rule sets of these namespaces, by inode, from the next pass on: none unless asked for. The kernel loads
    /// nf_tables to answer, so whoever asks makes sure that it is there.
    pub fn read_rule_sets(&mut self, namespaces: Vec<u32>) {
        self.rule_sets = namespaces.into();
    }

    /// Also looks for the processes that hold these sockets, once: it begins with the next pass, and a later one tells.
    pub fn find_holders(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// Begins a pass that ends after `length` at the latest. What an earlier pass has not answered yet is lost.
    pub fn request(&mut self, length: Duration) {
        self.answers.try_iter().for_each(drop);
        self.ends.try_iter().for_each(drop);
        let handles: Arc<[Handle]> = self.registry.refresh().into();
        let served: Arc<[u32]> = self.wanted.served.as_slice().into();
        let (number, deadline) = (self.pass.number + 1, Instant::now() + length);
        let (mut pending, mut stuck) = (Vec::new(), Vec::new());
        for worker in &mut self.workers {
            let order = Order {
                pass: number,
                handles: Arc::clone(&handles),
                deadline,
                rule_sets: Arc::clone(&self.rule_sets),
                served: Arc::clone(&served),
            };
            match worker.order(order, &self.outlet) {
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
        let pass = &mut self.pass;
        while !pass.pending.is_empty() {
            let rest = pass.deadline.saturating_duration_since(Instant::now());
            let Ok(end) = self.ends.recv_timeout(rest) else {
                break;
            };
            if end.pass == pass.number {
                pass.pending.retain(|group| *group != end.group);
                pass.stuck.extend(end.stopped.map(|why| (end.group, why)));
            }
        }
        let mut accepted = Vec::new();
        let mut draft = Draft::new(&pass.handles);
        for answer in self
            .answers
            .try_iter()
            .filter(|answer| answer.pass == pass.number)
        {
            match answer.content {
                Content::Namespace {
                    place,
                    reader,
                    read_ns,
                    result,
                } => draft.namespace(place, reader, read_ns, result),
                Content::Host {
                    reader,
                    read_ns,
                    result,
                } => draft.host(reader, read_ns, result),
                Content::Accepted(found) => accepted.push(found),
                Content::NotEntered { place, group, why } => draft.not_entered(place, group, why),
            }
        }
        for gone in draft.gone() {
            self.registry.forget(gone);
        }
        let mut sample = draft.finish(pass);
        sample.blind.extend(self.unseen_namespaces());
        sample.holders = self.walk.found();
        let held = std::mem::take(&mut self.wanted).held;
        if !held.is_empty() {
            self.walk.begin(Sought { held, accepted });
        }
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
