//! The table of causes as a whole.

use std::collections::BTreeSet;

use crate::verdict::{Cause, cause, causes};

#[test]
fn ids_are_unique_and_helped() {
    let mut seen = BTreeSet::new();
    for row in causes() {
        assert!(seen.insert(row.id), "{} is there twice", row.id);
        assert!(row.help.ends_with('.'), "{}: {}", row.id, row.help);
        assert!(!row.reads.is_empty(), "{} reads nothing", row.id);
        assert!(std::ptr::eq(cause(row.id).expect("by id"), row));
    }
    assert_eq!(seen.len(), 11);
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
        for edge in row.explained_by {
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
        for edge in row.explained_by {
            walk(edge, path);
        }
        path.pop();
    }
    for row in causes() {
        walk(row, &mut Vec::new());
    }
}
