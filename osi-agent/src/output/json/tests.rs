//! Every type of line validates against the schema, and the schema in docs/ is this code's.

use serde_json::Value;

use super::{Lines, schema};
use crate::output::fixture::{self, AT};

fn lines() -> Vec<Vec<u8>> {
    let lines = Lines::new("web-1");
    let mut all = vec![
        lines.hello(AT, &fixture::hello()),
        lines.fault_map(&fixture::calm()),
        lines.fault_map(&fixture::incident()),
        lines.fault_map(&fixture::hostile()),
        lines.stats(AT, &fixture::stats()),
        lines.bye(AT, &fixture::bye()),
        lines.doctor(AT, &fixture::doctor()),
    ];
    all.extend(
        fixture::incident()
            .changes
            .iter()
            .map(|finding| lines.finding(AT, finding)),
    );
    all.extend(fixture::events().iter().map(|event| lines.event(event)));
    all
}

#[test]
fn every_line_validates() {
    let schema: Value = serde_json::from_str(&schema()).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for line in lines() {
        let text = String::from_utf8(line).expect("UTF-8");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}\n{text}");
        assert!(
            text.ends_with('\n') && text.matches('\n').count() == 1,
            "{text}"
        );
        assert!(
            text.starts_with(r#"{"schema":"osi-agent.v1","type":""#),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text}");
    }
}

#[test]
fn the_schema_rejects_what_is_no_line() {
    let schema: Value = serde_json::from_str(&schema()).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let mut line: Value = serde_json::from_slice(&lines()[1]).expect("JSON");
    for (key, wrong) in [
        ("type", Value::from("event")),
        ("layers", Value::Null),
        ("schema", Value::from("v2")),
    ] {
        let right = std::mem::replace(&mut line[key], wrong);
        assert!(!validator.is_valid(&line), "{key}");
        line[key] = right;
    }
    assert!(validator.is_valid(&line));
}

#[test]
fn unknown_values_are_null_and_never_left_out() {
    let map: Value =
        serde_json::from_slice(&Lines::new("h").fault_map(&fixture::calm())).expect("JSON");
    assert_eq!(map["verdict"]["layer"], Value::Null);
    assert!(
        map["layers"][0]
            .as_object()
            .is_some_and(|layer| layer.contains_key("saturation_ratio"))
    );
    assert_eq!(map["layers"][0]["layer"], "L7");
    let scope = map["layers"][3]["limiting_scope"]
        .as_object()
        .expect("a scope");
    assert!(
        !scope.contains_key("iface"),
        "keys that do not apply are absent"
    );
}

#[test]
fn the_schema_in_docs_is_fresh() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/schema/osi-agent.v1.schema.json"
    );
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == schema(),
        "docs/schema/osi-agent.v1.schema.json is stale: run `cargo xtask docs` and commit the result"
    );
}
