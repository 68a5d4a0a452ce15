//! Standard output without waiting for its reader.
//!
//! Whole lines wait in a bounded queue for a thread that writes them. When the queue is full whole lines are dropped,
//! events first, then fault maps, findings last, and the next line written is preceded by one that counts them.
//! Into a pipe a line is written only when all of it fits: not even SIGKILL can leave half a line behind.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

mod sink;

use sink::{Offer, Sink};

use crate::config::{Exit, Failure};

/// Bytes of lines that may wait: a minute of a busy host.
const QUEUE_BYTES: usize = 4 << 20;

/// How soon a reader's leave is noticed while there is nothing to write.
const IDLE: Duration = Duration::from_millis(250);

/// How often a full pipe is asked again: it tells that some room is free, not that a whole line's is.
const RETRY: Duration = Duration::from_millis(5);

/// What is dropped first when the reader is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Single events.
    Event,
    /// Fault maps, statistics, blocks of text.
    Map,
    /// Findings.
    Finding,
    /// The first and the last line, and everything that a command prints once.
    Frame,
}

/// How the queue ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was written.
    Drained,
    /// The reader was too slow for the deadline; what waited is gone, in whole lines.
    GaveUp,
    /// The reader left, or the file can not be written.
    Closed(Failure),
}

/// Makes the line that counts dropped lines, from their total.
pub type CountLine = Box<dyn FnMut(u64) -> Vec<u8> + Send>;

/// Told once, from the writing thread, why nothing more can be written.
pub type OnClose = Box<dyn FnOnce(Failure) + Send>;

/// The writer.
pub struct Stdout {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Rank, Vec<u8>)>,
    bytes: usize,
    limit: usize,
    dropped: u64,
    writing: bool,
    closing: bool,
    abandoned: bool,
    closed: Option<Failure>,
}

impl Stdout {
    /// Starts the thread that writes to standard output. `count` makes the line that counts dropped ones;
    /// `on_close` is called once from the thread when the reader has left or the file can not be written.
    pub fn start(count: CountLine, on_close: OnClose) -> io::Result<Self> {
        let fd = io::stdout().as_fd().try_clone_to_owned()?;
        Self::to(fd, QUEUE_BYTES, count, on_close)
    }

    fn to(fd: OwnedFd, limit: usize, count: CountLine, on_close: OnClose) -> io::Result<Self> {
        let state = Mutex::new(State {
            limit,
            ..State::default()
        });
        let shared = Arc::new(Shared {
            state,
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || theirs.write_all(Sink::new(fd), count, on_close))?;
        Ok(Self { shared })
    }

    /// Queues whole lines; never waits.
    pub fn line(&self, rank: Rank, line: Vec<u8>) {
        self.shared.lock().push(rank, line);
        self.shared.changed.notify_all();
    }

    /// Lines dropped so far because the reader was slow.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Whether nothing more can be written.
    pub fn closed(&self) -> bool {
        self.shared.lock().closed.is_some()
    }

    /// Writes what waits, for at most this long.
    pub fn finish(self, deadline: Duration) -> End {
        let until = Instant::now() + deadline;
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.changed.notify_all();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(failure) = &state.closed {
                return End::Closed(failure.clone());
            }
            if state.queue.is_empty() && !state.writing {
                return End::Drained;
            }
            if left.is_zero() {
                // The thread must not begin another line while the process ends.
                state.queue.clear();
                state.abandoned = true;
                return End::GaveUp;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Writes one text to standard output and waits for it: for commands that print and end.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text)
        .and_then(|()| stdout.flush())
        .map_err(|error| failure(&error))
}

/// A reader that left is no fault and ends everything silently; a full disk is one.
pub fn failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::new(Exit::OutputClosed, "")
    } else {
        Failure::new(
            Exit::Failed,
            format!("standard output can not be written: {error}"),
        )
    }
}

impl State {
    fn push(&mut self, rank: Rank, line: Vec<u8>) {
        if self.closed.is_some() || self.closing {
            return;
        }
        let needed = (self.bytes + line.len()).saturating_sub(self.limit);
        if needed > 0 && !self.make_room(rank, needed) {
            self.dropped += 1;
            return;
        }
        self.bytes += line.len();
        self.queue.push_back((rank, line));
    }

    /// Drops the least important lines, oldest first, none above `rank`: a newer map or finding replaces an older one.
    fn make_room(&mut self, rank: Rank, needed: usize) -> bool {
        let droppable = self
            .queue
            .iter()
            .filter(|(queued, _)| *queued <= rank)
            .map(|(_, line)| line.len())
            .sum::<usize>();
        if droppable < needed {
            return false;
        }
        let mut freed = 0;
        for victim in [Rank::Event, Rank::Map, Rank::Finding, Rank::Frame] {
            self.queue.retain(|(queued, line)| {
                let keep = *queued != victim || freed >= needed;
                if !keep {
                    freed += line.len();
                    self.dropped += 1;
                }
                keep
            });
        }
        self.bytes -= freed;
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut sink: Sink, mut count: CountLine, on_close: OnClose) {
        let mut told = 0;
        let error = loop {
            match self.next(&mut sink, &mut told, &mut count) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => break error,
            }
        };
        let why = failure(&error);
        let mut state = self.lock();
        *state = State {
            closed: Some(why.clone()),
            dropped: state.dropped,
            ..State::default()
        };
        drop(state);
        self.changed.notify_all();
        on_close(why);
    }

    /// Writes the line at the queue's head, after one that counts what was dropped since. False at the end.
    fn next(&self, sink: &mut Sink, told: &mut u64, count: &mut CountLine) -> io::Result<bool> {
        let Some((line, dropped)) = self.take(sink, *told)? else {
            return Ok(false);
        };
        let mut lines = if dropped > *told {
            count(dropped)
        } else {
            Vec::new()
        };
        *told = dropped;
        lines.extend(line);
        let result = loop {
            match sink.offer(&lines) {
                Ok(Offer::Written) => break Ok(true),
                Ok(Offer::Full) if self.abandoned() => break Ok(false),
                Ok(Offer::Full) => thread::sleep(RETRY),
                Err(error) => break Err(error),
            }
        };
        self.lock().writing = false;
        self.changed.notify_all();
        result
    }

    /// The next line, once there is room for one: until then lines stay in the queue, where better ones may replace them.
    fn take(&self, sink: &mut Sink, told: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut state = self.lock();
        loop {
            let room = state.queue.front().map(|(_, line)| sink.fits(line.len()));
            match room {
                Some(false) if sink.reader_left() => return Err(io::ErrorKind::BrokenPipe.into()),
                Some(false) => state = self.wait(state, RETRY),
                Some(true) => {
                    let Some((_, line)) = state.queue.pop_front() else {
                        continue;
                    };
                    state.bytes -= line.len();
                    state.writing = true;
                    return Ok(Some((line, state.dropped.max(told))));
                }
                None if state.closing => return Ok(None),
                None => {
                    state = self.wait(state, IDLE);
                    if state.queue.is_empty() && sink.reader_left() {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// The owner gave up waiting: nothing more is to be begun.
    fn abandoned(&self) -> bool {
        self.lock().abandoned
    }
}

#[cfg(test)]
mod tests;
