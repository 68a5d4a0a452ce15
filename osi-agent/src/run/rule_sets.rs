//! Whose rule sets are read, and when: only where somebody misses packets that a filter dropped, and then now and then, because
//! they may be thousands of rules.

use std::collections::BTreeMap;
use std::path::Path;

use crate::layer::LayerMap;
use crate::layer::l3_network::netfilter::{by_rules, is_nftables};
use crate::snapshot::{Filters, Snapshot};
use crate::verdict::{Evidence, FaultMap};

/// The cause whose findings name rules.
const CAUSE: &str = "packet_filtered";

/// There while nf_tables is a module and loaded.
const MODULE: &str = "/sys/module/nf_tables";

/// Windows of a finding in which its rule set is asked for at once: two readings tell which counters grow.
const AT_ONCE: u64 = 4;

/// After that, two windows in a row of so many.
const ROUND: u64 = 16;

/// Readings that were not whole and named nobody, after which nobody asks again.
const IN_VAIN: u32 = 2;

/// How often the rule set of each namespace with an open finding was asked for: dumps of thousands of rules take the kernel
/// and the helper many milliseconds, and a finding may stay open for days.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<u32, Row>);

#[derive(Debug, Default)]
struct Row {
    /// Windows of the finding in which its condition held.
    windows: u64,
    /// When the rule set was last read.
    read_ns: u64,
    in_vain: u32,
}

impl Asked {
    /// Inodes of the namespaces whose rule sets are to be read in the next pass, after this window.
    pub(super) fn next(&mut self, now: &Snapshot, layers: &LayerMap, map: &FaultMap) -> Vec<u32> {
        let open = map.open.iter().filter(|finding| finding.cause == CAUSE);
        let open: BTreeMap<_, _> = open
            .filter_map(|finding| Some((finding.scope.netns.as_ref()?.inode, finding)))
            .collect();
        self.0.retain(|inode, _| open.contains_key(inode));
        if open.is_empty() || !may_ask(layers, || Path::new(MODULE).exists()) {
            return Vec::new();
        }
        let wanted = open.into_iter().filter(|(inode, finding)| {
            let mut states = now.namespaces.iter();
            let state = states.find(|state| state.netns.inode == *inode);
            let row = self.0.entry(*inode).or_default();
            let named = finding.evidence.iter().any(Evidence::names_place);
            row.is_due(
                state.map(|state| &state.filters),
                named,
                finding.quiet.is_none(),
            )
        });
        wanted.map(|(inode, _)| inode).collect()
    }
}

impl Row {
    /// Counts a window, in which the condition held or did not, and tells whether to ask after it.
    fn is_due(&mut self, filters: Option<&Filters>, named: bool, holds: bool) -> bool {
        if let Some(filters) = filters.filter(|filters| filters.places.read_ns > self.read_ns) {
            self.read_ns = filters.places.read_ns;
            self.in_vain += u32::from(!filters.complete && !named);
        }
        let window = self.windows;
        self.windows += u64::from(holds);
        let due = match window.checked_sub(AT_ONCE) {
            None => true,
            Some(later) => later % ROUND >= ROUND - 2,
        };
        due && self.in_vain < IN_VAIN
    }
}

/// Whether nf_tables is there: to ask would load it. Where it is part of the kernel no module is shown, but what drops is there.
fn may_ask(layers: &LayerMap, is_loaded: impl FnOnce() -> bool) -> bool {
    let mut functions = by_rules(layers).flat_map(|row| row.functions);
    functions.any(|(function, _)| is_nftables(&function)) || is_loaded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{self, Window};
    use crate::scope::Netns;
    use crate::snapshot::{DropKey, NetnsState};
    use crate::verdict::cause;

    /// A window in which this function dropped a packet.
    fn layers(function: &str) -> LayerMap {
        let netns = Netns {
            inode: 7,
            cookie: 7,
            name: None,
            ..Netns::default()
        };
        let mut now = Snapshot::default();
        now.namespaces.push(NetnsState::unread(&netns));
        let key = DropKey {
            reason: "NETFILTER_DROP".into(),
            function: function.into(),
            netns: 7,
        };
        now.kernel.drops.entry(key).or_default().count = 1;
        let window = Window {
            previous: &Snapshot::default(),
            now: &now,
            single_netns: false,
        };
        layer::fold(&window, &|_| None)
    }

    #[test]
    fn nothing_is_loaded_by_asking() {
        assert!(may_ask(&layers("nf_hook_slow"), || true));
        assert!(may_ask(&layers("nft_do_chain"), || false));
        assert!(!may_ask(&layers("nf_hook_slow"), || false));
    }

    /// The windows of a finding, from 0, after which its rule set is asked for.
    fn asked(windows: u64, complete: bool, named: bool) -> Vec<u64> {
        let mut row = Row::default();
        let mut filters = Filters {
            complete,
            ..Filters::default()
        };
        let mut due = Vec::new();
        for window in 0..windows {
            if row.is_due(Some(&filters), named, true) {
                due.push(window);
                filters.places.read_ns += 1;
            }
        }
        due
    }

    #[test]
    fn a_rule_set_is_asked_for_now_and_then() {
        let often = [0, 1, 2, 3, 18, 19, 34, 35];
        assert_eq!(asked(48, true, false), often);
        assert_eq!(asked(48, false, true), often);
        assert_eq!(asked(48, false, false), [0, 1]);
    }

    #[test]
    fn windows_without_drops_do_not_count() {
        let mut row = Row::default();
        assert!((0..100).all(|_| row.is_due(None, false, false)));
        assert_eq!((0..5).filter(|_| row.is_due(None, false, true)).count(), 4);
    }

    #[test]
    fn the_cause_has_this_name() {
        assert!(cause(CAUSE).is_some());
    }
}
