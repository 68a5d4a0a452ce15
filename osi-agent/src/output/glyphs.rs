//! Bars and marks, in Unicode or plain ASCII, the same for text blocks and the screen.

use super::human::percent;
use super::text::safe;
use crate::verdict::{Coverage, LayerFault, LayerState};

/// What a terminal or file can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Block elements, arrows.
    Unicode,
    /// For locales that are not UTF-8.
    Ascii,
}

impl Glyphs {
    /// What the locale promises: `LC_ALL`, else `LC_CTYPE`, else `LANG`.
    fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"))
            .unwrap_or_default();
        let locale = locale.to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }

    /// What the environment's locale promises.
    pub fn of_environment() -> Self {
        Self::of_locale(|variable| std::env::var(variable).ok())
    }

    /// One or the other.
    pub const fn pick<T: Copy>(self, unicode: T, ascii: T) -> T {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }

    /// Text of ours for this terminal: arrows and dots become ASCII; other people's letters become `?` there.
    pub fn text(self, text: &str) -> String {
        let text = safe(text);
        match self {
            Self::Unicode => text.into_owned(),
            Self::Ascii => text
                .chars()
                .fold(String::with_capacity(text.len()), |mut shown, c| {
                    match c {
                        '→' => shown.push_str("->"),
                        '←' => shown.push_str("<-"),
                        '↑' => shown.push('^'),
                        '↓' => shown.push('v'),
                        '▶' => shown.push('>'),
                        '◀' => shown.push('<'),
                        '╱' => shown.push('/'),
                        '░' => shown.push('.'),
                        '█'..='▏' => shown.push('#'),
                        '≤' => shown.push_str("<="),
                        '·' | '●' => shown.push('*'),
                        '…' => shown.push_str("..."),
                        'µ' => shown.push('u'),
                        '≥' => shown.push_str(">="),
                        '─' | '–' | '—' => shown.push('-'),
                        '×' => shown.push('x'),
                        c if c.is_ascii() => shown.push(c),
                        _ => shown.push('?'),
                    }
                    shown
                }),
        }
    }

    /// The filled and the empty part of a layer's bar. Clamped at full; hatched where nothing can be seen.
    pub fn bar(self, layer: &LayerFault, width: usize) -> (String, String) {
        if layer.state == LayerState::Blind {
            return (String::new(), self.pick("╱", "/").repeat(width));
        }
        match layer.saturation_ratio {
            None => (String::new(), self.pick("·", ".").repeat(width)),
            Some(ratio) => self.ratio_bar(ratio, width),
        }
    }

    /// A bar for a ratio, in eighths of a character where there are such.
    pub fn ratio_bar(self, ratio: f64, width: usize) -> (String, String) {
        let steps = self.pick(8, 1);
        let total = width * steps;
        let full = (ratio.clamp(0.0, 1.0) * total as f64) as usize;
        // Anything in use shows, and only full is full.
        let full = if ratio > 0.0 { full.max(1) } else { full };
        let full = if ratio < 1.0 {
            full.min(total.saturating_sub(1))
        } else {
            full
        };
        let mut filled = self.pick("█", "#").repeat(full / steps);
        if !full.is_multiple_of(steps) {
            filled.push(['▏', '▎', '▍', '▌', '▋', '▊', '▉'][full % steps - 1]);
        }
        let empty = width - filled.chars().count();
        (filled, self.pick("░", ".").repeat(empty))
    }
}

/// The value beside the bar, five characters at most.
pub fn value(layer: &LayerFault) -> String {
    match layer.saturation_ratio {
        Some(ratio) if layer.state != LayerState::Blind => percent(ratio.min(99.99)),
        Some(_) | None => "-".to_owned(),
    }
}

/// A layer's state in words, so that colour is never the only carrier.
pub fn state_words(layer: &LayerFault) -> &'static str {
    match (layer.state, layer.coverage) {
        (LayerState::Ok, Coverage::Full) => "ok",
        (LayerState::Ok, Coverage::Partial) => "ok, partly blind",
        (LayerState::Warn, _) => "WARN",
        (LayerState::Critical, _) => "CRITICAL",
        (LayerState::Blind, _) => "blind",
    }
}

/// A layer's name for people.
pub fn layer_name(layer: &LayerFault) -> String {
    layer.name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::{Glyphs, state_words, value};
    use crate::output::fixture;

    #[test]
    fn bars_are_full_only_when_full() {
        let bar = |ratio| {
            let (filled, empty) = Glyphs::Unicode.ratio_bar(ratio, 8);
            assert_eq!(filled.chars().count() + empty.chars().count(), 8);
            filled + &empty
        };
        assert_eq!(bar(0.0), "░░░░░░░░");
        assert_eq!(bar(0.001), "▏░░░░░░░");
        assert_eq!(bar(0.5), "████░░░░");
        assert_eq!(bar(0.9999), "███████▉");
        assert_eq!(bar(1.0), "████████");
        assert_eq!(bar(7.0), "████████");
        assert_eq!(
            Glyphs::Ascii.ratio_bar(0.99, 4),
            ("###".to_owned(), ".".to_owned())
        );
    }

    #[test]
    fn blind_is_never_shown_as_ok() {
        let map = fixture::calm();
        assert_eq!(
            Glyphs::Ascii.bar(&map.layers[1], 4),
            (String::new(), "////".to_owned())
        );
        assert_eq!(
            (value(&map.layers[1]).as_str(), state_words(&map.layers[1])),
            ("-", "blind")
        );
        assert_eq!(state_words(&map.layers[5]), "ok, partly blind");
        assert_eq!(
            (value(&map.layers[3]).as_str(), state_words(&map.layers[3])),
            ("10.7%", "ok")
        );
    }

    #[test]
    fn the_locale_decides() {
        let of = |pairs: &[(&str, &str)]| {
            Glyphs::of_locale(|name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("LANG", "C.UTF-8")]), Glyphs::Unicode);
        assert_eq!(
            of(&[("LANG", "de_DE.utf8"), ("LC_ALL", "C")]),
            Glyphs::Ascii
        );
        assert_eq!(of(&[]), Glyphs::Ascii);
        assert_eq!(Glyphs::Ascii.text("a → b… 5 µs ü"), "a -> b... 5 us ?");
    }

    #[test]
    fn marks_of_ours_have_an_ascii_twin() {
        let (filled, empty) = Glyphs::Unicode.ratio_bar(0.99, 4);
        let ours = format!("→←↑↓▶◀╱─·●…µ≥≤–—×{filled}{empty}░");
        let shown = Glyphs::Ascii.text(&ours);
        assert!(shown.is_ascii() && !shown.contains('?'), "{shown}");
    }
}
