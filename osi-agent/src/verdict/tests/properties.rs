//! Whatever happens, in whatever order.

use std::collections::BTreeMap;

use osi_common::occurrence::Kind;
use proptest::prelude::*;

use super::builder::{
    CLIENT, World, drop_packets, far, listener, mib, near, neighbour, occur, peer, state, traffic,
};
use crate::snapshot::{Mib, Snapshot};
use crate::verdict::{FaultMap, Finding};

/// One thing that may happen in a window.
fn happen(s: &mut Snapshot, what: u8, n: u64) {
    match what {
        0 => traffic(s, CLIENT, n * 10),
        1 => state(s, CLIENT).links[0].carrier = n.is_multiple_of(2),
        2 => state(s, CLIENT).qdiscs[0].drops += n,
        3 => {
            state(s, CLIENT).neighbours.unresolved =
                vec![neighbour(near(254), n.is_multiple_of(2), n)];
        }
        4 => mib(s, CLIENT, Mib::IpOutNoRoutes, n),
        5 => drop_packets(s, CLIENT, "NETFILTER_DROP", "nft_do_chain", n),
        6 => occur(s, CLIENT, Kind::PortExhausted, 0, n),
        7 => state(s, CLIENT).listeners.rows = vec![listener(near(1), 80, n as u32, 5)],
        8 => mib(s, CLIENT, Mib::ListenOverflows, n),
        9 => mib(s, CLIENT, Mib::TcpRetransSegs, n),
        10 => state(s, CLIENT).routes.clear(),
        11 => state(s, CLIENT).routes = super::builder::namespace(CLIENT, "client").routes,
        12 => state(s, CLIENT).links[0].carrier_changes += n % 5,
        13 => state(s, CLIENT).links[0].stats.rx_crc += n,
        _ => {
            let outcome = peer(s, CLIENT, far(what), 80);
            outcome.attempts += n;
            outcome.refused += n / 3;
            outcome.syn_retransmits += n / 2;
            outcome.connected += n % 2;
        }
    }
}

/// No finding explains itself, not through others either.
fn acyclic(map: &FaultMap) -> bool {
    let by_id: BTreeMap<&str, &Finding> = map
        .open
        .iter()
        .map(|finding| (finding.id.as_str(), finding))
        .collect();
    map.open
        .iter()
        .all(|finding| !reaches(&by_id, finding, &finding.id, 0))
}

fn reaches<'a>(
    by_id: &BTreeMap<&str, &'a Finding>,
    from: &'a Finding,
    to: &str,
    depth: usize,
) -> bool {
    depth > by_id.len()
        || from.explained_by.iter().any(|id| {
            id == to
                || by_id
                    .get(id.as_str())
                    .is_some_and(|next| reaches(by_id, next, to, depth + 1))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_verdict_always_makes_sense(
        windows in prop::collection::vec(prop::collection::vec((0_u8..16, 0_u64..20_000), 0..8), 1..40),
        blind in prop::sample::subsequence(vec!["links", "qdiscs", "mibs", "drops", "tcp_state", "neighbours"], 0..6),
    ) {
        let mut world = World::new();
        let mut twin = World::new();
        (world.blind, twin.blind) = (blind.clone(), blind);
        for window in windows {
            let change = |s: &mut Snapshot| window.iter().for_each(|(what, n)| happen(s, *what, *n));
            let map = world.window(change);
            prop_assert!(acyclic(&map));
            prop_assert_eq!(map.open.is_empty(), map.verdict.cause.is_none());
            prop_assert_eq!(map.open.len(), map.open_findings.len());
            prop_assert_eq!(map.layers.len(), 7);
            for finding in &map.open {
                prop_assert!(finding.summary.ends_with('.') && !finding.evidence.is_empty(), "{:?}", finding);
            }
            for advice in &map.verdict.advice {
                prop_assert!(advice.text.ends_with('.') && !advice.confirm.is_empty());
            }
            // The same snapshots give the same words.
            let again = twin.window(change);
            prop_assert_eq!(serde_json::to_string(&map).expect("json"), serde_json::to_string(&again).expect("json"));
        }
    }
}
