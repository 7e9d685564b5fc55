//! The event's JSON Schema, as `proto/schema/event.v1.json` has it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Value, json};

use super::Event;

impl Event<'_> {
    /// The JSON Schema of what [`Event::write`] writes.
    ///
    /// A member that an event lacks is absent, never `null`; only `raw` can be.
    #[must_use]
    pub fn schema() -> Schema {
        let mut settings = SchemaSettings::draft2020_12().for_serialize();
        settings.transforms.push(Box::new(without_null));
        settings.into_generator().into_root_schema_for::<Event<'_>>()
    }
}

/// Takes back the `null` that an optional member is given in general.
fn without_null(schema: &mut Schema) {
    transform_subschemas(&mut without_null, schema);
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
