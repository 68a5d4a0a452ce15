//! One layer in full: every meter, every drop reason, latencies, what is blind.

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
use crate::output::glyphs::{layer_name, state_words, value};
use crate::output::human::{count, nanoseconds, percent};
use crate::output::text::scope;
use crate::output::words;
use crate::verdict::{LatencySummary, LayerFault, MeterKind, MeterRow};

pub(super) fn draw(app: &mut App, frame: &mut Frame) {
    let Some(view) = &app.view else { return };
    let Some(layer) = view.map.layers.get(app.selected) else {
        return;
    };
    let theme = app.theme;
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    header(app, view, frame, head);
    let lines = content(theme, layer, body.width);
    app.scroll = app
        .scroll
        .min(lines.len().saturating_sub(usize::from(body.height)));
    frame.render_widget(Paragraph::new(lines).scroll((app.scroll as u16, 0)), body);
    footer(
        app,
        frame,
        foot,
        "Esc back  ←→ layer  ↑↓ scroll  p pause  f findings  ? help  q quit",
    );
}

fn content(theme: Theme, layer: &LayerFault, width: u16) -> Vec<Line<'static>> {
    let title = format!(
        "{} {}: {}, {}",
        layer.layer,
        layer_name(layer),
        state_words(layer),
        value(layer)
    );
    let mut lines = vec![theme.rule(&title, theme.state(layer.state), width)];
    let totals = format!(
        " {} dropped · {} errors · {} freed for benign reasons, in this window",
        layer.drops, layer.errors, layer.benign_drops
    );
    lines.push(Line::from(theme.plain(&totals)));
    let mut section = |title: &str, rows: Vec<Line<'static>>| {
        if !rows.is_empty() {
            lines.push(Line::default());
            lines.push(theme.rule(title, BOLD, width));
            lines.extend(rows);
        }
    };
    section("Meters", meters(theme, layer, width));
    section("Drops by reason", drops(theme, layer, width));
    section("Failed connects", failed_connects(theme, layer, width));
    section(
        "Latency",
        layer
            .latency
            .iter()
            .flat_map(|(id, latency)| quantiles(theme, id, latency, width))
            .collect(),
    );
    let blind = layer.blind.iter().flat_map(|row| {
        sentence(
            theme,
            theme.glyphs.pick(" ╱ ", " / "),
            &format!("{}: {}", row.what, row.why),
            Style::new(),
            width,
        )
    });
    section("Blind", blind.collect());
    lines
}

fn meters(theme: Theme, layer: &LayerFault, width: u16) -> Vec<Line<'static>> {
    let mut lines: Vec<_> = layer
        .meters
        .iter()
        .flat_map(|row| meter(theme, row, width))
        .collect();
    if layer.meters_omitted > 0 {
        let more = format!(" {} more rows, less full", layer.meters_omitted);
        lines.push(Line::from(theme.span(&more, theme.faint())));
    }
    lines
}

/// Columns before a meter's use: name, bar, ratio.
const METER: usize = 42;

/// One line where everything fits, else a second one for the place.
fn meter(theme: Theme, row: &MeterRow, width: u16) -> Vec<Line<'static>> {
    let (filled, empty) = row.ratio.map_or_else(
        || (String::new(), theme.glyphs.pick("·", ".").repeat(8)),
        |ratio| theme.glyphs.ratio_bar(ratio, 8),
    );
    let ratio = row
        .ratio
        .map_or_else(|| "-".to_owned(), |ratio| percent(ratio.min(99.99)));
    let kind = match row.kind {
        MeterKind::Capacity => "",
        MeterKind::Indicator => "indicator",
    };
    let usage: Vec<_> = [words::usage(row), words::time_to_full(row), kind.to_owned()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let (usage, place) = (usage.join(" · "), scope(&row.scope));
    let room = usize::from(width).saturating_sub(METER);
    let both = format!("{usage} · {place}");
    let (first, second) = if both.chars().count() <= room {
        (both, None)
    } else {
        (usage, Some(place))
    };
    let mut lines = vec![Line::from(vec![
        theme.plain(&format!(" {:<23}[", theme.fit(&row.id, 22))),
        theme.span(&filled, theme.accent()),
        theme.span(&empty, theme.faint()),
        theme.plain(&format!("]{ratio:>6}  {}", theme.fit(&first, room))),
    ])];
    lines.extend(second.map(|place| {
        Line::from(theme.span(
            &format!("{:METER$}{}", "", theme.fit(&place, room)),
            theme.faint(),
        ))
    }));
    lines
}

fn drops(theme: Theme, layer: &LayerFault, width: u16) -> Vec<Line<'static>> {
    let row = |drop: &crate::verdict::DropReason| {
        let functions = drop
            .functions
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let segments = if drop.segments == drop.packets {
            String::new()
        } else {
            format!(" ({} segments)", drop.segments)
        };
        let text = format!(
            " {:>8} {:<13} {}{segments} · {} · {functions}",
            count(drop.packets as f64),
            drop.class,
            drop.reason,
            scope(&drop.scope),
        );
        let style = if drop.class == "benign" {
            theme.faint()
        } else {
            Style::new()
        };
        Line::from(theme.span(
            &theme.fit(text.trim_end_matches(" · "), usize::from(width)),
            style,
        ))
    };
    layer.drops_by_reason.iter().map(row).collect()
}

/// Failed connects by what ended them.
fn failed_connects(theme: Theme, layer: &LayerFault, width: u16) -> Vec<Line<'static>> {
    let row = |row: &crate::verdict::FailedConnects| {
        let text = format!(
            " {:>8} {} {} · {} · {}",
            count(row.count as f64),
            row.killed_by.layer.as_deref().unwrap_or("?"),
            row.killed_by.what,
            row.errno.as_deref().unwrap_or("given up"),
            scope(&row.scope),
        );
        Line::from(theme.plain(&theme.fit(&text, usize::from(width))))
    };
    let mut lines: Vec<_> = layer.failed_connects.iter().map(row).collect();
    if layer.failed_connects_omitted > 0 {
        let more = format!(" {} more in other rows", layer.failed_connects_omitted);
        lines.push(Line::from(theme.span(&more, theme.faint())));
    }
    lines
}

fn quantiles(theme: Theme, id: &str, latency: &LatencySummary, width: u16) -> Vec<Line<'static>> {
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| nanoseconds(ns as f64));
    let LatencySummary {
        count: completed,
        p50_ns,
        p90_ns,
        p99_ns,
        max_ns,
        in_flight,
        oldest_age_ns,
        unmeasured,
    } = latency;
    let oldest = if *in_flight == 0 {
        String::new()
    } else {
        format!(", the oldest for {}", nanoseconds(*oldest_age_ns as f64))
    };
    let unmeasured = if *unmeasured == 0 {
        String::new()
    } else {
        format!(", {unmeasured} unmeasured")
    };
    let head = format!(" {id}: {completed} completed, {in_flight} in flight{oldest}{unmeasured}");
    let quantiles = format!(
        "   p50 {} · p90 {} · p99 {} · max {}",
        time(*p50_ns),
        time(*p90_ns),
        time(*p99_ns),
        time(*max_ns)
    );
    [head, quantiles]
        .map(|text| Line::from(theme.plain(&theme.fit(&text, usize::from(width)))))
        .into()
}
