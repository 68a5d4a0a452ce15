//! The machinery: ids, changes, blindness, bounds, scope, limits.

use osi_common::layer::Layer;

use super::builder::{
    CLIENT, SECOND, SERVER, World, far, finding, listener, mib, namespace, near, occur, open, peer,
    pool, root, state, traffic,
};
use crate::snapshot::{Blind, Mib, Snapshot, Softnet};
use crate::verdict::{
    Coverage, FaultMap, FindingState, LayerState, MeterKind, Severity, VerdictState,
};

fn no_route(s: &mut Snapshot) {
    mib(s, CLIENT, Mib::IpOutNoRoutes, 10);
}

#[test]
fn a_finding_is_told_once_and_when_it_changes() {
    let mut world = World::new();
    let opened = world.window(no_route);
    assert_eq!(opened.changes.len(), 1);
    assert_eq!(opened.changes[0].state, FindingState::Open);
    assert_eq!(opened.open_findings, [opened.changes[0].id.clone()]);
    assert_eq!(world.window(no_route).changes.len(), 0);
    // A worse sighting of the same thing.
    let worse = world.window(|s| {
        no_route(s);
        state(s, CLIENT)
            .routes
            .retain(|route| route.destination.is_some());
    });
    assert_eq!(
        (worse.changes[0].state, worse.changes[0].severity),
        (FindingState::Update, Severity::Critical)
    );
    assert_eq!(worse.changes[0].id, opened.changes[0].id);
    let closed = world.windows(5, |_| {});
    assert_eq!(closed.changes[0].state, FindingState::Resolved);
    assert!(closed.changes[0].resolved_at.is_some());
    // The same fault later is another finding.
    let again = world.window(no_route);
    assert_ne!(again.changes[0].id, opened.changes[0].id);
}

#[test]
fn blind_is_not_clear() {
    let mut world = World::new();
    world.window(no_route);
    world.blind = vec!["mibs"];
    let map = world.windows(10, |_| {});
    assert_eq!(open(&map), ["no_route"], "nobody saw it end");
    assert_eq!(map.layers[4].coverage, Coverage::Partial);
    world.blind.clear();
    assert_eq!(world.until_calm(|_| {}), 5);
}

#[test]
fn a_namespace_that_had_no_turn_makes_no_window_clear() {
    let mut world = World::new();
    world.window(|s| s.namespaces.push(namespace(SERVER, "server")));
    world.window(|s| {
        state(s, SERVER).listeners.rows = vec![listener(near(1), 80, 2, 1)];
        mib(s, SERVER, Mib::ListenOverflows, 5);
        no_route(s);
    });
    let map = world.windows(8, |s| {
        state(s, SERVER).listeners.rows.clear();
        state(s, SERVER).missed = ["mibs", "listeners"].map(str::to_owned).to_vec();
    });
    assert_eq!(open(&map), ["accept_queue_overflow"], "nobody saw it end");
    let seen = |s: &mut Snapshot| state(s, SERVER).missed.clear();
    assert_eq!(world.until_calm(seen), 5);
}

#[test]
fn a_reader_that_is_late_makes_no_window_clear() {
    let mut world = World::new();
    world.window(no_route);
    let late = Blind {
        layer: Layer::L3,
        what: "mibs".to_owned(),
        why: "timed out".to_owned(),
    };
    let map = world.windows(10, |s| s.blind = vec![late.clone()]);
    assert_eq!(open(&map), ["no_route"], "nobody saw it end");
    assert_eq!(world.until_calm(|s| s.blind.clear()), 5);
}

#[test]
fn an_open_finding_tells_how_long_its_condition_is_gone() {
    let mut world = World::new();
    let quiet = |map: &FaultMap| {
        map.verdict
            .quiet
            .map(|quiet| (quiet.not_seen_ns, quiet.clear_windows))
    };
    assert_eq!(quiet(&world.window(|_| {})), None);
    assert_eq!(quiet(&world.windows(4, no_route)), None);
    assert_eq!(quiet(&world.windows(3, |_| {})), Some((3 * SECOND, 3)));
    world.blind = vec!["mibs"];
    assert_eq!(
        quiet(&world.window(|_| {})),
        Some((4 * SECOND, 3)),
        "a blind window is no clear one"
    );
    world.blind.clear();
    assert_eq!(quiet(&world.window(no_route)), None);
    let last = world.windows(5, |_| {});
    let [over] = last.changes.as_slice() else {
        panic!("{:?}", last.changes)
    };
    assert_eq!(over.state, FindingState::Resolved);
    assert_eq!(
        over.quiet
            .map(|quiet| (quiet.not_seen_ns, quiet.clear_windows)),
        Some((5 * SECOND, 5))
    );
}

#[test]
fn a_layer_without_any_sight_is_blind() {
    let mut world = World::new();
    world.blind = vec!["links", "drivers", "softnet", "tc"];
    let map = world.window(|_| {});
    assert_eq!(map.layers[6].state, LayerState::Blind);
    assert_eq!(map.verdict.state, VerdictState::Ok);
    // Without tc nobody hears that a destination is unreachable, nor that names do not resolve.
    assert_eq!(map.verdict.cannot_rule_out, ["L1", "L3", "L6", "L7"]);
    assert!(
        map.layers[6]
            .blind
            .iter()
            .all(|row| row.why.contains("not on this kernel"))
    );
}

#[test]
fn a_root_names_the_blind_layers_that_could_overturn_it() {
    let mut world = World::new();
    world.blind = vec!["links", "drops", "xdp"];
    let map = world.windows(3, |s| {
        traffic(s, CLIENT, 10_000);
        mib(s, CLIENT, Mib::TcpRetransSegs, 500);
    });
    assert_eq!(root(&map), "packet_loss");
    assert_eq!(
        map.verdict.cannot_rule_out,
        ["L1", "L2", "L3"],
        "a link, a program on it or a filter might be behind it; L7 can not"
    );
}

#[test]
fn limits_come_from_the_configuration() {
    let mut world = World::new();
    world.limits = vec![("connection_refused", "refused", 100.0)];
    let refused = |s: &mut Snapshot| {
        let outcome = peer(s, CLIENT, far(7), 81);
        outcome.attempts += 50;
        outcome.refused += 50;
    };
    assert_eq!(open(&world.windows(5, refused)), [""; 0]);
    world.limits.clear();
    assert_eq!(open(&world.window(refused)), ["connection_refused"]);
}

#[test]
fn open_findings_are_bounded() {
    let mut world = World::new();
    let map = world.window(|s| {
        for port in 0..1500 {
            let outcome = peer(s, CLIENT, far(7), 1000 + port);
            outcome.attempts += 4;
            outcome.refused += 4;
        }
    });
    assert_eq!((map.open.len(), map.findings_omitted), (1024, 476));
}

#[test]
fn meter_rows_are_bounded_and_counted() {
    let mut world = World::new();
    let map = world.window(|s| {
        state(s, CLIENT).pools = (0..20)
            .map(|n| pool(far(n), 443, 300 + u64::from(n), 0))
            .collect();
    });
    let rows: Vec<_> = map.layers[3]
        .meters
        .iter()
        .filter(|row| row.id == "ephemeral_ports")
        .collect();
    assert_eq!((rows.len(), map.layers[3].meters_omitted), (16, 4));
    assert!(rows.is_sorted_by(|a, b| a.ratio >= b.ratio));
    assert_eq!((rows[0].used, rows[0].kind), (319.0, MeterKind::Capacity));
}

#[test]
fn what_belongs_to_the_host_limits_no_single_namespace() {
    let backlog = |s: &mut Snapshot| {
        let backlog = Softnet {
            backlog: Some(999),
            ..Softnet::default()
        };
        (s.host.softnet, s.host.netdev_max_backlog) = (vec![backlog], Some(1000));
    };
    let mut world = World::new();
    let ratio = |map: &crate::verdict::FaultMap| map.layers[6].limiting_meter.clone();
    assert_eq!(
        ratio(&world.window(backlog)).as_deref(),
        Some("softnet_backlog")
    );
    world.single_netns = true;
    let map = world.window(backlog);
    assert_eq!(ratio(&map).as_deref(), Some("link_throughput_rx"));
    assert!(
        map.layers[6]
            .meters
            .iter()
            .any(|row| row.id == "softnet_backlog"),
        "it is shown all the same"
    );
}

#[test]
fn a_filling_meter_tells_when_it_is_full() {
    let mut world = World::new();
    let mut map = world.window(|_| {});
    for n in 1..=10 {
        map =
            world.window(|s| state(s, CLIENT).pools = vec![pool(near(9), 443, 1000 + 100 * n, 0)]);
    }
    let row = map.layers[3]
        .meters
        .iter()
        .find(|row| row.id == "ephemeral_ports")
        .expect("row");
    let seconds = row.time_to_full_ns.expect("filling") as f64 / 1e9;
    assert!((seconds - 262.32).abs() < 0.1, "{seconds}");
    let map = world.windows(30, |s| {
        state(s, CLIENT).pools = vec![pool(near(9), 443, 2000, 0)];
    });
    assert_eq!(map.layers[3].meters[0].time_to_full_ns, None);
}

#[test]
fn severity_does_not_flicker() {
    let mut world = World::new();
    let exhausted = |s: &mut Snapshot| {
        state(s, CLIENT).pools = vec![pool(far(7), 443, 28_232, 0)];
        let victim = peer(s, CLIENT, far(7), 443);
        victim.attempts += 1;
        victim.port_exhausted += 1;
        occur(s, CLIENT, osi_common::occurrence::Kind::PortExhausted, 0, 1);
    };
    let nearly = |s: &mut Snapshot| state(s, CLIENT).pools = vec![pool(far(7), 443, 28_000, 0)];
    world.window(exhausted);
    let map = world.windows(4, nearly);
    assert_eq!(
        finding(&map, "ephemeral_ports_exhausted").severity,
        Severity::Critical
    );
    let map = world.window(nearly);
    assert_eq!(
        finding(&map, "ephemeral_ports_exhausted").severity,
        Severity::Warn
    );
}
