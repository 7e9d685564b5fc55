//! The configuration's JSON Schema, and questions to it.
//!
//! It has no references in it: a reader, ours included, finds a field by walking down.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::Config;
use super::source::Step;

/// Makes the schema of the whole file.
pub(super) fn generate() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<Config>()
}

/// The schema of a field; `None` where there is no such field.
pub(super) fn at<'s>(schema: &'s Schema, path: &[Step]) -> Option<&'s Json> {
    path.iter().try_fold(schema.as_value(), |node, step| match step {
        Step::Key(key) => member(node, key),
        Step::Index(_) => node.get("items"),
    })
}

/// The schema of a member of a table: one of ours, or any in a table with free keys.
pub(super) fn member<'s>(node: &'s Json, key: &str) -> Option<&'s Json> {
    let named = node.get("properties").and_then(|members| members.get(key));
    named.or_else(|| node.get("additionalProperties").filter(|free| free.is_object()))
}

/// The keys of a table, in the order they were declared in.
pub(super) fn keys(node: &Json) -> impl Iterator<Item = &str> {
    node.get("x-order").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

/// Every field that is not a table itself, `log.window`; those of lists are left out.
pub(super) fn fields(schema: &Schema) -> Vec<String> {
    fn gather(node: &Json, before: &str, fields: &mut Vec<String>) {
        for key in keys(node) {
            let Some(member) = member(node, key) else { continue };
            let field = if before.is_empty() { key.to_owned() } else { format!("{before}.{key}") };
            if member.get("properties").is_some() {
                gather(member, &field, fields);
            } else {
                fields.push(field);
            }
        }
    }
    let mut fields = Vec::new();
    gather(schema.as_value(), "", &mut fields);
    fields
}

/// A field's default; `None` where there is none, or an empty one that says nothing.
pub(super) fn default(node: &Json) -> Option<&Json> {
    node.get("default").filter(|value| !value.is_null() && *value != &Json::from(""))
}

/// How a field may look: its default, else its example.
pub(super) fn sample(node: &Json) -> Option<&Json> {
    default(node).or_else(|| node.get("examples")?.get(0))
}

/// Whether a field takes nothing but text, so that an environment variable's digits stay text.
pub(super) fn takes_only_text(node: &Json) -> bool {
    let choices = ["oneOf", "anyOf"].into_iter().find_map(|key| node.get(key)?.as_array());
    if let Some(choices) = choices {
        return choices.iter().all(takes_only_text);
    }
    let constant = node.get("const").is_some_and(Json::is_string);
    constant
        || types(node).any(|_| true) && types(node).all(|name| matches!(name, "string" | "null"))
}

/// Whether a field may be a list.
pub(super) fn takes_list(node: &Json) -> bool {
    let choices = ["oneOf", "anyOf"].into_iter().filter_map(|key| node.get(key)?.as_array());
    types(node).any(|name| name == "array") || choices.flatten().any(takes_list)
}

fn types(node: &Json) -> impl Iterator<Item = &str> {
    let names = match node.get("type") {
        Some(Json::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    names.iter().filter_map(Json::as_str)
}
