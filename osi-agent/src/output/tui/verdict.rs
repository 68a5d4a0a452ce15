//! The verdict on the main screen: what broke, the proof, the advice; or that nothing did, and what is closest to it.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::Theme;
use super::theme::BOLD;
use crate::output::human::percent;
use crate::output::text::{self, wrap};
use crate::output::words;
use crate::verdict::{FaultMap, LayerState, MeterKind, MeterRow, Verdict, VerdictState};

pub(super) fn lines(theme: Theme, map: &FaultMap, width: u16) -> Vec<Line<'static>> {
    let verdict = &map.verdict;
    if verdict.state == VerdictState::Ok {
        calm(theme, map, width)
    } else {
        broken(theme, map, verdict, width)
    }
}

/// Nothing is wrong: say so, say what is unseen, and show what is closest to full.
fn calm(theme: Theme, map: &FaultMap, width: u16) -> Vec<Line<'static>> {
    let mut lines = sentence(theme, "", &map.verdict.summary, BOLD, width);
    lines.extend(unseen(theme, &map.verdict, width));
    let capacity = |row: &&MeterRow| {
        row.kind == MeterKind::Capacity && row.ratio.is_some_and(|ratio| ratio > 0.0)
    };
    let mut meters: Vec<_> = map
        .layers
        .iter()
        .flat_map(|layer| {
            layer
                .meters
                .iter()
                .filter(capacity)
                .map(move |row| (layer, row))
        })
        .collect();
    meters.sort_by(|(_, a), (_, b)| {
        b.ratio
            .unwrap_or_default()
            .total_cmp(&a.ratio.unwrap_or_default())
    });
    if !meters.is_empty() {
        lines.push(Line::default());
        lines.push(Line::from(theme.span(" closest to full", theme.faint())));
    }
    for (layer, row) in meters.into_iter().take(6) {
        let text = format!(
            " {} {:<20} {:>6}  {} · {}",
            layer.layer,
            row.id,
            percent(row.ratio.unwrap_or_default()),
            words::usage(row),
            text::scope(&row.scope)
        );
        lines.push(Line::from(
            theme.plain(&theme.fit(&text, usize::from(width))),
        ));
    }
    lines
}

fn broken(theme: Theme, map: &FaultMap, verdict: &Verdict, width: u16) -> Vec<Line<'static>> {
    let style = theme.verdict(verdict.state);
    let since = verdict.since.as_deref().map_or_else(String::new, |at| {
        format!("  since {}", words::time_of_day(at))
    });
    let mut lines = vec![Line::from(vec![
        theme.span(theme.glyphs.pick(" ● ", " * "), style),
        theme.span(&words::root(map).unwrap_or_default(), style),
        theme.span(&since, theme.faint()),
    ])];
    let fading = words::fading(verdict.quiet);
    lines.extend(
        fading
            .iter()
            .flat_map(|fading| sentence(theme, "   ", fading, theme.accent(), width)),
    );
    lines.extend(sentence(theme, "   ", &verdict.summary, BOLD, width));
    for advice in &verdict.advice {
        lines.extend(sentence(
            theme,
            theme.glyphs.pick(" → ", " > "),
            &advice.text,
            Style::new(),
            width,
        ));
        lines.extend(command(theme, "   confirm  ", &advice.confirm, width));
        lines.extend(command(theme, "   change   ", &advice.change, width));
    }
    for row in &verdict.evidence {
        let text = format!("{} {}  {}", row.signal, words::measured(row), row.why);
        lines.push(labelled(theme, "   evidence ", &text, width));
    }
    if let Some(hits) = verdict.impact.and_then(words::impact) {
        lines.push(labelled(theme, "   hits     ", &hits, width));
    }
    if !verdict.symptoms.is_empty() {
        lines.push(labelled(
            theme,
            "   explains ",
            &words::references(&verdict.symptoms),
            width,
        ));
    }
    if !verdict.other_roots.is_empty() {
        lines.push(labelled(
            theme,
            "   also     ",
            &words::references(&verdict.other_roots),
            width,
        ));
    }
    lines.extend(unseen(theme, verdict, width));
    for advice in verdict
        .advice
        .iter()
        .filter(|advice| !advice.trade_off.is_empty())
    {
        lines.extend(sentence(
            theme,
            "   at cost  ",
            &advice.trade_off,
            theme.faint(),
            width,
        ));
    }
    lines
}

fn unseen(theme: Theme, verdict: &Verdict, width: u16) -> Option<Line<'static>> {
    (!verdict.cannot_rule_out.is_empty()).then(|| {
        let text = format!(
            " can not rule out {}: not or not fully visible",
            verdict.cannot_rule_out.join(", ")
        );
        Line::from(theme.span(
            &theme.fit(&text, usize::from(width)),
            theme.state(LayerState::Blind),
        ))
    })
}

fn labelled(theme: Theme, label: &str, text: &str, width: u16) -> Line<'static> {
    let room = usize::from(width).saturating_sub(label.chars().count());
    Line::from(vec![
        theme.span(label, theme.faint()),
        theme.plain(&theme.fit(text, room)),
    ])
}

/// A command, whole: where it does not fit it goes on in the next line, with the shell's own sign for that, so that what is
/// copied from the screen runs.
fn command(theme: Theme, label: &str, text: &str, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width).saturating_sub(label.chars().count() + 3);
    let parts = wrap(&theme.glyphs.text(text), room);
    let last = parts.len().saturating_sub(1);
    let line = |(i, part): (usize, String)| {
        let label = if i == 0 {
            label.to_owned()
        } else {
            " ".repeat(label.chars().count())
        };
        let tail = if i == last { "" } else { " \\" };
        Line::from(vec![
            theme.span(&label, theme.faint()),
            theme.span(&format!("{part}{tail}"), theme.accent()),
        ])
    };
    parts.into_iter().enumerate().map(line).collect()
}

pub(super) fn sentence(
    theme: Theme,
    first: &str,
    text: &str,
    style: Style,
    width: u16,
) -> Vec<Line<'static>> {
    let indent = if first.is_empty() {
        1
    } else {
        first.chars().count()
    };
    let parts = wrap(
        &theme.glyphs.text(text),
        usize::from(width).saturating_sub(indent + 1),
    );
    let line = |(i, part): (usize, String)| {
        let label = if i == 0 {
            format!("{first:indent$}")
        } else {
            " ".repeat(indent)
        };
        Line::from(vec![
            theme.span(&label, Style::new()),
            Span::styled(part, style),
        ])
    };
    parts.into_iter().enumerate().map(line).collect()
}
