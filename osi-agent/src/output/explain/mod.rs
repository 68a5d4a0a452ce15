//! What a name on the screen means: a cause, a layer, a signal, a kernel drop reason. Read from the tables.

use std::fmt::Write as _;

use osi_common::drop::{self, Class, Reason};
use osi_common::layer::Layer;

use super::glyphs::Glyphs;
use super::text::{safe, wrap};
use crate::config::Failure;
use crate::layer::{Read, Signal, signals};
use crate::scope::{Iface, Netns, Scope, ScopeKind};
use crate::verdict::{
    CLEAR_WINDOWS, Cause, CauseClass, Confidence, Finding, FindingState, Impact, Onset, Severity,
    causes,
};

mod near;

use near::near;

const WIDTH: usize = 80;

/// The explanation of a name, or of everything there is with `list`. Upper and lower case are the same.
pub fn explain(name: &str, glyphs: Glyphs) -> Result<String, Failure> {
    let wanted = name.trim().replace([' ', '-'], "_");
    let is = |id: &str| id.eq_ignore_ascii_case(&wanted);
    let text = if is("list") {
        list()
    } else if let Some(layer) = Layer::ALL
        .into_iter()
        .find(|layer| is(layer.id()) || is(layer.name()))
    {
        of_layer(layer)
    } else if let Some(cause) = causes().find(|cause| is(cause.id)) {
        of_cause(cause)
    } else if let Some(signal) = signals().find(|signal| is(signal.id)) {
        of_signal(signal)
    } else {
        // The kernel writes them in capitals.
        drop::lookup(&wanted.to_ascii_uppercase())
            .map(of_drop)
            .ok_or_else(|| unknown(name))?
    };
    // Newlines are ours; everything between them is made fit for the terminal.
    Ok(text.lines().map(|line| glyphs.text(line) + "\n").collect())
}

fn unknown(name: &str) -> Failure {
    let known: Vec<_> = causes()
        .map(|cause| cause.id)
        .chain(signals().map(|signal| signal.id))
        .chain(Layer::ALL.into_iter().map(Layer::name))
        .chain(drop::all().map(|reason| reason.name))
        .collect();
    let near = near(drop::short_name(&name.trim().to_ascii_uppercase()), &known);
    let hint = if near.is_empty() {
        String::new()
    } else {
        format!(" did you mean {}?", near.join(", "))
    };
    Failure::usage(format!(
        "nothing is called `{}`;{hint} `osi-agent explain list` lists every cause, layer, signal and drop reason",
        safe(name)
    ))
}

fn list() -> String {
    let mut page = Page(String::new());
    for layer in Layer::TOP_DOWN {
        page.title(&format!(
            "{} {}",
            layer.id(),
            layer.name().replace('_', " ")
        ));
        for cause in causes().filter(|cause| cause.layer == layer) {
            page.row("  cause   ", &format!("{}: {}", cause.id, cause.help));
        }
        for signal in signals().filter(|signal| signal.layer == layer) {
            page.row("  signal  ", &format!("{}: {}", signal.id, signal.help));
        }
        for reason in drop::all().filter(|reason| reason.layer == layer) {
            page.row(
                "  drop    ",
                &format!("{}: {}", reason.name, reason.meaning),
            );
        }
    }
    page.0
}

fn of_layer(layer: Layer) -> String {
    let mut page = Page(String::new());
    page.title(&format!(
        "{} {}",
        layer.id(),
        layer.name().replace('_', " ")
    ));
    page.row("", meaning(layer));
    let names = |names: Vec<&str>| {
        if names.is_empty() {
            "none in this version".to_owned()
        } else {
            names.join(", ")
        }
    };
    page.row(
        "  causes    ",
        &names(
            causes()
                .filter(|cause| cause.layer == layer)
                .map(|cause| cause.id)
                .collect(),
        ),
    );
    let capacity =
        |signal: &&Signal| signal.layer == layer && matches!(signal.read, Read::Capacity(_));
    page.row(
        "  saturates ",
        &names(signals().filter(capacity).map(|signal| signal.id).collect()),
    );
    let rest =
        |signal: &&Signal| signal.layer == layer && !matches!(signal.read, Read::Capacity(_));
    page.row(
        "  signals   ",
        &names(signals().filter(rest).map(|signal| signal.id).collect()),
    );
    page.0
}

const fn meaning(layer: Layer) -> &'static str {
    match layer {
        Layer::L1 => {
            "Links: carrier, speed, errors, and the queues between the card and the CPUs. When it goes, everything goes."
        }
        Layer::L2 => {
            "Frames on one link: queueing disciplines, neighbours (ARP, NDP), bridges, XDP and tc programs."
        }
        Layer::L3 => "Packets between networks: routes, packet filters, fragments, tunnels.",
        Layer::L4 => {
            "Connections: ports, handshakes, retransmits, listen queues, connection tracking, socket memory."
        }
        Layer::L5 => "Sessions: established connections and the descriptors that hold them.",
        Layer::L6 => "Presentation: TLS handshakes.",
        Layer::L7 => {
            "Applications: whether processes accept, read and answer, and whether names resolve. Felt first."
        }
    }
}

fn of_cause(cause: &Cause) -> String {
    let Cause {
        id,
        layer,
        class,
        onset,
        severity,
        help,
        explained_by: _,
        thresholds,
        suspects: _,
        reads: _,
        detect: _,
        advise,
    } = cause;
    let mut page = Page(String::new());
    page.title(&format!(
        "{id}, a cause on {} {}",
        layer.id(),
        layer.name().replace('_', " ")
    ));
    page.row("", help);
    page.row("  kind      ", class_words(*class));
    page.row(
        "  severity  ",
        match severity {
            Severity::Warn => "warning",
            Severity::Critical => "critical",
        },
    );
    page.row(
        "  opens     ",
        match onset {
            Onset::Hard => "at once: the kernel names it",
            Onset::Statistical => "when its condition held in 2 of 3 windows",
            Onset::Sustained => "when its condition held in 3 windows in a row",
        },
    );
    page.row(
        "  closes    ",
        &format!("after {CLEAR_WINDOWS} windows without it"),
    );
    let explaining: Vec<_> = cause.explanations().map(|cause| cause.id).collect();
    if !explaining.is_empty() {
        page.row("  caused by ", &explaining.join(", "));
    }
    for threshold in *thresholds {
        page.row(
            "  limit     ",
            &format!(
                "{} = {}, in the configuration file under [causes.{id}]",
                threshold.name, threshold.default
            ),
        );
    }
    for advice in advise(&example(cause)) {
        page.row("  advice    ", &advice.text);
        page.command("  confirm   ", &advice.confirm);
        page.command("  change    ", &advice.change);
        page.row("  at cost   ", &advice.trade_off);
    }
    page.0
}

const fn class_words(class: CauseClass) -> &'static str {
    match class {
        CauseClass::Capacity => "capacity: a finite resource is full",
        CauseClass::Loss => "loss: packets disappear",
        CauseClass::Delay => "delay: something takes too long",
        CauseClass::Policy => "policy: somebody forbade it",
        CauseClass::Config => "configuration: something is set up wrongly",
        CauseClass::Peer => "peer: the other side",
        CauseClass::App => "application",
    }
}

/// A finding with documentation addresses and no measurement, so that advice can be shown without an incident.
fn example(cause: &Cause) -> Finding {
    let netns = Netns {
        inode: 0,
        cookie: 0,
        name: Some("host".to_owned()),
        ..Netns::default()
    };
    let iface = Some(Iface {
        ifindex: 2,
        name: "eth0".to_owned(),
    });
    let (local, remote) = ([192, 0, 2, 1].into(), [198, 51, 100, 7].into());
    let scope = Scope {
        kind: ScopeKind::Pool,
        iface,
        ..Scope::pool(&netns, local, remote, 443)
    };
    Finding {
        id: String::new(),
        state: FindingState::Open,
        cause: cause.id.to_owned(),
        layer: cause.layer.id().to_owned(),
        severity: cause.severity,
        scope,
        owner: None,
        evidence: Vec::new(),
        confidence: Confidence::Certain,
        explained_by: Vec::new(),
        impact: Impact::default(),
        summary: String::new(),
        opened_at: String::new(),
        resolved_at: None,
        quiet: None,
        age_windows: 0,
    }
}

fn of_signal(signal: &Signal) -> String {
    let Signal {
        id,
        layer,
        unit,
        source,
        scope: _,
        fed_by,
        since,
        help,
        read,
    } = signal;
    let mut page = Page(String::new());
    page.title(&format!(
        "{id}, a signal of {} {}",
        layer.id(),
        layer.name().replace('_', " ")
    ));
    page.row("", help);
    page.row(
        "  kind      ",
        match read {
            Read::Capacity(_) => {
                "capacity meter: at 100% the next unit is refused, delayed or dropped"
            }
            Read::Indicator(_) => "indicator: evidence only, never in the bar",
            Read::Errors(_) => "errors: counted in the layer's errors",
            Read::Traffic(_) => "traffic",
            Read::Drops(_) => "drops: counted in the layer's drops",
            Read::Latency(_) => "latency histogram, with what is in flight and its age",
        },
    );
    page.row("  unit      ", unit.name());
    page.row("  source    ", source.name());
    page.row("  fed by    ", &fed_by.join(", "));
    page.row("  since     ", &format!("Linux {since}"));
    page.0
}

fn of_drop(reason: &Reason) -> String {
    let Reason {
        name,
        layer,
        class,
        meaning,
        advice,
    } = reason;
    let mut page = Page(String::new());
    page.title(&format!(
        "{name}, a kernel drop reason on {} {}",
        layer.id(),
        layer.name().replace('_', " ")
    ));
    page.row("", meaning);
    page.row(
        "  class     ",
        match class {
            Class::Benign => "benign: normal life, opens nothing",
            Class::Policy => "policy: a rule forbade the packet",
            Class::Capacity => "capacity: a queue or table was full",
            Class::Corruption => "corruption: the packet was malformed",
            Class::Config => "configuration: something is set up wrongly",
            Class::Peer => "peer: the other side did not do its part",
            Class::Unclassified => "unclassified: shown, never blamed",
        },
    );
    page.row("  advice    ", advice);
    page.command("  confirm   ", "perf trace -e skb:kfree_skb");
    page.0
}

struct Page(String);

impl Page {
    fn title(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.command("", title);
    }

    fn row(&mut self, label: &str, text: &str) {
        let indent = label.chars().count();
        for (i, part) in wrap(text, WIDTH - indent).iter().enumerate() {
            if i == 0 {
                self.command(label, part);
            } else {
                self.command(&" ".repeat(indent), part);
            }
        }
    }

    /// On one line however long, for copying.
    fn command(&mut self, label: &str, text: &str) {
        if !text.is_empty() {
            // Writing to memory can not fail.
            let _ = writeln!(self.0, "{label}{text}");
        }
    }
}

#[cfg(test)]
mod tests;
