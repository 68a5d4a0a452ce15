//! What is on the screen and what a key does to it. No terminal, no clock.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Theme, View, detail, findings, help, overview};
use crate::event::Event;

/// Events kept for the tail.
const EVENTS: usize = 200;

/// What the screen's owner has to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Draw again.
    Redraw,
    /// Draw everything anew: something else wrote on the terminal.
    Refresh,
    /// Leave.
    Quit,
    /// Stop until the shell continues us.
    Suspend,
}

/// Which screen is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    /// Seven bars, verdict, events.
    Overview,
    /// One layer in full.
    Layer,
    /// All open findings.
    Findings,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    pub(super) theme: Theme,
    pub(super) view: Option<View>,
    /// The newest window while the picture is paused.
    waiting: Option<View>,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) screen: Screen,
    /// Selected layer, 0 is L7.
    pub(super) selected: usize,
    /// A key chose the layer; until then the selection follows the verdict.
    chosen: bool,
    pub(super) scroll: usize,
    /// Oldest first.
    pub(super) events: VecDeque<Event>,
}

impl App {
    /// An empty screen.
    pub fn new(theme: Theme) -> Self {
        Self {
            theme,
            view: None,
            waiting: None,
            paused: false,
            help: false,
            screen: Screen::Overview,
            selected: 0,
            chosen: false,
            scroll: 0,
            events: VecDeque::new(),
        }
    }

    /// Takes a window; says whether the picture changed.
    pub fn show(&mut self, mut view: View) -> bool {
        if self.paused {
            if let Some(mut missed) = self.waiting.take() {
                missed.events.append(&mut view.events);
                view.events = missed.events;
            }
            self.waiting = Some(view);
            return false;
        }
        self.events.extend(view.events.drain(..));
        let surplus = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..surplus);
        let root = view.map.verdict.layer.as_ref();
        let broken = view
            .map
            .layers
            .iter()
            .position(|layer| Some(&layer.layer) == root);
        self.selected = broken.filter(|_| !self.chosen).unwrap_or(self.selected);
        self.view = Some(view);
        true
    }

    /// A key was pressed.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than this screen has uses for"
    )]
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                KeyCode::Char('z') => Action::Suspend,
                KeyCode::Char('l') => Action::Refresh,
                _ => Action::None,
            };
        }
        if std::mem::take(&mut self.help) {
            return if key.code == KeyCode::Char('q') {
                Action::Quit
            } else {
                Action::Redraw
            };
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('f') if self.screen == Screen::Findings => self.open(Screen::Overview),
            KeyCode::Char('f') => self.open(Screen::Findings),
            KeyCode::Enter if self.screen == Screen::Overview => {
                self.chosen = true;
                self.open(Screen::Layer);
            }
            KeyCode::Enter | KeyCode::Esc | KeyCode::Backspace => self.open(Screen::Overview),
            KeyCode::Char(digit @ '1'..='7') => {
                self.selected = '7' as usize - digit as usize;
                self.chosen = true;
                self.open(Screen::Layer);
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(false),
            KeyCode::Down | KeyCode::Char('j') => self.step(true),
            KeyCode::Left | KeyCode::BackTab if self.screen == Screen::Layer => self.select(false),
            KeyCode::Right | KeyCode::Tab if self.screen == Screen::Layer => self.select(true),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(8),
            KeyCode::PageDown => self.scroll += 8,
            KeyCode::Home | KeyCode::Char('g') => self.scroll = 0,
            KeyCode::End | KeyCode::Char('G') => self.scroll = usize::MAX / 2,
            _ => return Action::None,
        }
        Action::Redraw
    }

    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame) {
        match self.screen {
            Screen::Overview => overview::draw(self, frame),
            Screen::Layer => detail::draw(self, frame),
            Screen::Findings => findings::draw(self, frame),
        }
        if self.help {
            help::draw(self.theme, frame);
        }
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if let Some(view) = self.waiting.take().filter(|_| !self.paused) {
            self.show(view);
        }
    }

    fn open(&mut self, screen: Screen) {
        self.screen = screen;
        self.scroll = 0;
    }

    fn step(&mut self, down: bool) {
        match (self.screen, down) {
            (Screen::Overview, _) => self.select(down),
            (Screen::Layer | Screen::Findings, true) => self.scroll += 1,
            (Screen::Layer | Screen::Findings, false) => {
                self.scroll = self.scroll.saturating_sub(1);
            }
        }
    }

    fn select(&mut self, down: bool) {
        self.chosen = true;
        self.selected = if down {
            (self.selected + 1).min(6)
        } else {
            self.selected.saturating_sub(1)
        };
        self.scroll = 0;
    }
}
