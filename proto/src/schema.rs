//! The JSON Schemas of what the log holds, as `proto/schema` has them; those of commands and their
//! results are with these.

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::event::Event;
use crate::record::{Duplicate, Gap, Ownership, SessionRecord};

/// The schema of every record's payload, with the name of its file.
#[must_use]
pub fn published() -> [(&'static str, Schema); 5] {
    [
        ("event.v1.json", Event::schema()),
        ("session.v1.json", written::<SessionRecord>()),
        ("duplicate.v1.json", written::<Duplicate>()),
        ("gap.v1.json", written::<Gap>()),
        ("ownership.v1.json", written::<Ownership>()),
    ]
}

/// The schema of what we write of a type: a member that may be left out is never `null`.
pub(crate) fn written<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.transforms.push(Box::new(without_null));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Takes back the `null` that an optional member is given in general.
fn without_null(schema: &mut Schema) {
    transform_subschemas(&mut without_null, schema);
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        required.as_array().is_some_and(|names| names.iter().any(|known| known == name))
    };
    let Some(Value::Object(members)) = schema.get_mut("properties") else { return };
    for (_, member) in members.iter_mut().filter(|(name, _)| !is_required(name)) {
        if let Ok(member) = <&mut Schema>::try_from(member) {
            forbid_null(member);
        }
    }
}

fn forbid_null(schema: &mut Schema) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| *name != null);
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.retain(|option| option.get("type") != Some(&null));
        if let [Value::Object(only)] = &options[..] {
            let only = only.clone();
            schema.remove("anyOf");
            for (name, value) in only {
                schema.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// `UPDATE_FIXTURES=1 cargo test -p qqrelay-proto` writes them anew.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads what is checked in")]
    fn the_schemas_that_are_checked_in_are_what_we_write() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        for (name, schema) in published() {
            let path = folder.join(name);
            let schema = serde_json::to_value(schema).expect("a schema is JSON");
            if std::env::var("UPDATE_FIXTURES").is_ok() {
                let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
                std::fs::write(&path, text).expect("the tree can be written");
            }
            // As values: the order of members depends on what else is built beside us.
            let text = std::fs::read_to_string(&path).expect("it is checked in");
            let checked_in: Value = serde_json::from_str(&text).expect("JSON");
            assert!(checked_in == schema, "{name} differs; UPDATE_FIXTURES=1 writes it anew");
        }
    }

    #[test]
    fn a_member_that_may_be_left_out_is_never_null() {
        let event = serde_json::to_string(&Event::schema()).expect("a schema is JSON");
        assert!(!event.contains("\"null\""));
        let gap = serde_json::to_value(written::<Gap>()).expect("a schema is JSON");
        assert!(gap["properties"]["until"].to_string().contains("\"null\""), "written as null");
    }
}
