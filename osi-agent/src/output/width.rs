//! How wide a line of text may be: a terminal has a width, a pipe and a file have none.

use std::io;

use rustix::termios::{isatty, tcgetwinsize};

/// Where a terminal does not tell: what every terminal has.
const USUAL: usize = 80;

/// Narrower than this nothing can be read.
const NARROWEST: usize = 40;

/// Columns of standard output, `None` where it is no terminal. `COLUMNS`, where it is set, is believed first.
pub fn columns() -> Option<usize> {
    let stdout = io::stdout();
    let terminal =
        isatty(&stdout).then(|| tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col)));
    choose(std::env::var("COLUMNS").ok().as_deref(), terminal)
}

fn choose(asked: Option<&str>, terminal: Option<usize>) -> Option<usize> {
    let asked = asked
        .and_then(|text| text.trim().parse().ok())
        .filter(|columns: &usize| *columns > 0);
    let told = terminal.map(|columns| if columns == 0 { USUAL } else { columns });
    asked.or(told).map(|columns| columns.max(NARROWEST))
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn only_a_terminal_has_a_width_unless_one_is_asked_for() {
        assert_eq!(choose(None, None), None);
        assert_eq!(choose(None, Some(132)), Some(132));
        assert_eq!(choose(None, Some(0)), Some(80), "a serial line tells none");
        assert_eq!(choose(Some("100"), None), Some(100));
        assert_eq!(choose(Some("100"), Some(132)), Some(100));
        for nonsense in ["", "0", "wide", "-1"] {
            assert_eq!(choose(Some(nonsense), None), None, "{nonsense:?}");
        }
        assert_eq!(choose(Some("3"), None), Some(40));
    }
}
