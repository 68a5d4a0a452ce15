//! One block of text per window, for pipes, logs and terminals that can not be drawn on. No control characters.

use std::fmt::Write as _;

use super::glyphs::{Glyphs, layer_name, state_words, value};
use super::text::{cut, wrap};
use super::words;
use crate::verdict::{FaultMap, Verdict, VerdictState};

/// A window as text: the verdict first, the seven layers, then evidence and advice when something is open.
///
/// With a width, sentences are broken and the layers' lines cut there; without one, every line is whole, for `grep`.
pub fn render(map: &FaultMap, glyphs: Glyphs, width: Option<usize>) -> String {
    let mut block = Block {
        text: String::new(),
        glyphs,
        width: width.unwrap_or(usize::MAX),
    };
    block.head(map);
    for layer in &map.layers {
        let (filled, empty) = glyphs.bar(layer, 12);
        let (name, value, state) = (layer_name(layer), value(layer), state_words(layer));
        let beside = words::beside(layer);
        block.line(&format!(
            "  {} {name:<12} [{filled}{empty}] {value:>5} {state:<16} {beside}",
            layer.layer
        ));
    }
    block.verdict(&map.verdict);
    block.text.push('\n');
    block.text
}

struct Block {
    text: String,
    glyphs: Glyphs,
    width: usize,
}

impl Block {
    fn head(&mut self, map: &FaultMap) {
        let state = words::state(map.verdict.state);
        let at = map.at.get(..19).unwrap_or(&map.at);
        let root = words::root(map).unwrap_or_else(|| map.verdict.summary.clone());
        self.wrapped(&format!("{at}Z {state} "), &root);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        if verdict.state == VerdictState::Ok {
            self.uncertain(verdict);
            return;
        }
        if let Some(fading) = words::fading(verdict.quiet) {
            self.wrapped("  quiet:    ", &fading);
        }
        self.wrapped("  verdict:  ", &verdict.summary);
        if let Some(hits) = verdict.impact.and_then(words::impact) {
            self.wrapped("  hits:     ", &hits);
        }
        for evidence in &verdict.evidence {
            self.wrapped(
                "  evidence: ",
                &format!(
                    "{} {}: {}",
                    evidence.signal,
                    words::measured(evidence),
                    evidence.why
                ),
            );
        }
        if !verdict.symptoms.is_empty() {
            self.wrapped("  explains: ", &words::references(&verdict.symptoms));
        }
        if !verdict.other_roots.is_empty() {
            self.wrapped("  also:     ", &words::references(&verdict.other_roots));
        }
        self.uncertain(verdict);
        for advice in &verdict.advice {
            self.wrapped("  advice:   ", &advice.text);
            // Commands are for copying: one line, however long.
            self.command("  confirm:  ", &advice.confirm);
            self.command("  change:   ", &advice.change);
            self.wrapped("  at cost:  ", &advice.trade_off);
        }
    }

    fn uncertain(&mut self, verdict: &Verdict) {
        if !verdict.cannot_rule_out.is_empty() {
            self.wrapped(
                "  unseen:   ",
                &format!("can not rule out {}", verdict.cannot_rule_out.join(", ")),
            );
        }
    }

    fn command(&mut self, label: &str, command: &str) {
        if !command.is_empty() {
            let command = self.glyphs.text(command);
            // Writing to memory can not fail.
            let _ = writeln!(self.text, "{label}{command}");
        }
    }

    fn wrapped(&mut self, label: &str, text: &str) {
        let indent = label.chars().count();
        for (i, part) in wrap(&self.glyphs.text(text), self.width.saturating_sub(indent))
            .iter()
            .enumerate()
        {
            if i == 0 {
                self.line(&format!("{label}{part}"));
            } else {
                self.line(&format!("{:indent$}{part}", ""));
            }
        }
    }

    fn line(&mut self, line: &str) {
        let line = match self.glyphs {
            Glyphs::Unicode => super::text::safe(line).into_owned(),
            Glyphs::Ascii => self.glyphs.text(line),
        };
        let ellipsis = self.glyphs.pick('…', '~');
        // Writing to memory can not fail.
        let _ = writeln!(self.text, "{}", cut(line.trim_end(), self.width, ellipsis));
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::output::{fixture, glyphs::Glyphs};

    #[test]
    fn an_incident_leads_with_the_layer_to_fix() {
        let text = render(&fixture::incident(), Glyphs::Unicode, Some(80));
        let expected = "\
2026-11-22T15:00:42Z CRITICAL L4 transport: ephemeral_ports_exhausted (certain)
  L7 application  [▎░░░░░░░░░░░]  3.0% ok               queueing_share listener…
  L6 presentation [╱╱╱╱╱╱╱╱╱╱╱╱]     - blind            tc: Operation not permi…
  L5 session      [▏░░░░░░░░░░░]  2.0% ok               host_descriptors host
  L4 transport    [███████████▉] 99.0% CRITICAL         412 errors · ephemeral_…
  L3 network      [░░░░░░░░░░░░]    0% ok
  L2 data link    [▏░░░░░░░░░░░]  1.2% ok, partly blind neighbor_entries host
  L1 physical     [██▉░░░░░░░░░] 24.1% ok               link_rx eth0
  verdict:  No local port is left from 10.0.0.2 to 10.0.0.9:443: 412 connects
            failed.
  hits:     412 connections, 38.0% of the attempts or traffic, 1 peer
  evidence: port_exhausted 412 events: connect() found no local port in this
            window
  evidence: ephemeral_ports 27951 ports: of 28232 that ip_local_port_range
            allows towards this destination
  explains: L4 handshake_timeout
  unseen:   can not rule out L6
  advice:   27951 of 28232 local ports are in use towards 10.0.0.9:443; reuse
            connections or widen the range
  confirm:  ss -Htan dst 10.0.0.9:443 | wc -l
  change:   sysctl -w net.ipv4.ip_local_port_range='1024 65535'
  at cost:  ports below 32768 may clash with services that bind later

";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn without_a_width_every_line_is_whole() {
        let text = render(&fixture::incident(), Glyphs::Unicode, None);
        assert!(!text.contains('…'), "{text}");
        for line in [
            "  L6 presentation [╱╱╱╱╱╱╱╱╱╱╱╱]     - blind            tc: Operation not permitted (os error 1)",
            "  verdict:  No local port is left from 10.0.0.2 to 10.0.0.9:443: 412 connects failed.",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{text}");
        }
    }

    #[test]
    fn what_is_over_is_not_told_as_if_it_hurt_now() {
        let text = render(&fixture::fading(), Glyphs::Unicode, None);
        for part in [
            "CRITICAL L4 transport: ephemeral_ports_exhausted (certain, not seen for 3 s)\n",
            "  quiet:    not seen for 3 s, what is told here is from then; closes after 5 clear windows, 3 so far\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let hurting = render(&fixture::incident(), Glyphs::Unicode, None);
        assert!(!hurting.contains("not seen") && !hurting.contains("quiet"));
    }

    #[test]
    fn a_calm_host_takes_few_lines_and_names_what_is_unseen() {
        let text = render(&fixture::calm(), Glyphs::Ascii, Some(80));
        assert!(
            text.starts_with("2026-11-22T15:00:42Z OK Nothing is broken"),
            "{text}"
        );
        assert!(text.contains("can not rule out L6"), "{text}");
        assert!(text.is_ascii());
        assert_eq!(text.lines().count(), 10);
    }

    #[test]
    fn hostile_names_are_harmless() {
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let text = render(&fixture::hostile(), glyphs, Some(80));
            assert!(
                !text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
                "{text:?}"
            );
            let commands =
                |line: &&str| !line.starts_with("  confirm:") && !line.starts_with("  change:");
            assert!(
                text.lines()
                    .filter(commands)
                    .all(|line| line.chars().count() <= 80),
                "{text}"
            );
        }
    }
}
