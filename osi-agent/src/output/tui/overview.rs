//! The main screen: who is watched, seven bars, the verdict with its evidence, the latest events, the keys.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::app::App;
use super::theme::BOLD;
use super::{Theme, View, verdict};
use crate::output::glyphs::{Glyphs, layer_name, state_words, value};
use crate::output::human::{age, percent, quantity};
use crate::output::words;
use crate::verdict::{LayerFault, LayerState};

/// Rows of the event tail that stay even beside a long verdict.
const FEWEST_EVENTS: usize = 2;

pub(super) fn draw(app: &mut App, frame: &mut Frame) {
    let theme = app.theme;
    let area = frame.area();
    let Some(view) = &app.view else {
        waiting(theme, frame);
        return;
    };
    let body = verdict::lines(theme, &view.map, area.width);
    let room = usize::from(area.height).saturating_sub(2 + 8 + 1 + 1 + 1);
    let shown = body.len().min(room.saturating_sub(FEWEST_EVENTS));
    let [head, bars, verdict_area, events, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(8),
        Constraint::Length(1 + shown as u16),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    header(app, view, frame, head);
    frame.render_widget(Paragraph::new(layers(app, view, bars.width)), bars);
    app.scroll = app.scroll.min(body.len() - shown);
    let hidden = body.len() - shown - app.scroll;
    let more = if hidden == 0 {
        String::new()
    } else {
        format!(" · {hidden} more lines, PgDn")
    };
    let title = format!("Verdict: {}{more}", words::state(view.map.verdict.state));
    let mut lines = vec![theme.rule(&title, theme.verdict(view.map.verdict.state), area.width)];
    lines.extend(body.into_iter().skip(app.scroll).take(shown));
    frame.render_widget(Paragraph::new(lines), verdict_area);
    frame.render_widget(Paragraph::new(tail(app, events)), events);
    footer(
        app,
        frame,
        foot,
        "q quit  ? help  p pause  ↑↓ layer  Enter details  f findings",
    );
}

fn waiting(theme: Theme, frame: &mut Frame) {
    let text = theme.span("The first window is being measured…", theme.faint());
    let middle = Rect {
        y: frame.area().height / 2,
        height: frame.area().height.min(1),
        ..frame.area()
    };
    frame.render_widget(Paragraph::new(text).alignment(Alignment::Center), middle);
}

pub(super) fn header(app: &App, view: &View, frame: &mut Frame, area: Rect) {
    let theme = app.theme;
    let View {
        info,
        map,
        cost,
        events: _,
    } = view;
    let left = Line::from(vec![
        theme.span(" osi-agent ", BOLD.add_modifier(Modifier::REVERSED)),
        theme.span("  which layer broke?", theme.faint()),
    ]);
    let host = format!("{} · {} ", info.host, info.kernel);
    two_sided(
        theme,
        left,
        &theme.fit(&host, usize::from(area.width).saturating_sub(34)),
        frame,
        Rect { height: 1, ..area },
    );
    let interval = humantime::format_duration(info.interval);
    let mut left = vec![theme.plain(&format!(
        " {} UTC · netns {} · every {interval}",
        words::time_of_day(&map.at),
        info.scope
    ))];
    if app.paused {
        left.push(theme.span("  PAUSED", theme.state(LayerState::Warn)));
    }
    let lost = if cost.lost_events > 0 {
        format!(" · {} events lost", cost.lost_events)
    } else {
        String::new()
    };
    let right = format!(
        "up {} · agent {} CPU, {}{lost} ",
        age(cost.uptime),
        percent(cost.cpu_ratio),
        quantity(cost.rss_bytes as f64, "bytes"),
    );
    two_sided(
        theme,
        Line::from(left),
        &right,
        frame,
        Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1).min(1),
            ..area
        },
    );
}

/// Left text, and right text where both fit.
fn two_sided(theme: Theme, left: Line<'static>, right: &str, frame: &mut Frame, area: Rect) {
    let right = theme.glyphs.text(right);
    let fits = left.width() + right.chars().count() < usize::from(area.width);
    frame.render_widget(Paragraph::new(left), area);
    if fits {
        let right = Line::styled(right, theme.faint()).alignment(Alignment::Right);
        let width = right.width() as u16;
        frame.render_widget(
            Paragraph::new(right),
            Rect {
                x: area.right() - width,
                width,
                ..area
            },
        );
    }
}

fn layers(app: &App, view: &View, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![app.theme.rule("Rate of saturation → 100%", BOLD, width)];
    let root = view.map.verdict.layer.as_deref();
    for (position, layer) in view.map.layers.iter().enumerate() {
        lines.push(bar_row(
            app.theme,
            layer,
            position == app.selected,
            root == Some(&layer.layer),
            width,
        ));
    }
    lines
}

/// `▶L4 transport    [███████████▉] 99.0% CRITICAL         ◀ 412 errors · ephemeral_ports …`
fn bar_row(
    theme: Theme,
    layer: &LayerFault,
    selected: bool,
    root: bool,
    width: u16,
) -> Line<'static> {
    let width = usize::from(width);
    let bar = (width / 4).saturating_sub(8).clamp(12, 40);
    let state = theme.state(layer.state);
    let (filled, empty) = theme.glyphs.bar(layer, bar);
    let name = if selected { BOLD } else { Style::new() };
    let empty_style = if layer.state == LayerState::Blind {
        state
    } else {
        theme.faint()
    };
    let left = 1 + 3 + 13 + bar + 2 + 6 + 1 + 17;
    let pointer = if root {
        theme.glyphs.pick("◀ ", "< ")
    } else {
        ""
    };
    let beside = theme.fit(
        &format!("{pointer}{}", words::beside(layer)),
        width.saturating_sub(left),
    );
    Line::from(vec![
        Span::styled(
            if selected {
                theme.glyphs.pick("▶", ">")
            } else {
                " "
            },
            theme.accent(),
        ),
        Span::styled(
            format!("{} ", layer.layer),
            name.add_modifier(Modifier::BOLD),
        ),
        Span::styled(format!("{:<13}", layer_name(layer)), name),
        Span::raw("["),
        Span::styled(filled, state),
        Span::styled(empty, empty_style),
        Span::raw("]"),
        Span::styled(
            format!("{:>6} ", value(layer)),
            if root { BOLD } else { Style::new() },
        ),
        Span::styled(format!("{:<17}", state_words(layer)), state),
        Span::styled(beside, if root { BOLD } else { theme.faint() }),
    ])
}

fn tail(app: &App, area: Rect) -> Vec<Line<'static>> {
    let theme = app.theme;
    let mut lines = vec![theme.rule("Events", BOLD, area.width)];
    let rows = usize::from(area.height).saturating_sub(1);
    if app.events.is_empty() {
        lines.push(Line::from(theme.span(" none yet", theme.faint())));
    }
    for event in app.events.iter().rev().take(rows) {
        let time = format!(" {} ", words::time_of_day(&event.at));
        let text = theme.fit(
            &words::event(event),
            usize::from(area.width).saturating_sub(time.chars().count()),
        );
        lines.push(Line::from(vec![
            theme.span(&time, theme.faint()),
            theme.plain(&text),
        ]));
    }
    lines
}

pub(super) fn footer(app: &App, frame: &mut Frame, area: Rect, keys: &str) {
    let theme = app.theme;
    let keys = match theme.glyphs {
        Glyphs::Unicode => keys.to_owned(),
        Glyphs::Ascii => keys.replace("↑↓", "jk").replace("←→", "Tab"),
    };
    let text = format!(
        " {}",
        theme.fit(&keys, usize::from(area.width).saturating_sub(1))
    );
    frame.render_widget(
        Paragraph::new(Line::from(theme.span(&text, theme.faint()))),
        area,
    );
}
