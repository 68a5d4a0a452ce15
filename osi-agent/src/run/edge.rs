//! The edges of the loop: timer and signals on a thread of their own, the ends of screen and writer, all as one closed enum.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::config::Failure;
use crate::sandbox;

/// Everything that can wake the owner of the state.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A window is over.
    Window,
    /// The time that `--duration` gave is over; the last window was announced before.
    Duration,
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The person left the screen.
    Quit,
    /// Nothing more can be written to standard output, and why: its reader has left, or the disk is full.
    Closed(Failure),
}

/// The receiving end of all edges.
pub(crate) struct Edges {
    wakes: Receiver<Wake>,
    sender: Sender<Wake>,
    /// Whether a window was announced and not taken yet: a slow owner gets one, not a queue of them.
    announced: Arc<AtomicBool>,
}

/// What is left of a duration after whole windows and still worth a window of its own.
const SHORTEST_WINDOW: Duration = Duration::from_millis(50);

impl Edges {
    /// Installs the signal handlers. From here on the first SIGINT, SIGTERM or SIGHUP wakes the owner, and a second one ends the
    /// process at once, after `restore` has put the terminal back.
    pub(crate) fn start(restore: fn()) -> io::Result<(Self, Starter)> {
        let (sender, wakes) = channel();
        let announced = Arc::new(AtomicBool::new(false));
        let (go, started) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (theirs, flag) = (sender.clone(), Arc::clone(&announced));
        // Registered here and not on the thread: a signal from now on is ours, not the default's.
        let signals = runtime.block_on(async { Signals::register() })?;
        sandbox::idle_thread("edges", move || {
            runtime.block_on(async move {
                tokio::join!(
                    signals.watch(theirs.clone(), restore),
                    tick(started, theirs, flag)
                );
            });
        })?;
        Ok((
            Self {
                wakes,
                sender,
                announced,
            },
            Starter(go),
        ))
    }

    /// Another way in, for the screen's and the writer's end.
    pub(crate) fn sender(&self) -> Sender<Wake> {
        self.sender.clone()
    }

    /// The next wake-up.
    pub(crate) fn next(&self) -> Wake {
        // The channel can not be closed: one sender is ours.
        let wake = self.wakes.recv().unwrap_or(Wake::Signal);
        if matches!(wake, Wake::Window) {
            self.announced.store(false, Ordering::Release);
        }
        wake
    }
}

/// Starts the clock of the windows once the first snapshot is taken.
pub(crate) struct Starter(tokio::sync::oneshot::Sender<(Duration, Option<Duration>)>);

impl Starter {
    /// Windows of this length from now on, for this long.
    pub(crate) fn go(self, interval: Duration, duration: Option<Duration>) {
        // The thread can not have ended before it was told this.
        let _ended = self.0.send((interval, duration));
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// The terminal is gone: for a watch that is the end as well.
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn register() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn watch(mut self, wakes: Sender<Wake>, restore: fn()) {
        self.next().await;
        let _owner_gone = wakes.send(Wake::Signal);
        self.next().await;
        restore();
        // What is attached are links and files of this process: the kernel releases them.
        std::process::exit(0);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

async fn tick(
    started: tokio::sync::oneshot::Receiver<(Duration, Option<Duration>)>,
    wakes: Sender<Wake>,
    announced: Arc<AtomicBool>,
) {
    let Ok((interval, duration)) = started.await else {
        return;
    };
    let start = Instant::now();
    let announce = || {
        if !announced.swap(true, Ordering::AcqRel) {
            let _owner_gone = wakes.send(Wake::Window);
        }
    };
    let mut ticks = interval_at(start + interval, interval);
    // A window that came late is longer, and says so; it is not followed by short ones.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let left =
            duration.map(|duration| (start + duration).saturating_duration_since(Instant::now()));
        if let Some(left) = left
            && left < interval.mul_f64(0.5).max(SHORTEST_WINDOW)
        {
            sleep_until(Instant::now() + left).await;
            let _owner_gone = wakes.send(Wake::Duration);
            return;
        }
        tokio::select! {
            _ = ticks.tick() => announce(),
            () = sleep_until(start + duration.unwrap_or(Duration::from_hours(24 * 365))) => announce(),
        }
    }
}
