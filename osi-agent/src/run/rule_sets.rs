//! Whose rule sets are read: only where somebody misses packets that a filter dropped, because they may be thousands of rules.

use std::path::Path;

use crate::layer::LayerMap;
use crate::layer::l3_network::netfilter::{by_rules, is_nftables};
use crate::verdict::FaultMap;

/// The cause whose findings name rules.
const CAUSE: &str = "packet_filtered";

/// There while nf_tables is a module and loaded.
const MODULE: &str = "/sys/module/nf_tables";

/// Inodes of the namespaces whose rule sets are to be read in the next pass, after this window.
pub(super) fn wanted(layers: &LayerMap, map: &FaultMap) -> Vec<u32> {
    let open = map.open.iter().filter(|finding| finding.cause == CAUSE);
    let open: Vec<_> = open
        .filter_map(|finding| Some(finding.scope.netns.as_ref()?.inode))
        .collect();
    if open.is_empty() || !may_ask(layers, || Path::new(MODULE).exists()) {
        return Vec::new();
    }
    open
}

/// Whether nf_tables is there: to ask would load it. Where it is part of the kernel no module is shown, but what drops is there.
fn may_ask(layers: &LayerMap, is_loaded: impl FnOnce() -> bool) -> bool {
    let mut functions = by_rules(layers).flat_map(|row| &row.functions);
    functions.any(|(function, _)| is_nftables(function)) || is_loaded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{self, Window};
    use crate::scope::Netns;
    use crate::snapshot::{DropKey, NetnsState, Snapshot};
    use crate::verdict::cause;

    /// A window in which this function dropped a packet.
    fn layers(function: &str) -> LayerMap {
        let netns = Netns {
            inode: 7,
            cookie: 7,
            name: None,
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

    #[test]
    fn the_cause_has_this_name() {
        assert!(cause(CAUSE).is_some());
    }
}
