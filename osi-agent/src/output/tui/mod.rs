//! The full-screen view: the fault map as the main screen of the product.
//!
//! A thread of its own owns the terminal: a slow or stopped terminal delays the picture, never the loop.
//! What it shows and what a key does is decided in [`App`], which touches no terminal and is tested without one.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};

use crate::event::Event;
use crate::verdict::FaultMap;

mod app;

mod theme;

mod overview;

mod verdict;

mod detail;

mod findings;

mod help;

pub use app::{Action, App};
pub use theme::Theme;

/// How long a key may wait for a look at the next picture, and the other way round.
const TICK: Duration = Duration::from_millis(100);

/// What does not change while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Namespaces in scope, as given on the command line.
    pub scope: String,
    /// Length of a window.
    pub interval: Duration,
}

/// What the agent costs and loses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Since the start.
    pub uptime: Duration,
    /// CPU time of the last window over its length; 1 is one CPU.
    pub cpu_ratio: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Samples lost since the start.
    pub lost_events: u64,
}

/// Everything that one picture shows.
#[derive(Clone, Debug)]
pub struct View {
    /// What does not change.
    pub info: Arc<Info>,
    /// The window's result.
    pub map: FaultMap,
    /// The window's events.
    pub events: Vec<Event>,
    /// The agent itself.
    pub cost: Cost,
}

/// Whether the screen can be drawn: standard output and input are a terminal that can move its cursor.
pub fn possible() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    io::stdout().is_terminal() && io::stdin().is_terminal() && !term.is_empty() && term != "dumb"
}

/// The running screen.
pub struct Tui {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
}

#[derive(Default)]
struct Shared {
    next: Mutex<Option<View>>,
    stop: AtomicBool,
}

/// Whether the terminal is ours now, so that giving it back is done once, whoever does it.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Tui {
    /// Takes the terminal. `on_quit` is called once from the screen's thread when the person wants to leave or the
    /// terminal is gone. A panic anywhere gives the terminal back before it is told.
    pub fn start(theme: Theme, on_quit: Box<dyn FnOnce() + Send>) -> io::Result<Self> {
        give_back_on_panic();
        take()?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let (end, ended) = mpsc::channel();
        thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                // A terminal that fails is one that is gone: the loop ends either way.
                let _ = theirs.run(theme);
                if !theirs.stop.load(Ordering::Relaxed) {
                    on_quit();
                }
                let _ = end.send(());
            })?;
        Ok(Self { shared, ended })
    }

    /// Shows a window. Never waits; a picture that was not drawn yet is replaced, its events are kept.
    pub fn show(&self, mut view: View) {
        let mut next = self
            .shared
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mut missed) = next.take() {
            missed.events.append(&mut view.events);
            view.events = missed.events;
        }
        *next = Some(view);
    }

    /// Ends the screen and gives the terminal back; a stuck terminal is not waited for.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.ended.recv_timeout(Duration::from_millis(500));
        give_back();
    }
}

impl Shared {
    fn run(&self, theme: Theme) -> io::Result<()> {
        let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let mut app = App::new(theme);
        let mut stale = true;
        while !self.stop.load(Ordering::Relaxed) {
            let next = self
                .next
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(view) = next {
                stale |= app.show(view);
            }
            if std::mem::take(&mut stale) {
                terminal.draw(|frame| app.draw(frame))?;
            }
            if !event::poll(TICK)? {
                continue;
            }
            match event::read()? {
                Input::Key(key) if key.kind != KeyEventKind::Release => match app.key(key) {
                    Action::Quit => return Ok(()),
                    Action::Redraw => stale = true,
                    Action::Suspend => {
                        give_back();
                        stop_until_continued();
                        take()?;
                        // A new one draws everything; `Terminal::clear` would ask the terminal where its cursor is.
                        terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
                        stale = true;
                    }
                    Action::Refresh => {
                        execute!(io::stdout(), Clear(ClearType::All))?;
                        terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
                        stale = true;
                    }
                    Action::None => {}
                },
                Input::Resize(..) => stale = true,
                Input::Key(_)
                | Input::FocusGained
                | Input::FocusLost
                | Input::Mouse(_)
                | Input::Paste(_) => {}
            }
        }
        Ok(())
    }
}

/// Stops the whole process, as Ctrl-Z does elsewhere; returns when the shell says `fg`.
fn stop_until_continued() {
    // SAFETY: raise takes a number and touches no memory of ours. It signals this very thread, which therefore stops
    // before it goes on; a signal to the process may be taken by another one a moment later.
    unsafe { libc::raise(libc::SIGTSTP) };
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)
}

/// Gives the terminal back if it was taken. Safe to call from anywhere and more than once.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // What a terminal that is gone answers is of no use.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

fn give_back_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

#[cfg(test)]
mod tests;
