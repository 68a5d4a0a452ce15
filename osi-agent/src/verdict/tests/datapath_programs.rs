//! Programs of others that drop packets on an interface.

use osi_common::occurrence::Kind;

use super::builder::{
    CLIENT, ETH0, World, drop_packets, far, finding, mib, near, neighbour, open, peer, qdisc,
    resolved, root, sample, state, traffic,
};
use crate::scope::Iface;
use crate::snapshot::{Driver, DriverCounter, Hook, Mib, Program, Snapshot};
use crate::verdict::{Confidence, Severity};

const CAUSE: &str = "datapath_program_drops";

/// So many packets pass the interface each way, and of those received so many are dropped.
fn drops(s: &mut Snapshot, reason: &str, function: &str, packets: u64, dropped: u64) {
    traffic(s, CLIENT, packets);
    drop_packets(s, CLIENT, reason, function, dropped);
}

/// Who connects waits for an answer that came in by eth0 and was dropped like this.
fn missed(s: &mut Snapshot, reason: &str, function: &str) {
    const CODE: u32 = 77;
    let outcome = peer(s, CLIENT, far(7), 443);
    outcome.attempts += 1;
    outcome.syn_retransmits += 1;
    let names = (reason.into(), function.into());
    s.kernel.reasons.insert((CODE, 0), names);
    let mut answer = sample(CLIENT, Kind::Drop, CODE, (far(7), 443), (near(1), 40_000));
    answer.key.ifindex = ETH0;
    s.samples.push(answer);
}

fn eth0() -> Iface {
    Iface {
        ifindex: ETH0,
        name: "eth0".to_owned(),
    }
}

fn attach(s: &mut Snapshot, hook: Hook, id: Option<u32>, name: &str) {
    let (iface, name) = (eth0(), name.to_owned());
    let program = Program {
        iface,
        hook,
        id,
        name,
    };
    state(s, CLIENT).programs.rows.push(program);
}

#[test]
fn a_program_that_drops_is_named_with_its_number() {
    let rows = [
        ("TC_INGRESS", "sch_handle_ingress", Hook::TcxIngress),
        (
            "TC_INGRESS",
            "__netif_receive_skb_core",
            Hook::FilterIngress,
        ),
        ("TC_EGRESS", "__dev_queue_xmit", Hook::TcxEgress),
        ("TC_EGRESS", "__dev_queue_xmit", Hook::FilterEgress),
        ("XDP", "do_xdp_generic", Hook::Xdp),
        ("NOT_SPECIFIED", "do_xdp_generic", Hook::Xdp),
        ("NOT_SPECIFIED", "netif_receive_generic_xdp", Hook::Xdp),
        ("NOT_SPECIFIED", "veth_xdp_rcv_skb", Hook::Xdp),
        ("NOT_SPECIFIED", "veth_poll", Hook::Xdp),
    ];
    for (reason, function, hook) in rows {
        let mut world = World::new();
        world.window(|s| attach(s, hook, Some(7), "guard"));
        let fault = |s: &mut Snapshot| {
            drops(s, reason, function, 500, 50);
            missed(s, reason, function);
        };
        assert_eq!(open(&world.window(fault)), [""; 0]);
        let map = world.window(fault);
        assert_eq!(
            (root(&map), open(&map)),
            (CAUSE, vec![CAUSE]),
            "{reason} {function}"
        );
        let found = finding(&map, CAUSE);
        assert_eq!(found.confidence, Confidence::Certain);
        let summary = &found.summary;
        let name = format!("The {} program guard (id 7)", hook.name());
        for part in [name.as_str(), "50 packets", "5.0 %"] {
            assert!(summary.contains(part), "{part} in {summary}");
        }
        let told = found
            .evidence
            .iter()
            .any(|row| row.signal == hook.name() && row.why.ends_with("(id 7)"));
        assert!(told, "{:?}", found.evidence);
        assert_eq!(map.layers[5].drops, 50);
        assert_eq!(world.until_calm(|s| drops(s, reason, function, 500, 0)), 5);
    }
}

/// A scrubber under attack, and a policy that denies by default: others get through, and nobody is known to wait.
#[test]
fn a_program_that_does_its_job_is_a_possible_warning_and_explains_nothing() {
    let mut world = World::new();
    let work = |s: &mut Snapshot| {
        drops(s, "XDP", "do_xdp_generic", 500, 400);
        mib(s, CLIENT, Mib::TcpRetransSegs, 50);
    };
    world.window(|s| attach(s, Hook::Xdp, Some(7), "scrubber"));
    let map = world.windows(2, work);
    assert!(!open(&map).contains(&CAUSE), "{:?}", open(&map));
    let map = world.windows(10, work);
    let found = finding(&map, CAUSE);
    assert_eq!(
        (found.confidence, found.severity),
        (Confidence::Possible, Severity::Warn)
    );
    assert_eq!(open(&map), [CAUSE, "packet_loss"]);
    assert_eq!(root(&map), "packet_loss");
    let felt = finding(&map, "packet_loss");
    assert_eq!(felt.explained_by, [""; 0]);
}

#[test]
fn of_several_programs_those_that_can_have_done_it_are_named() {
    let mut world = World::new();
    world.window(|s| {
        attach(s, Hook::TcxIngress, Some(7), "guard");
        attach(s, Hook::FilterIngress, None, "flower");
        attach(s, Hook::TcxEgress, Some(8), "shaper");
    });
    let map = world.windows(3, |s| drops(s, "TC_INGRESS", "tcx_run", 500, 50));
    let summary = &finding(&map, CAUSE).summary;
    assert!(
        summary.starts_with(
            "One of tcx ingress program guard (id 7), tc ingress filter of kind flower"
        ),
        "{summary}"
    );
    assert!(!summary.contains("shaper"), "{summary}");
}

#[test]
fn a_program_without_a_name_is_told_all_the_same() {
    let mut world = World::new();
    let map = world.windows(3, |s| drops(s, "TC_INGRESS", "tcx_run", 500, 50));
    let summary = &finding(&map, CAUSE).summary;
    assert!(
        summary.starts_with("A program whose name is not known"),
        "{summary}"
    );
}

#[test]
fn few_drops_or_a_small_share_are_calm() {
    let mut world = World::new();
    let few = |s: &mut Snapshot| drops(s, "TC_INGRESS", "tcx_run", 100, 10);
    assert_eq!(open(&world.windows(10, few)), [""; 0], "ten a window");
    let small = |s: &mut Snapshot| drops(s, "TC_INGRESS", "tcx_run", 50_000, 100);
    assert_eq!(open(&world.windows(10, small)), [""; 0], "0.1 %");
}

#[test]
fn drops_that_no_program_made_are_calm() {
    let mut world = World::new();
    let rows = [
        ("TC_CHAIN_NOTFOUND", "sch_handle_ingress"),
        ("BPF_CGROUP_EGRESS", "ip_finish_output"),
        ("NOT_SPECIFIED", "veth_xmit"),
        ("NO_SOCKET", "do_xdp_generic"),
    ];
    for (reason, function) in rows {
        let map = world.windows(5, |s| drops(s, reason, function, 500, 50));
        assert!(!open(&map).contains(&CAUSE), "{reason} {function}");
    }
    let attached = |s: &mut Snapshot| attach(s, Hook::Xdp, Some(7), "counter");
    world.window(attached);
    let map = world.windows(5, |s| drops(s, "TC_INGRESS", "tcx_run", 500, 0));
    assert!(!open(&map).contains(&CAUSE), "a program that passes");
}

/// Before 5.17 a filter's drops are freed like frames that nobody takes; the qdisc that holds the filters counts them.
#[test]
fn without_reasons_the_qdisc_tells_a_filter_from_an_unknown_protocol() {
    let core = "__netif_receive_skb_core";
    let mut world = World::new();
    world.window(|s| {
        s.kernel.nameless = true;
        let mut clsact = qdisc(ETH0, "eth0");
        clsact.kind = "clsact".to_owned();
        clsact.parent = 0xffff_fff1;
        state(s, CLIENT).qdiscs.rows.push(clsact);
        attach(s, Hook::FilterIngress, Some(7), "guard");
    });
    let map = world.windows(3, |s| {
        drops(s, "NOT_SPECIFIED", core, 500, 50);
        state(s, CLIENT).qdiscs[1].drops += 50;
    });
    assert_eq!(open(&map), [CAUSE]);
    let found = finding(&map, CAUSE);
    let summary = &found.summary;
    assert!(
        summary.contains("guard (id 7) on eth0 in namespace client dropped 50 packets"),
        "{summary}"
    );
    world.until_calm(|s| traffic(s, CLIENT, 500));
    let map = world.windows(2, |s| drops(s, "NOT_SPECIFIED", core, 500, 50));
    assert_eq!(open(&map), ["frames_rejected"]);
}

/// Inside a driver there is no packet to be freed: only the driver counts.
#[test]
fn what_a_driver_drops_for_a_program_is_told() {
    let mut world = World::new();
    let counted = |value| Driver {
        iface: eth0(),
        name: "ena".to_owned(),
        frames: 0,
        counters: vec![DriverCounter {
            name: "queue_*_rx_xdp_drop".to_owned(),
            value,
            queues: Vec::new(),
        }],
    };
    world.window(|s| {
        attach(s, Hook::Xdp, Some(7), "guard");
        state(s, CLIENT).drivers.rows = vec![counted(0)];
    });
    let fault = |s: &mut Snapshot| {
        traffic(s, CLIENT, 500);
        state(s, CLIENT).drivers.rows[0].counters[0].value += 50;
    };
    let map = world.windows(3, fault);
    let found = finding(&map, CAUSE);
    assert!(
        found.summary.contains("xdp program guard (id 7) on eth0"),
        "{}",
        found.summary
    );
    let over = world.windows(5, |s| traffic(s, CLIENT, 500));
    assert_eq!(resolved(&over), [CAUSE]);
}

/// A program that drops everything drops the answers of neighbours, too.
#[test]
fn a_neighbour_whose_answers_are_dropped_is_a_symptom() {
    let silent = |of_arp: bool| {
        let mut world = World::new();
        world.windows(3, |s| {
            drops(s, "TC_INGRESS", "tcx_run", 500, 50);
            s.kernel
                .reasons
                .insert((77, 0), ("TC_INGRESS".into(), "tcx_run".into()));
            let mut answer = sample(CLIENT, Kind::Drop, 77, (near(7), 0), (near(1), 0));
            answer.protocol = 0;
            answer.ethertype = if of_arp { 0x0806 } else { 0x0800 };
            s.samples.push(answer);
            let silent = neighbour(near(7), true, 100);
            state(s, CLIENT).neighbours.unresolved = vec![silent];
        })
    };
    let map = silent(true);
    assert_eq!(root(&map), CAUSE);
    let found = finding(&map, "neighbor_unreachable");
    assert_eq!(found.explained_by.len(), 1, "{found:?}");
    // Somebody else's packets are dropped: that tells nothing of the neighbour.
    let map = silent(false);
    assert_eq!(root(&map), "neighbor_unreachable");
    let found = finding(&map, "neighbor_unreachable");
    assert_eq!(found.explained_by, [""; 0]);
}

#[test]
fn a_program_that_lets_nothing_through_is_certain() {
    let mut world = World::new();
    let map = world.windows(2, |s| {
        state(s, CLIENT).links[0].stats.rx_packets += 400;
        drop_packets(s, CLIENT, "TC_INGRESS", "tcx_run", 400);
        mib(s, CLIENT, Mib::IpInReceives, 10);
    });
    assert_eq!(finding(&map, CAUSE).confidence, Confidence::Certain);
}
