//! The JSON Schema of the stream, made from the very types that are written.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};

use super::{Bye, Hello, SCHEMA, Type};
use crate::event::Event;
use crate::output::doctor::DoctorReport;
use crate::probe::SelfStats;
use crate::verdict::{FaultMap, Finding};

/// The schema as a document; kept at docs/schema/osi-agent.v1.schema.json.
pub fn schema() -> String {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let lines: Vec<Value> = Type::ALL
        .into_iter()
        .map(|r#type| line(&mut generator, r#type))
        .collect();
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://osi-agent.dev/schema/osi-agent.v1.schema.json",
        "title": SCHEMA,
        "description": "One line of the NDJSON stream of osi-agent. Fields may be added; none is renamed or removed without a new schema.",
        "oneOf": lines,
        "$defs": generator.take_definitions(true),
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// The head, with the type as a constant, and the body's own schema.
fn line(generator: &mut SchemaGenerator, r#type: Type) -> Value {
    let body = match r#type {
        Type::Hello => of::<Hello>(generator),
        Type::FaultMap => of::<FaultMap>(generator),
        Type::Finding => of::<Finding>(generator),
        Type::Event => of::<Event>(generator),
        Type::Stats => of::<SelfStats>(generator),
        Type::Bye => of::<Bye>(generator),
        Type::Doctor => of::<DoctorReport>(generator),
    };
    let head = json_schema!({
        "title": r#type.name(),
        "type": "object",
        "properties": {
            "schema": { "const": SCHEMA },
            "type": { "const": r#type.name() },
            "ts": { "type": "string", "format": "date-time", "description": "RFC 3339, UTC, nanoseconds." },
            "host": { "type": "string", "description": "Name of the host." },
        },
        "required": ["schema", "type", "ts", "host"],
        "allOf": [body],
    });
    head.to_value()
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
