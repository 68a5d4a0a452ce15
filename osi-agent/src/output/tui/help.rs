//! The help overlay: keys, and what the words on the screen mean.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

use super::Theme;
use super::theme::BOLD;
use crate::output::glyphs::Glyphs;

/// Key or mark in Unicode, the same in ASCII, and what it means.
const TEXT: &[(&str, &str, &str)] = &[
    ("↑ ↓  j k", "j k", "select a layer, or scroll"),
    ("Enter  1…7", "Enter  1-7", "details of the layer"),
    ("← →", "Tab", "in details: the next layer"),
    ("f", "f", "all open findings"),
    ("PgUp PgDn", "PgUp PgDn", "scroll the verdict"),
    ("p", "p", "pause the picture; measuring goes on"),
    ("Esc", "Esc", "back"),
    ("q", "q", "quit"),
    ("", "", ""),
    (
        "bar",
        "bar",
        "fullest finite resource of the layer; at 100%",
    ),
    ("", "", "the next unit is refused, delayed or dropped"),
    ("◀", "<", "the layer to fix; others may only suffer from it"),
    ("blind", "blind", "can not be seen, and never counts as ok"),
    ("····", "....", "no capacity known, so no ratio"),
    (
        "confirm",
        "confirm",
        "a command that shows the same; changes nothing",
    ),
];

pub(super) fn draw(theme: Theme, frame: &mut Frame) {
    let lines: Vec<_> = TEXT
        .iter()
        .map(|(unicode, ascii, meaning)| {
            let key = theme.glyphs.pick(*unicode, *ascii);
            Line::from(vec![
                theme.span(&format!("{key:>11}  "), BOLD),
                theme.plain(meaning),
            ])
        })
        .collect();
    let area = frame.area();
    let (width, height) = (
        64.min(area.width),
        (lines.len() as u16 + 2).min(area.height),
    );
    let middle = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let border = match theme.glyphs {
        Glyphs::Unicode => Block::bordered().border_type(BorderType::Rounded),
        Glyphs::Ascii => Block::new(),
    };
    frame.render_widget(Clear, middle);
    frame.render_widget(
        Paragraph::new(lines).block(border.title(" Help ").border_style(theme.accent())),
        middle,
    );
}
