//! All open findings: roots first, then what they explain.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::Theme;
use super::app::App;
use super::overview::{footer, header};
use super::theme::BOLD;
use super::verdict::sentence;
use crate::output::text::scope;
use crate::output::words;
use crate::verdict::{Finding, Severity};

pub(super) fn draw(app: &mut App, frame: &mut Frame) {
    let Some(view) = &app.view else { return };
    let theme = app.theme;
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    header(app, view, frame, head);
    let title = format!("Open findings: {}", view.map.open.len());
    let mut lines = vec![theme.rule(&title, BOLD, body.width)];
    if view.map.open.is_empty() {
        lines.push(Line::from(theme.span(" none", theme.faint())));
    }
    let (roots, symptoms): (Vec<_>, Vec<_>) = view
        .map
        .open
        .iter()
        .partition(|finding| finding.explained_by.is_empty());
    for finding in roots.into_iter().chain(symptoms) {
        lines.extend(one(theme, finding, &view.map.open, body.width));
    }
    app.scroll = app
        .scroll
        .min(lines.len().saturating_sub(usize::from(body.height)));
    frame.render_widget(Paragraph::new(lines).scroll((app.scroll as u16, 0)), body);
    footer(
        app,
        frame,
        foot,
        "Esc back  ↑↓ scroll  p pause  ? help  q quit",
    );
}

fn one(theme: Theme, finding: &Finding, open: &[Finding], width: u16) -> Vec<Line<'static>> {
    let word = match finding.severity {
        Severity::Warn => "WARN    ",
        Severity::Critical => "CRITICAL",
    };
    let facts = format!(
        "  {} · since {} · {}",
        words::confidence(finding.confidence),
        words::time_of_day(&finding.opened_at),
        scope(&finding.scope)
    );
    let name = format!(" {} {}", finding.layer, finding.cause);
    let room = usize::from(width).saturating_sub(10 + name.chars().count());
    let mut lines = vec![Line::from(vec![
        theme.span(&format!(" {word}"), theme.severity(finding.severity)),
        theme.span(&name, BOLD),
        theme.span(&theme.fit(&facts, room), theme.faint()),
    ])];
    lines.extend(sentence(
        theme,
        "          ",
        &finding.summary,
        Style::new(),
        width,
    ));
    if let Some(fading) = words::fading(finding.quiet) {
        lines.extend(sentence(
            theme,
            "          ",
            &fading,
            theme.accent(),
            width,
        ));
    }
    let causes: Vec<_> = finding
        .explained_by
        .iter()
        .map(|id| {
            open.iter()
                .find(|other| other.id == *id)
                .map_or(id.as_str(), |other| other.cause.as_str())
        })
        .collect();
    if !causes.is_empty() {
        let text = format!("symptom of {}", causes.join(", "));
        lines.extend(sentence(theme, "          ", &text, theme.accent(), width));
    }
    lines
}
