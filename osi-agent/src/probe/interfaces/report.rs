//! What is told of the interfaces: to the probes' statuses, and as blindness.

use osi_common::layer::Layer;

use super::Interfaces;
use crate::config::XdpMode;
use crate::probe::{ProbeState, ProbeStatus};
use crate::snapshot::Blind;

/// The layers that see less without the programs: bytes and bursts, frames, ICMP errors and the time to forward.
const LAYERS: [Layer; 3] = [Layer::L1, Layer::L2, Layer::L3];

/// Refused interfaces that are named in a window, on each layer.
const BLIND_INTERFACES: usize = 16;

impl Interfaces {
    /// Interfaces that deserve programs and have none, by the layers that see less for it.
    pub(in crate::probe) fn blind(&self) -> Vec<Blind> {
        let named = self.refused.iter().take(BLIND_INTERFACES);
        let rows = named.flat_map(|(iface, why)| {
            LAYERS.map(|layer| Blind {
                layer,
                what: format!("packets of {}", iface.name),
                why: why.clone(),
            })
        });
        rows.collect()
    }

    /// Adds to the probes' statuses what happened on the interfaces.
    pub(in crate::probe) fn report(&self, statuses: &mut [ProbeStatus]) {
        for status in statuses
            .iter_mut()
            .filter(|status| status.name == "tc" && status.state == ProbeState::Active)
        {
            let refused: Vec<_> = self
                .refused
                .iter()
                .map(|(iface, why)| format!("{}: {why}", iface.name))
                .collect();
            refuse(status, &refused, self.slots.is_empty());
            let carriers: Vec<_> = self
                .slots
                .iter()
                .map(|slot| slot.iface.name.as_str())
                .collect();
            status.measures = (!carriers.is_empty()).then(|| format!("on {}", carriers.join(", ")));
        }
        let xdp_refused: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| {
                Some(format!(
                    "{}: {}",
                    slot.iface.name,
                    slot.xdp_refused.as_ref()?
                ))
            })
            .collect();
        for status in statuses.iter_mut().filter(|status| status.name == "xdp") {
            refuse(
                status,
                &xdp_refused,
                !self.slots.iter().any(|slot| slot.xdp),
            );
        }
        let xdp_wanted = matches!(self.options.xdp, XdpMode::Native | XdpMode::Generic);
        for status in statuses
            .iter_mut()
            .filter(|status| status.name == "xdp" && !xdp_wanted)
        {
            status.state = ProbeState::Off;
        }
    }
}

/// Tells why interfaces go without a probe, and that it is at work on none where that is so.
fn refuse(status: &mut ProbeStatus, reasons: &[String], nowhere: bool) {
    if reasons.is_empty() {
        return;
    }
    status.reason = Some(reasons.join("; "));
    if nowhere {
        status.state = ProbeState::Unavailable;
        status.variant = None;
    }
}
