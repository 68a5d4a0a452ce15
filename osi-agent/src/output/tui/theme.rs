//! Colours and marks. Colour only repeats what a word says.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::output::glyphs::Glyphs;
use crate::output::text::cut;
use crate::verdict::{LayerState, Severity, VerdictState};

/// Emphasis without colour.
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// What the terminal can show. The sixteen colours of the terminal's own palette, so that it stays readable in any.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Unicode or ASCII.
    pub glyphs: Glyphs,
    /// False with `NO_COLOR`.
    pub color: bool,
}

impl Theme {
    /// What the environment asks for.
    pub fn of_environment() -> Self {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            glyphs: Glyphs::of_environment(),
            color,
        }
    }

    fn fg(self, color: Color) -> Style {
        if self.color {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    pub(super) fn state(self, state: LayerState) -> Style {
        match state {
            LayerState::Ok => self.fg(Color::Green),
            LayerState::Warn => self.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            LayerState::Critical => self.fg(Color::Red).add_modifier(Modifier::BOLD),
            LayerState::Blind => self.fg(Color::Magenta),
        }
    }

    pub(super) fn verdict(self, state: VerdictState) -> Style {
        self.state(match state {
            VerdictState::Ok => LayerState::Ok,
            VerdictState::Warn => LayerState::Warn,
            VerdictState::Critical => LayerState::Critical,
        })
    }

    pub(super) fn severity(self, severity: Severity) -> Style {
        self.state(match severity {
            Severity::Warn => LayerState::Warn,
            Severity::Critical => LayerState::Critical,
        })
    }

    pub(super) fn faint(self) -> Style {
        if self.color {
            Style::new().fg(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    pub(super) fn accent(self) -> Style {
        self.fg(Color::Cyan)
    }

    /// A piece of text, made safe for this terminal.
    pub(super) fn span(self, text: &str, style: Style) -> Span<'static> {
        Span::styled(self.glyphs.text(text), style)
    }

    pub(super) fn plain(self, text: &str) -> Span<'static> {
        self.span(text, Style::new())
    }

    /// Cut to a width with the terminal's ellipsis.
    pub(super) fn fit(self, text: &str, width: usize) -> String {
        cut(&self.glyphs.text(text), width, self.glyphs.pick('…', '~'))
    }

    /// A section's heading, ruled to the full width: `── Verdict ─────`.
    pub(super) fn rule(self, title: &str, style: Style, width: u16) -> Line<'static> {
        let dash = self.glyphs.pick("─", "-");
        let title = format!(
            " {} ",
            self.fit(title, usize::from(width).saturating_sub(6))
        );
        let rest = usize::from(width).saturating_sub(2 + title.chars().count());
        Line::from(vec![
            Span::styled(dash.repeat(2), self.faint()),
            Span::styled(title, style),
            Span::styled(dash.repeat(rest), self.faint()),
        ])
    }
}
