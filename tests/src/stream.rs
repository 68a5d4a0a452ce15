//! One line of the agent's NDJSON stream, and the sums that scenarios take over many.

use std::fmt;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::report;

/// How many of the last fault maps a failure message shows.
const SHOWN: usize = 4;
/// How many of the last openings and ends of findings.
const SHOWN_FINDINGS: usize = 16;

/// A line that was read, parsed and held against the schema.
#[derive(Clone, Debug)]
pub struct Line {
    value: Value,
}

impl Line {
    /// Wraps a parsed line.
    pub fn new(value: Value) -> Self {
        Self { value }
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its `type`.
    pub fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap_or("")
    }

    /// Whether it is a fault map.
    pub fn is_fault_map(&self) -> bool {
        self.kind() == "fault_map"
    }

    /// Its `ts`.
    pub fn time(&self) -> Result<SystemTime> {
        let text = self.value["ts"].as_str().context("a line has no ts")?;
        humantime::parse_rfc3339(text).with_context(|| format!("{text} is no RFC 3339 time"))
    }

    /// The verdict of a fault map.
    pub fn verdict(&self) -> &Value {
        &self.value["verdict"]
    }

    /// The first value of the verdict's evidence for a signal.
    pub fn evidence(&self, signal: &str) -> Option<f64> {
        let mut evidence = rows(self.verdict(), "evidence");
        evidence.find(|row| row["signal"] == signal)?["value"].as_f64()
    }

    /// Whether a row of the verdict's evidence says all of these words.
    pub fn evidence_says(&self, words: &[&str]) -> bool {
        rows(self.verdict(), "evidence").any(|row| {
            let why = row["why"].as_str().unwrap_or_default();
            words.iter().all(|word| why.contains(word))
        })
    }

    /// The cause that the verdict names.
    pub fn cause(&self) -> Option<&str> {
        self.verdict()["cause"].as_str()
    }

    /// One layer of a fault map, by `L1` to `L7`.
    pub fn layer(&self, name: &str) -> &Value {
        self.value["layers"]
            .as_array()
            .and_then(|layers| layers.iter().find(|layer| layer["layer"] == name))
            .unwrap_or(&Value::Null)
    }

    /// Whether a fault map says of a layer that it is blind, or partly, in these words.
    pub fn is_blind(&self, layer: &str, words: &[&str]) -> bool {
        rows(self.layer(layer), "blind").any(|row| {
            let why = row["why"].as_str().unwrap_or_default();
            words.iter().all(|word| why.contains(word))
        })
    }

    /// Packets that one reason took on a layer, over all scopes of the line.
    pub fn dropped(&self, layer: &str, reason: &str) -> u64 {
        rows(self.layer(layer), "drops_by_reason")
            .filter(|row| row["reason"] == reason)
            .filter_map(|row| row["packets"].as_u64())
            .sum()
    }

    /// The rows of one meter on a layer.
    pub fn meters<'a>(&'a self, layer: &str, id: &'a str) -> impl Iterator<Item = &'a Value> {
        rows(self.layer(layer), "meters").filter(move |row| row["id"] == id)
    }

    /// The figure of one latency signal, such as `count`.
    pub fn latency(&self, layer: &str, id: &str, figure: &str) -> Option<u64> {
        self.layer(layer)["latency"][id][figure].as_u64()
    }

    /// Packets on an interface, in direction `rx` or `tx`, in the size class that ends at `upper` bytes.
    pub fn packets_up_to(&self, upper: u64, iface: &str, direction: &str) -> u64 {
        let class = |row: &Value| {
            let bounds = row["upper_bytes"].as_array()?;
            let at = bounds.iter().position(|bound| *bound == upper)?;
            row["packets"][at].as_u64()
        };
        rows(self.layer("L2"), "packet_sizes")
            .filter(|row| row["scope"]["iface"]["name"] == iface && row["direction"] == direction)
            .filter_map(class)
            .sum()
    }

    /// Events that a `stats` or `bye` line reports as lost since the start.
    pub fn lost_events(&self) -> Option<u64> {
        self.value["lost_events"].as_u64()
    }

    /// Calls of all programs that the kernel says it did not make, as a `stats` line tells.
    pub fn misses(&self) -> u64 {
        rows(&self.value, "probes")
            .filter_map(|probe| probe["misses"].as_u64())
            .sum()
    }

    /// Whether a fault map lists a finding as open.
    pub fn has_open(&self, finding: &str) -> bool {
        rows(&self.value, "open_findings").any(|id| id == finding)
    }
}

/// What a person needs of a line when a scenario fails.
impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = &self.value;
        match self.kind() {
            "fault_map" => {
                let verdict = self.verdict();
                write!(
                    out,
                    "{} fault_map {}: {} {} {} ({}) {}",
                    text(&value["ts"]),
                    value["seq"],
                    text(&verdict["state"]),
                    text(&verdict["layer"]),
                    text(&verdict["cause"]),
                    text(&verdict["confidence"]),
                    text(&verdict["summary"]),
                )?;
                for key in ["symptoms", "other_roots"] {
                    for row in rows(verdict, key) {
                        write!(out, "\n    {key}: {}", text(&row["cause"]))?;
                    }
                }
                for layer in rows(value, "layers").filter(|layer| layer["state"] != "blind") {
                    write!(
                        out,
                        "\n    {} {} drops {} errors {} saturation {} by {}",
                        text(&layer["layer"]),
                        text(&layer["state"]),
                        layer["drops"],
                        layer["errors"],
                        layer["saturation_ratio"],
                        text(&layer["limiting_meter"]),
                    )?;
                }
                Ok(())
            }
            "finding" => write!(
                out,
                "{} finding {} {}: {} {} in {}",
                text(&value["ts"]),
                text(&value["id"]),
                text(&value["state"]),
                text(&value["layer"]),
                text(&value["cause"]),
                value["scope"],
            ),
            _ => write!(out, "{value}"),
        }
    }
}

/// How long things took in a window, as far as any ended: `tls_handshake 12 ≤ 340 ms`, with their number and the 99th percentile.
fn times(map: &Line) -> String {
    let layers = rows(map.value(), "layers").filter_map(|layer| layer["latency"].as_object());
    let times = layers.flatten().filter_map(|(id, figures)| {
        let figure = |name: &str| figures[name].as_u64();
        let (count, p99_ns) = (figure("count")?, figure("p99_ns")?);
        Some(format!("{id} {count} ≤ {} ms", p99_ns / 1_000_000))
    });
    times.collect::<Vec<_>>().join(", ")
}

/// The elements of an array field, none when it is missing.
pub fn rows<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object[key].as_array().into_iter().flatten()
}

/// Whether an event carries an errno, as a number or by name.
pub fn is_errno(event: &Value, number: i32, name: &str) -> bool {
    event["errno"] == number || event["errno"] == name
}

/// Σ `count` of the events that match.
pub fn event_count(lines: &[Line], kind: &str, matches: impl Fn(&Value) -> bool) -> u64 {
    lines
        .iter()
        .filter(|line| line.kind() == "event" && line.value()["kind"] == kind)
        .filter(|line| matches(line.value()))
        .filter_map(|line| line.value()["count"].as_u64())
        .sum()
}

/// A figure of every fault map, summed.
pub fn sum(lines: &[Line], figure: impl Fn(&Line) -> u64) -> u64 {
    lines
        .iter()
        .filter(|line| line.is_fault_map())
        .map(figure)
        .sum()
}

/// Fails unless `counted` is what was `offered`, but for calls that the kernel says it did not make: a program that is
/// interrupted is not run again on that CPU meanwhile. On a machine at full speed there are none.
pub fn ensure_counted(lines: &[Line], what: &str, offered: u64, counted: u64) -> Result<()> {
    let missed = missed(lines);
    ensure(
        lines,
        counted <= offered && offered - counted <= missed,
        || format!("{offered} {what} were offered, {counted} counted and {missed} calls missed"),
    )
}

/// The same for what is followed from call to call: where the end of a connection is missed, what was open on it stays so, and
/// counts for whoever has its place next.
pub fn ensure_followed(lines: &[Line], id: &str, offered: u64) -> Result<()> {
    let counted = sum(lines, |map| map.latency("L7", id, "count").unwrap_or(0));
    let open = in_flight(lines, "L7", id);
    let missed = missed(lines);
    ensure(
        lines,
        counted.abs_diff(offered) <= missed && open.is_some_and(|open| open <= missed),
        || {
            format!(
                "{offered} {id} were offered, {counted} counted, {open:?} are said to be in flight at the end, and {missed} calls missed"
            )
        },
    )
}

/// The growth of a counter of L2 on an interface, all windows together.
pub fn counted(lines: &[Line], id: &str, iface: &str) -> u64 {
    grown(lines, "L2", |row| {
        row["id"] == id && row["scope"]["iface"]["name"] == iface
    })
}

/// The growth of a counter of a layer in all its scopes, all windows together.
pub fn growth(lines: &[Line], layer: &str, id: &str) -> u64 {
    grown(lines, layer, |row| row["id"] == id)
}

fn grown(lines: &[Line], layer: &str, matches: impl Fn(&Value) -> bool) -> u64 {
    sum(lines, |map| {
        rows(map.layer(layer), "counters")
            .filter(|row| matches(row))
            .filter_map(|row| row["delta"].as_u64())
            .sum()
    })
}

/// Whether nothing is said to be in flight at the end that this latency measures.
pub fn ensure_none_in_flight(lines: &[Line], layer: &str, id: &str) -> Result<()> {
    let open = in_flight(lines, layer, id);
    ensure(lines, open == Some(0), || {
        format!("{open:?} of {id} are said to be in flight at the end")
    })
}

fn in_flight(lines: &[Line], layer: &str, id: &str) -> Option<u64> {
    let last = lines.iter().rfind(|line| line.is_fault_map())?;
    last.latency(layer, id, "in_flight")
}

/// Calls that the kernel says it did not make in the whole run.
fn missed(lines: &[Line]) -> u64 {
    stats(lines).next_back().map_or(0, Line::misses)
}

/// The lines in which the agent tells of itself; the last one holds for the whole run.
pub fn stats(lines: &[Line]) -> impl DoubleEndedIterator<Item = &Line> {
    lines.iter().filter(|line| line.kind() == "stats")
}

/// Handshakes that a latency signal counted, measured and unmeasured together.
pub fn handshakes(lines: &[Line], signal: &str) -> u64 {
    let figure = |map: &Line, name: &str| map.latency("L4", signal, name).unwrap_or(0);
    sum(lines, |map| {
        figure(map, "count") + figure(map, "unmeasured")
    })
}

/// Fails with the sentence, which tells the figures of both sides, and the story of the stream, unless `condition` holds.
/// If it holds, the sentence is said as well, so that a run shows what was equal.
pub fn ensure(lines: &[Line], condition: bool, sentence: impl FnOnce() -> String) -> Result<()> {
    if condition {
        return Ok(report::say("compared", &sentence())?);
    }
    Err(anyhow!("{}\n{}", sentence(), story(lines)))
}

/// What a person needs of a stream when a scenario fails: the findings, the times of all windows and the last fault maps.
pub fn story(lines: &[Line]) -> String {
    let maps: Vec<_> = lines.iter().filter(|line| line.is_fault_map()).collect();
    let missed = missed(lines);
    let mut story = vec![format!(
        "the agent said {} lines, {} of them fault maps, and {missed} calls were missed:",
        lines.len(),
        maps.len()
    )];
    // An update says of an open finding that it goes on.
    let findings = lines
        .iter()
        .filter(|line| line.kind() == "finding" && line.value()["state"] != "update");
    let skipped = findings.clone().count().saturating_sub(SHOWN_FINDINGS);
    let findings = findings.skip(skipped);
    story.extend(findings.map(|line| format!("  {line}")));
    story.extend(maps.iter().map(|map| {
        let value = map.value();
        format!("  {} {}: {}", text(&value["ts"]), value["seq"], times(map))
    }));
    let last = maps.iter().skip(maps.len().saturating_sub(SHOWN));
    story.extend(last.map(|line| format!("  {line}")));
    story.join("\n")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
