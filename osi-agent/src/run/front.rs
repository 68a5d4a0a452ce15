//! What is shown: the stream, blocks of text, or the screen.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::edge::Wake;
use super::session::{Folded, Session};
use crate::config::Failure;
use crate::event::Clock;
use crate::output::glyphs::Glyphs;
use crate::output::json::{Bye, Hello, Lines};
use crate::output::plain;
use crate::output::stdout::{End, OnClose, Rank, Stdout};
use crate::output::tui::{self, Cost, Info, Theme, Tui, View};
use crate::output::width;
use crate::probe::{SelfStats, own};

/// One way to show windows.
pub(crate) struct Front {
    kind: Kind,
    lines: Lines,
    last_cost: own::Cost,
    started: Instant,
    last_window: Instant,
}

enum Kind {
    Stream(Stdout),
    Text(Stdout, Glyphs, Option<usize>),
    Screen(Tui, Arc<Info>),
}

impl Front {
    /// The stream with `--json`, the screen on a terminal, text blocks otherwise.
    pub(crate) fn open(session: &Session, wakes: Sender<Wake>) -> io::Result<Self> {
        let lines = Lines::new(session.host());
        let kind = if session.settings().json {
            let theirs = lines.clone();
            let count = move |dropped_lines| {
                theirs.stats(
                    &Clock::timestamp(),
                    &SelfStats {
                        dropped_lines,
                        ..SelfStats::default()
                    },
                )
            };
            Kind::Stream(Stdout::start(Box::new(count), on_close(wakes))?)
        } else if tui::possible() {
            let settings = session.settings();
            let info = Info {
                host: session.host().to_owned(),
                kernel: session.kernel_release().to_owned(),
                scope: settings.netns.to_string(),
                interval: settings.interval,
            };
            Kind::Screen(
                Tui::start(Theme::of_environment(), on_quit(wakes))?,
                Arc::new(info),
            )
        } else {
            let count = |dropped| {
                format!("({dropped} blocks were dropped: the reader was slow)\n").into_bytes()
            };
            let writer = Stdout::start(Box::new(count), on_close(wakes))?;
            Kind::Text(writer, Glyphs::of_environment(), width::columns())
        };
        let now = Instant::now();
        Ok(Self {
            kind,
            lines,
            last_cost: own::Cost::default(),
            started: now,
            last_window: now,
        })
    }

    /// Lines dropped so far because the reader was slow.
    pub(crate) fn dropped(&self) -> u64 {
        match &self.kind {
            Kind::Stream(writer) | Kind::Text(writer, ..) => writer.dropped(),
            Kind::Screen(..) => 0,
        }
    }

    /// The first line.
    pub(crate) fn hello(&self, hello: &Hello) {
        if let Kind::Stream(writer) = &self.kind {
            writer.line(Rank::Frame, self.lines.hello(&Clock::timestamp(), hello));
        }
    }

    /// A window, with the agent's own figures when they are due.
    pub(crate) fn window(&mut self, folded: Folded, stats: Option<&SelfStats>) {
        let Folded { map, events, cost } = folded;
        let length = self.last_window.elapsed();
        self.last_window = Instant::now();
        match &self.kind {
            Kind::Stream(writer) => {
                // Findings before the map that lists them: a reader of lines never meets an unknown id.
                for finding in &map.changes {
                    writer.line(Rank::Finding, self.lines.finding(&map.at, finding));
                }
                writer.line(Rank::Map, self.lines.fault_map(&map));
                for event in &events {
                    writer.line(Rank::Event, self.lines.event(event));
                }
                if let Some(stats) = stats {
                    writer.line(Rank::Map, self.lines.stats(&map.at, stats));
                }
            }
            Kind::Text(writer, glyphs, width) => {
                writer.line(Rank::Map, plain::render(&map, *glyphs, *width).into_bytes());
            }
            Kind::Screen(screen, info) => {
                let cpu = Duration::from_nanos(cost.cpu_ns.saturating_sub(self.last_cost.cpu_ns));
                let shown = Cost {
                    uptime: self.started.elapsed(),
                    cpu_ratio: cpu.as_secs_f64() / length.as_secs_f64().max(f64::MIN_POSITIVE),
                    rss_bytes: cost.rss_bytes,
                    lost_events: cost.lost_events,
                };
                screen.show(View {
                    info: Arc::clone(info),
                    map,
                    events,
                    cost: shown,
                });
            }
        }
        self.last_cost = cost;
    }

    /// The last lines; then the screen or the writer ends.
    ///
    /// # Errors
    /// Where they could not be written, or nobody reads them any more.
    pub(crate) fn bye(
        self,
        stats: &SelfStats,
        bye: &Bye,
        deadline: Duration,
    ) -> Result<(), Failure> {
        let end = match self.kind {
            Kind::Stream(writer) => {
                let now = Clock::timestamp();
                writer.line(Rank::Frame, self.lines.stats(&now, stats));
                writer.line(Rank::Frame, self.lines.bye(&now, bye));
                writer.finish(deadline)
            }
            Kind::Text(writer, ..) => writer.finish(deadline),
            Kind::Screen(screen, _) => {
                screen.stop();
                End::Drained
            }
        };
        match end {
            End::Closed(why) => Err(why),
            End::Drained | End::GaveUp => Ok(()),
        }
    }
}

fn on_quit(wakes: Sender<Wake>) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        let _owner_gone = wakes.send(Wake::Quit);
    })
}

fn on_close(wakes: Sender<Wake>) -> OnClose {
    Box::new(move |why| {
        let _owner_gone = wakes.send(Wake::Closed(why));
    })
}
