//! The screens as text, drawn without a terminal.

use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::{Action, App, Cost, Info, Theme, View};
use crate::output::{fixture, glyphs::Glyphs};
use crate::verdict::FaultMap;

fn view(map: FaultMap) -> View {
    let info = Info {
        host: "web-1".to_owned(),
        kernel: "6.18.0".to_owned(),
        scope: "all".to_owned(),
        interval: Duration::from_secs(1),
    };
    let cost = Cost {
        uptime: Duration::from_secs(192),
        cpu_ratio: 0.004,
        rss_bytes: 23_000_000,
        lost_events: 0,
    };
    View {
        info: Arc::new(info),
        map,
        events: fixture::events(),
        cost,
    }
}

fn app(map: FaultMap, glyphs: Glyphs) -> App {
    let mut app = App::new(Theme {
        glyphs,
        color: true,
    });
    app.show(view(map));
    app
}

fn terminal(app: &mut App, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no I/O");
    terminal.draw(|frame| app.draw(frame)).expect("no I/O");
    terminal
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    let terminal = terminal(app, width, height);
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    rows.map(|row| {
        row.iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
            .trim_end()
            .to_owned()
            + "\n"
    })
    .collect()
}

fn press(app: &mut App, code: KeyCode) -> Action {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn an_incident_at_80_by_24() {
    let text = screen(&mut app(fixture::incident(), Glyphs::Unicode), 80, 24);
    insta(&text, include_str!("incident.txt"));
}

/// Compares with the kept picture; `BLESS=1` keeps the new one.
fn insta(text: &str, kept: &str) {
    if std::env::var_os("BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/output/tui/incident.txt");
        std::fs::write(path, text).expect("written");
    } else {
        assert_eq!(text, kept, "\n{text}");
    }
}

#[test]
fn a_calm_host_says_what_is_unseen_and_what_is_fullest() {
    let text = screen(&mut app(fixture::calm(), Glyphs::Unicode), 80, 24);
    for part in [
        "Verdict: OK",
        "can not rule out L6",
        "closest to full",
        "L1 link_rx",
        "24.1%",
        "2.41 Gbit/s / 10.0 Gbit/s",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(
        text.matches("╱╱╱╱").count(),
        3,
        "a hatched bar of twelve\n{text}"
    );
}

#[test]
fn no_terminal_is_too_small_or_too_wide() {
    for map in [fixture::calm(), fixture::incident(), fixture::hostile()] {
        for (width, height) in [(1, 1), (10, 3), (40, 10), (80, 24), (300, 100)] {
            for key in [
                KeyCode::Null,
                KeyCode::Enter,
                KeyCode::Char('f'),
                KeyCode::Char('?'),
            ] {
                let mut app = app(map.clone(), Glyphs::Unicode);
                press(&mut app, key);
                screen(&mut app, width, height);
            }
        }
    }
}

#[test]
fn the_state_is_in_colour_and_in_words() {
    let mut with = app(fixture::incident(), Glyphs::Unicode);
    let red = |terminal: &Terminal<TestBackend>| {
        terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .filter(|cell| cell.fg == Color::Red)
            .count()
    };
    assert!(red(&terminal(&mut with, 80, 24)) > 20);
    let mut without = App::new(Theme {
        glyphs: Glyphs::Ascii,
        color: false,
    });
    without.show(view(fixture::incident()));
    let drawn = terminal(&mut without, 80, 24);
    assert!(
        drawn
            .backend()
            .buffer()
            .content()
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
    let text = screen(&mut without, 80, 24);
    assert!(
        text.contains("CRITICAL") && text.contains("blind"),
        "{text}"
    );
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn the_help_names_the_marks_of_this_terminal() {
    let help = |glyphs| {
        let mut app = app(fixture::calm(), glyphs);
        press(&mut app, KeyCode::Char('?'));
        screen(&mut app, 80, 24)
    };
    let (unicode, ascii) = (help(Glyphs::Unicode), help(Glyphs::Ascii));
    assert!(unicode.contains("◀  the layer to fix"), "{unicode}");
    for part in [
        "<  the layer to fix",
        "....  no capacity",
        "Tab  in details",
    ] {
        assert!(ascii.contains(part), "{part} in\n{ascii}");
    }
    let questions = |text: &str| text.matches('?').count();
    assert!(
        ascii.is_ascii() && questions(&ascii) == questions(&unicode),
        "{ascii}"
    );
}

#[test]
fn hostile_names_can_not_reach_the_terminal() {
    let mut app = app(fixture::hostile(), Glyphs::Unicode);
    for key in [
        KeyCode::Null,
        KeyCode::Char('4'),
        KeyCode::Char('7'),
        KeyCode::Char('f'),
    ] {
        press(&mut app, key);
        let text = screen(&mut app, 120, 40);
        assert!(
            !text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{text:?}"
        );
    }
}

#[test]
fn details_show_meters_drops_latency_and_blindness() {
    let mut app = app(fixture::incident(), Glyphs::Unicode);
    assert_eq!(app.selected, 3, "the broken layer is selected first");
    assert_eq!(press(&mut app, KeyCode::Enter), Action::Redraw);
    let text = screen(&mut app, 80, 24);
    for part in [
        "L4 transport: CRITICAL, 99.0%",
        "99.0%  27951 / 28232 ports · full in 3.00 s",
        "  10.0.0.2 → 10.0.0.9:443",
        "1200 benign        QUEUE_PURGE",
        "p50 180 µs · p90 420 µs · p99 1.25 ms · max 2.10 ms",
        "3 in flight, the oldest for 120 ms",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    press(&mut app, KeyCode::Char('2'));
    assert!(screen(&mut app, 80, 24).contains("xdp_frames: xdp: off"));
    press(&mut app, KeyCode::Left);
    assert!(screen(&mut app, 80, 24).contains("L3 network"));
}

#[test]
fn findings_name_roots_first_and_symptoms_with_their_root() {
    let mut app = app(fixture::incident(), Glyphs::Unicode);
    press(&mut app, KeyCode::Char('f'));
    let text = screen(&mut app, 80, 24);
    let root = text.find("ephemeral_ports_exhausted").expect("root");
    let symptom = text.find("handshake_timeout").expect("symptom");
    assert!(
        root < symptom && text.contains("symptom of ephemeral_ports_exhausted"),
        "{text}"
    );
}

#[test]
fn what_is_over_is_not_shown_as_if_it_hurt_now() {
    let mut app = app(fixture::fading(), Glyphs::Unicode);
    for key in [KeyCode::Null, KeyCode::Char('f')] {
        press(&mut app, key);
        let text = screen(&mut app, 120, 40);
        assert!(
            text.contains("not seen for 3 s") && text.contains("5 clear windows, 3 so far"),
            "{text}"
        );
    }
}

#[test]
fn keys_do_what_the_help_says() {
    let mut app = app(fixture::incident(), Glyphs::Unicode);
    for (code, action) in [
        (KeyCode::Char('x'), Action::None),
        (KeyCode::Up, Action::Redraw),
        (KeyCode::Char('?'), Action::Redraw),
        (KeyCode::Esc, Action::Redraw),
        (KeyCode::Char('q'), Action::Quit),
    ] {
        assert_eq!(press(&mut app, code), action);
    }
    assert_eq!(app.selected, 2);
    let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    assert_eq!(
        (app.key(control('c')), app.key(control('z'))),
        (Action::Quit, Action::Suspend)
    );
    press(&mut app, KeyCode::Char('?'));
    assert!(screen(&mut app, 80, 24).contains("the layer to fix"));
}

#[test]
fn a_paused_picture_stands_still_and_loses_no_event() {
    let mut app = app(fixture::calm(), Glyphs::Unicode);
    press(&mut app, KeyCode::Char('p'));
    assert!(!app.show(view(fixture::incident())));
    assert!(!app.show(view(fixture::incident())));
    let text = screen(&mut app, 80, 24);
    assert!(
        text.contains("PAUSED") && text.contains("Verdict: OK"),
        "{text}"
    );
    press(&mut app, KeyCode::Char('p'));
    let text = screen(&mut app, 80, 24);
    assert!(
        !text.contains("PAUSED") && text.contains("Verdict: CRITICAL"),
        "{text}"
    );
    assert_eq!(app.events.len(), 6);
}

#[test]
fn scrolling_stops_at_the_end() {
    let mut app = app(fixture::incident(), Glyphs::Unicode);
    press(&mut app, KeyCode::End);
    let text = screen(&mut app, 80, 24);
    assert!(
        text.contains("may clash") && !text.contains("more lines"),
        "{text}"
    );
    let at_end = app.scroll;
    press(&mut app, KeyCode::PageUp);
    assert!(app.scroll < at_end);
}

#[test]
fn the_selection_follows_the_broken_layer_until_a_key_moves_it() {
    let mut app = app(fixture::calm(), Glyphs::Unicode);
    app.show(view(fixture::incident()));
    assert_eq!(app.selected, 3);
    press(&mut app, KeyCode::Down);
    app.show(view(fixture::incident()));
    assert_eq!(app.selected, 4);
}
