//! The table of causes as a whole.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use crate::scope::{Netns, Proto, Scope, ScopeKind};
use crate::verdict::{
    Cause, Confidence, Evidence, Finding, FindingState, Impact, Severity, cause, causes,
};

#[test]
fn ids_are_unique_and_helped() {
    let mut seen = BTreeSet::new();
    for row in causes() {
        assert!(seen.insert(row.id), "{} is there twice", row.id);
        assert!(row.help.ends_with('.'), "{}: {}", row.id, row.help);
        assert!(!row.reads.is_empty(), "{} reads nothing", row.id);
        assert!(std::ptr::eq(cause(row.id).expect("by id"), row));
    }
    assert!(!seen.is_empty());
}

#[test]
fn thresholds_have_names_of_their_own() {
    for row in causes() {
        let names: BTreeSet<_> = row.thresholds.iter().map(|limit| limit.name).collect();
        assert_eq!(names.len(), row.thresholds.len(), "{}", row.id);
        assert!(
            row.thresholds.iter().all(|limit| limit.default > 0.0),
            "{}",
            row.id
        );
    }
}

#[test]
fn edges_lead_to_causes_of_the_table() {
    for row in causes() {
        for edge in row.explanations() {
            assert!(
                cause(edge.id).is_some(),
                "{} names {}, which is not in the table",
                row.id,
                edge.id
            );
        }
    }
}

#[test]
fn nothing_explains_itself() {
    fn walk(row: &'static Cause, path: &mut Vec<&'static str>) {
        assert!(!path.contains(&row.id), "cycle: {path:?} → {}", row.id);
        path.push(row.id);
        for edge in row.explanations() {
            walk(edge, path);
        }
        path.pop();
    }
    for row in causes() {
        walk(row, &mut Vec::new());
    }
}

/// A finding of the cause with every key that a scope can have.
fn found(cause: &Cause, kind: ScopeKind, address: IpAddr) -> Finding {
    let netns = Netns {
        inode: 1,
        cookie: 1,
        name: Some("client".to_owned()),
        ..Netns::default()
    };
    let scope = Scope {
        kind,
        local: Some(address),
        proto: Some(Proto::Tcp),
        ..Scope::peer(&netns, address, Some(443))
    };
    Finding {
        id: String::new(),
        state: FindingState::Open,
        cause: cause.id.to_owned(),
        layer: cause.layer.id().to_owned(),
        severity: Severity::Critical,
        scope,
        owner: None,
        evidence: vec![Evidence::new(cause.reads[0].id, 1.0, "packets", "why")],
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

#[test]
fn commands_of_advice_take_addresses_of_both_families() {
    let v4 = IpAddr::V4(Ipv4Addr::new(10, 91, 0, 2));
    let v6 = IpAddr::V6(Ipv6Addr::new(0xfd91, 0, 0, 0, 0, 0, 0, 2));
    let mut filters = BTreeSet::new();
    for (cause, address) in causes().flat_map(|cause| [(cause, v4), (cause, v6)]) {
        for kind in [ScopeKind::Peer, ScopeKind::Pool, ScopeKind::Listener] {
            for advice in (cause.advise)(&found(cause, kind, address)) {
                let words: Vec<_> = advice.confirm.split_whitespace().collect();
                let Some(at) = words.iter().position(|word| *word == "ss") else {
                    continue;
                };
                // A header is no connection, and `wc -l` would count it.
                assert!(words[at + 1].starts_with("-H"), "{}", advice.confirm);
                for pair in words[at..]
                    .windows(2)
                    .filter(|pair| ["src", "dst"].contains(&pair[0]))
                {
                    filters.insert(pair[1].to_owned());
                }
            }
        }
    }
    let expected = ["10.91.0.2", "[fd91::2]"].map(str::to_owned);
    assert_eq!(filters, BTreeSet::from(expected));
}
