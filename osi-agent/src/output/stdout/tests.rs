//! Real pipes: readers that stop, leave, or are merely slow.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, PipeReader, Read as _, pipe};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{End, Rank, Stdout};
use crate::config::{Exit, Failure};

fn start(limit: usize) -> (Stdout, PipeReader, mpsc::Receiver<Failure>) {
    let (reader, writer) = pipe().expect("a pipe");
    let (closed, on_close) = mpsc::channel();
    let count = Box::new(|dropped| format!("stats {dropped}\n").into_bytes());
    let on_closed = Box::new(move |why| closed.send(why).expect("the test listens"));
    (
        Stdout::to(writer.into(), limit, count, on_closed).expect("a thread"),
        reader,
        on_close,
    )
}

/// A line of exactly this length, with its number.
fn line(word: &str, number: usize, length: usize) -> Vec<u8> {
    let mut line = format!("{word} {number} ");
    line.extend(std::iter::repeat_n('x', length - line.len() - 1));
    line.push('\n');
    line.into_bytes()
}

fn wait_until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_reading_reader_gets_everything_in_order() {
    // Room for all of it: a busy machine may let the reader wait.
    let (stdout, mut reader, _closed) = start(16 << 20);
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("UTF-8");
        text
    });
    for i in 0..2000 {
        stdout.line(Rank::Map, line("map", i, 1 + 37 * (i % 300) + 20));
    }
    assert_eq!(stdout.finish(Duration::from_secs(10)), End::Drained);
    let text = read.join().expect("read");
    let numbers: Vec<_> = text
        .lines()
        .map(|line| line.split(' ').nth(1).expect("a number").to_owned())
        .collect();
    assert_eq!(
        numbers,
        (0..2000).map(|i| i.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn a_stopped_reader_stops_nobody_and_gets_whole_lines_with_an_exact_count() {
    let (stdout, reader, _closed) = start(100_000);
    let begin = Instant::now();
    let mut made = 0;
    for i in 0..500 {
        for _ in 0..4 {
            stdout.line(Rank::Event, line("event", i, 300));
        }
        stdout.line(Rank::Map, line("map", i, 9000));
        made += 5;
        if i % 100 == 0 {
            stdout.line(Rank::Finding, line("finding", i, 500));
            made += 1;
        }
    }
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "the loop waited for its reader"
    );
    let lines = BufReader::new(reader).lines();
    // The reader wakes up: it must find whole lines only, and what is missing must be counted.
    let read =
        std::thread::spawn(move || lines.map(|line| line.expect("UTF-8")).collect::<Vec<_>>());
    assert_eq!(stdout.finish(Duration::from_secs(10)), End::Drained);
    let lines = read.join().expect("read");
    let of = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    let dropped: usize = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("stats "))
        .expect("losses are told")
        .parse()
        .expect("a number");
    assert_eq!(dropped + of("event") + of("map") + of("finding"), made);
    assert_eq!(of("finding"), 5, "findings go last");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("stats") || line.ends_with('x')),
        "no torn line"
    );
    assert!(
        lines.last().is_some_and(|line| line.starts_with("map 499")),
        "the newest map is kept"
    );
}

#[test]
fn a_stopped_reader_does_not_hang_the_end_and_finds_no_torn_line() {
    let (stdout, mut reader, _closed) = start(4 << 20);
    for i in 0..200 {
        stdout.line(Rank::Map, line("map", i, 9001));
    }
    let begin = Instant::now();
    assert_eq!(stdout.finish(Duration::from_millis(200)), End::GaveUp);
    assert!(begin.elapsed() < Duration::from_secs(1));
    // The thread lets go of the pipe by itself, so the reader sees an end.
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8");
    assert!(!text.is_empty() && text.ends_with('\n'));
    assert!(text.lines().all(|line| line.len() == 9000), "no torn line");
}

#[test]
fn a_reader_that_leaves_is_noticed_even_without_a_line() {
    let (stdout, reader, closed) = start(4 << 20);
    drop(reader);
    closed
        .recv_timeout(Duration::from_secs(5))
        .expect("noticed while idle");
    assert!(stdout.closed());
    stdout.line(Rank::Map, b"x\n".to_vec());
    let silent = Failure::new(Exit::OutputClosed, "");
    assert_eq!(stdout.finish(Duration::from_secs(1)), End::Closed(silent));
}

#[test]
fn a_full_disk_is_told_and_is_no_reader_that_left() {
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a device of every Linux");
    let (closed, on_close) = mpsc::channel();
    let stdout = Stdout::to(
        full.into(),
        4 << 20,
        Box::new(|_| Vec::new()),
        Box::new(move |why| closed.send(why).expect("the test listens")),
    )
    .expect("a thread");
    stdout.line(Rank::Map, b"x\n".to_vec());
    let why = on_close
        .recv_timeout(Duration::from_secs(5))
        .expect("noticed");
    assert_eq!(why.exit, Exit::Failed);
    assert!(why.message.contains("No space left"), "{why}");
    assert_eq!(stdout.finish(Duration::from_secs(1)), End::Closed(why));
}

#[test]
fn a_reader_that_leaves_while_the_pipe_is_full_is_noticed() {
    let (stdout, reader, closed) = start(4 << 20);
    for i in 0..100 {
        stdout.line(Rank::Map, line("map", i, 9000));
    }
    std::thread::sleep(Duration::from_millis(50));
    drop(reader);
    closed
        .recv_timeout(Duration::from_secs(5))
        .expect("noticed");
    wait_until(|| stdout.closed());
}

#[test]
fn a_line_larger_than_the_pipe_still_arrives() {
    let (stdout, mut reader, _closed) = start(4 << 20);
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).expect("read");
        text.len()
    });
    stdout.line(Rank::Map, line("map", 0, 300_000));
    assert_eq!(stdout.finish(Duration::from_secs(10)), End::Drained);
    assert_eq!(read.join().expect("read"), 300_000);
}
