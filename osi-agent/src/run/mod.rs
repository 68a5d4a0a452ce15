//! The commands: one thread owns the state and folds it once per window; everything else wakes it or draws for it.

use std::time::Duration;

use anyhow::Context as _;
use osi_common::layer::Layer;

use crate::config::{Exit, FailOn, Settings};
use crate::output::json::{BlindLayer, Bye, Hello, LayerTotals};
use crate::output::tui;
use crate::sandbox;
use crate::verdict::{BlindRow, FaultMap, VerdictState};

mod checks;

mod doctor;

mod edge;

mod front;

mod missed;

mod owners;

mod rule_sets;

mod session;

pub use doctor::doctor;

use edge::{Edges, Wake};
use front::Front;
use session::Session;

/// Windows between two `stats` lines.
const STATS_EVERY: u64 = 10;
/// How long the last lines may wait for a slow reader.
const FLUSH: Duration = Duration::from_secs(2);

/// `osi-agent watch`.
pub fn watch(settings: Settings) -> anyhow::Result<Exit> {
    sandbox::begin().context("cannot give up privileges")?;
    let (edges, starter) = Edges::start(tui::give_back)?;
    let mut session = Session::open(settings, "watch")?;
    if let Err(why) = checks::probes(session.probes()) {
        session.close();
        return Err(why).context("run `osi-agent doctor` for the whole list");
    }
    session.confine().context("cannot give up privileges")?;
    let mut front = Front::open(&session, edges.sender())?;
    front.hello(&hello(&session));
    starter.go(session.settings().interval, session.settings().duration);
    let mut totals = Totals::new();
    let reason = loop {
        match edges.next() {
            Wake::Window => {
                let folded = session.fold();
                totals.add(&folded.map);
                let due = session.windows().is_multiple_of(STATS_EVERY);
                let stats = due.then(|| session.stats(front.dropped()));
                front.window(folded, stats.as_ref());
            }
            Wake::Quit => break "quit",
            Wake::Duration => break "duration",
            Wake::Signal => break "signal",
            Wake::Closed(why) => {
                session.close();
                return Err(why.into());
            }
        }
    };
    // What happened since the last window is shown, too: the sums are right up to the end.
    let (state, folded) = (totals.last, session.fold());
    totals.add(&folded.map);
    if u128::from(folded.map.window_ns) < session.settings().interval.as_nanos() / 2 {
        // Too short to judge by: rates over a moment are no rates.
        totals.last = state;
    }
    front.window(folded, None);
    let stats = session.stats(front.dropped());
    let bye = Bye {
        reason: reason.to_owned(),
        windows: session.windows(),
        layers: totals.layers,
        lost_events: stats.lost_events,
    };
    let exit = match session.settings().fail_on {
        Some(limit) if limit.hit(totals.last) => Exit::FailOn,
        Some(FailOn::Warn | FailOn::Critical) | None => Exit::Done,
    };
    let told = front.bye(&stats, &bye, FLUSH);
    session.close();
    told?;
    Ok(exit)
}

fn hello(session: &Session) -> Hello {
    let mut blind: Vec<BlindLayer> = Vec::new();
    for row in session.blind() {
        let why = BlindRow {
            what: row.what,
            why: row.why,
        };
        match blind.iter_mut().find(|layer| layer.layer == row.layer.id()) {
            Some(layer) => layer.why.push(why),
            None => blind.push(BlindLayer {
                layer: row.layer.id().to_owned(),
                why: vec![why],
            }),
        }
    }
    Hello {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: session.kernel_release().to_owned(),
        boot_id: session.boot_id().to_owned(),
        interval_ns: session.settings().interval.as_nanos() as u64,
        netns: session.settings().netns.to_string(),
        probes: session.probes().to_vec(),
        blind,
    }
}

/// What the last line sums up.
struct Totals {
    layers: Vec<LayerTotals>,
    last: VerdictState,
}

impl Totals {
    fn new() -> Self {
        let zero = |layer: Layer| LayerTotals {
            layer: layer.id().to_owned(),
            drops: 0,
            errors: 0,
            benign_drops: 0,
        };
        Self {
            layers: Layer::TOP_DOWN.map(zero).into(),
            last: VerdictState::Ok,
        }
    }

    fn add(&mut self, map: &FaultMap) {
        self.last = map.verdict.state;
        for (total, layer) in self.layers.iter_mut().zip(&map.layers) {
            total.drops += layer.drops;
            total.errors += layer.errors;
            total.benign_drops += layer.benign_drops;
        }
    }
}
