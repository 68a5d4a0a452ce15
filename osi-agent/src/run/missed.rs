//! Calls that the kernel did not make: a program that is interrupted on a CPU is not run a second time there.

use osi_common::layer::Layer;

use crate::layer::signals;
use crate::probe::ProbeRuns;
use crate::probe::table::probe_of;
use crate::snapshot::Blind;

/// Layers that drops belong to.
const LAYERS: [Layer; 3] = [Layer::L2, Layer::L3, Layer::L4];

/// What was not seen between two readings of the programs' own counters.
pub(super) fn blindness(now: &[ProbeRuns], before: &[ProbeRuns]) -> Vec<Blind> {
    let mut blind = Vec::new();
    for program in now {
        let earlier = before.iter().find(|earlier| earlier.name == program.name);
        let missed =
            program.misses - earlier.map_or(0, |earlier| earlier.misses.min(program.misses));
        if missed == 0 {
            continue;
        }
        let row = |layer| Blind {
            layer,
            what: format!("missed calls of {}", program.name),
            why: format!("{missed} calls came while the program was interrupted on that CPU"),
        };
        blind.extend(layers(&program.name).into_iter().map(row));
    }
    blind
}

fn layers(program: &str) -> Vec<Layer> {
    let Some(probe) = probe_of(program).filter(|probe| !probe.feeds.contains(&"drop")) else {
        return LAYERS.into();
    };
    let mut layers: Vec<_> = signals()
        .filter(|signal| signal.fed_by.contains(&probe.name))
        .map(|signal| signal.layer)
        .collect();
    layers.sort_unstable();
    layers.dedup();
    if layers.is_empty() {
        // It feeds events only; the kernel counts the same by itself.
        layers.push(Layer::L4);
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_and_at_its_layers() {
        let runs = |name: &str, misses| ProbeRuns {
            name: name.to_owned(),
            events: None,
            ns_per_event: None,
            misses,
        };
        let before = [runs("inet_sock_set_state", 3), runs("kfree_skb", 5)];
        let now = [runs("inet_sock_set_state", 7), runs("kfree_skb", 5)];
        let told = blindness(&now, &before);
        let layers = told.iter().map(|row| row.layer);
        assert!(layers.eq([Layer::L4, Layer::L5, Layer::L7]), "{told:?}");
        assert!(told[0].why.starts_with("4 calls"));
        let layers: Vec<_> = blindness(&before, &[])
            .iter()
            .map(|row| row.layer)
            .collect();
        let dropped = [Layer::L2, Layer::L3, Layer::L4];
        let missed = [Layer::L4, Layer::L5, Layer::L7];
        assert_eq!(layers, [&missed[..], &dropped].concat());
        let told = blindness(&[runs("tcp_send_reset", 1)], &[]);
        assert_eq!(told.len(), 1, "{told:?}");
    }
}
