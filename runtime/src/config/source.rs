//! Where values come from: one TOML file, written over by the environment.
//!
//! The result is a tree of values and, for each path in it, the place it was written at, so that
//! whatever is found wrong later can name its line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use schemars::Schema;
use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::problem::{Findings, Origin};
use super::schema;

/// Environment variables that begin so and have a `__` in them are configuration.
pub(super) const PREFIX: &str = "QQRELAY_";

/// One step down into the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Writes a path as findings name it: `bots[0].secret`.
pub(super) fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]"); // writing to a String cannot fail
            }
        }
    }
    text
}

/// Values and where they were written.
#[derive(Debug)]
pub(super) struct Tree {
    root: Value,
    origins: BTreeMap<String, Origin>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { root: Value::Table(Table::new()), origins: BTreeMap::new() }
    }

    /// Reads a file's text. Syntax errors become findings, and the tree then stays empty.
    pub(super) fn parse(path: &Path, text: &str, findings: &mut Findings) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let breaks = text.match_indices('\n').map(|(place, _)| place).collect();
        let mut reader = Reader { path: path.into(), breaks, tree: Self::new(), findings };
        for error in &errors {
            // The error's `Display` quotes the line, and the line may hold a secret.
            let origin = reader.origin(error.span().map_or(0, |span| span.start));
            let what = format!("not TOML: {}", error.message().replace('\n', ", "));
            reader.findings.add(origin, "", what, "correct the line");
        }
        if errors.is_empty() {
            reader.tree.root = reader.table(table.get_ref(), &mut Vec::new());
        }
        reader.tree
    }

    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// Where a value was written: its own place, else that of what surrounds it.
    pub(super) fn origin(&self, field: &str) -> Origin {
        let mut field = field;
        loop {
            if let Some(origin) = self.origins.get(field) {
                return origin.clone();
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = &field[..end],
                None => return Origin::Default,
            }
        }
    }

    /// Whether this very value was written anywhere.
    pub(super) fn is_written(&self, field: &str) -> bool {
        self.origins.contains_key(field)
    }

    /// Whether this very value, not only what surrounds it, stands in the file.
    pub(super) fn is_in_file(&self, field: &str) -> bool {
        matches!(self.origins.get(field), Some(Origin::File { .. }))
    }

    /// Removes a value, so that what is left can be read. An array goes as a whole: without one
    /// of its items the others would change their places. Says whether something was there.
    pub(super) fn remove(&mut self, path: &[Step]) -> bool {
        let keys = path.iter().rposition(|step| matches!(step, Step::Key(_)));
        match keys.and_then(|last| path[..=last].split_last()) {
            Some((Step::Key(key), parents)) => find(&mut self.root, parents)
                .and_then(Value::as_table_mut)
                .is_some_and(|table| table.remove(key).is_some()),
            _ => false,
        }
    }

    /// Writes the environment over the file. Names without a `__` are not ours, except those that
    /// only lack one: Kubernetes puts `QQRELAY_SERVICE_HOST` and its like into every container.
    pub(super) fn overlay(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
        schema: &Schema,
        findings: &mut Findings,
    ) {
        let mut ours: Vec<_> = environment
            .into_iter()
            .filter(|(name, text)| name.starts_with(PREFIX) && !text.is_empty())
            .collect();
        ours.sort_unstable(); // so that bot 0 comes before bot 1
        for (name, text) in ours {
            let written = name[PREFIX.len()..].to_ascii_lowercase();
            let origin = Origin::Environment(name);
            if written.contains("__") {
                let path: Vec<Step> = written.split("__").map(Step::read).collect();
                self.set(origin, &path, &text, schema, findings);
            } else if let Some(field) =
                schema::fields(schema).into_iter().find(|field| field.replace('.', "_") == written)
            {
                let right = field.replace('.', "__").to_ascii_uppercase();
                let fix = format!("write {PREFIX}{right}, with two underscores between names");
                findings.add(origin, "", "sets nothing", fix);
            }
        }
    }

    fn set(
        &mut self,
        origin: Origin,
        path: &[Step],
        text: &str,
        schema: &Schema,
        findings: &mut Findings,
    ) {
        let field = path_text(path);
        let Some(place) = make(&mut self.root, path) else {
            let fix = "number the items of a list from 0, without holes";
            findings.add(origin, &field, "has no place in the configuration", fix);
            return;
        };
        *place = value_of(text, schema::at(schema, path));
        if let Some(rival) = rival(path) {
            self.remove(&rival);
        }
        self.origins.insert(field, origin);
    }
}

impl Step {
    fn read(part: &str) -> Self {
        part.parse().map_or_else(|_| Self::Key(part.to_owned()), Self::Index)
    }
}

/// What a secret from the environment takes the place of: the other way to give the same one.
fn rival(path: &[Step]) -> Option<Vec<Step>> {
    let (Step::Key(key), parents) = path.split_last()? else { return None };
    let other = match key.as_str() {
        "secret" => "secret_file",
        "secret_file" => "secret",
        _ => return None,
    };
    let mut rival = parents.to_vec();
    rival.push(Step::Key(other.to_owned()));
    Some(rival)
}

fn find<'t>(root: &'t mut Value, path: &[Step]) -> Option<&'t mut Value> {
    path.iter().try_fold(root, |value, step| match (value, step) {
        (Value::Table(table), Step::Key(key)) => table.get_mut(key),
        (Value::Array(items), Step::Index(index)) => items.get_mut(*index),
        _ => None,
    })
}

/// Finds a place and makes what is missing on the way; `None` if something else stands there or
/// a list would get a hole.
fn make<'t>(root: &'t mut Value, path: &[Step]) -> Option<&'t mut Value> {
    let nothing = || Value::Table(Table::new());
    path.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => Some(value.as_table_mut()?.entry(key).or_insert_with(nothing)),
        Step::Index(index) => {
            if value.as_table().is_some_and(Table::is_empty) {
                *value = Value::Array(Vec::new()); // made a moment ago, or as good as empty
            }
            let items = value.as_array_mut()?;
            if *index == items.len() {
                items.push(nothing());
            }
            items.get_mut(*index)
        }
    })
}

/// Reads an environment variable's text as the type its field has: text where only text fits,
/// otherwise as TOML; a list may also be written with commas alone.
fn value_of(text: &str, schema: Option<&Json>) -> Value {
    let as_text = || Value::String(text.to_owned());
    let Some(schema) = schema else { return as_text() };
    if schema::takes_only_text(schema) {
        return as_text();
    }
    let toml = format!("value = {text}").parse::<Table>().ok();
    if let Some(value) = toml.and_then(|mut table| table.remove("value")) {
        return value;
    }
    if schema::takes_list(schema) {
        let items = text.split(',').map(|item| Value::String(item.trim().to_owned()));
        return Value::Array(items.collect());
    }
    as_text()
}

/// Turns a parsed file into a [`Tree`].
struct Reader<'a> {
    path: Arc<Path>,
    /// Where the lines end.
    breaks: Vec<usize>,
    tree: Tree,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let line = 1 + self.breaks.partition_point(|place| *place < offset);
        Origin::File { path: self.path.clone(), line }
    }

    fn table(&mut self, table: &DeTable<'_>, path: &mut Vec<Step>) -> Value {
        let mut values = Table::new();
        for (key, value) in table {
            path.push(Step::Key(key.get_ref().to_string()));
            let origin = self.origin(key.span().start);
            self.tree.origins.insert(path_text(path), origin);
            if let Some(value) = self.value(value, path) {
                values.insert(key.get_ref().to_string(), value);
            }
            path.pop();
        }
        Value::Table(values)
    }

    /// `None` of a number that no type of ours could hold, which becomes a finding.
    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &mut Vec<Step>) -> Option<Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(yes) => Some(Value::Boolean(*yes)),
            DeValue::Datetime(moment) => Some(Value::Datetime(*moment)),
            DeValue::Table(table) => Some(self.table(table, path)),
            DeValue::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    let origin = self.origin(item.span().start);
                    self.tree.origins.insert(path_text(path), origin);
                    values.extend(self.value(item, path));
                    path.pop();
                }
                Some(Value::Array(values))
            }
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix());
                value.map(Value::Integer).map_err(|_| self.too_large(path)).ok()
            }
            DeValue::Float(number) => {
                let value = number.as_str().parse().ok().filter(|value: &f64| value.is_finite());
                if value.is_none() {
                    self.too_large(path);
                }
                value.map(Value::Float)
            }
        }
    }

    fn too_large(&mut self, path: &[Step]) {
        let field = path_text(path);
        let origin = self.tree.origin(&field);
        self.findings.add(origin, &field, "is too large a number", "write a smaller one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Tree, Vec<super::super::problem::Problem>) {
        let mut findings = Findings::default();
        let tree = Tree::parse(Path::new("relay.toml"), text, &mut findings);
        (tree, findings.into_list())
    }

    fn line(tree: &Tree, field: &str) -> usize {
        match tree.origin(field) {
            Origin::File { line, .. } => line,
            other => panic!("{field} is from {other}"),
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let (tree, found) =
            parse("[log]\nwindow = 1\n\n[[bots]]\nname = 'a'\n[[bots]]\nname = 'b'");
        assert_eq!(found, []);
        assert_eq!(line(&tree, "log.window"), 2);
        assert_eq!(line(&tree, "bots[0].name"), 5);
        assert_eq!(line(&tree, "bots[1].name"), 7);
        assert_eq!(line(&tree, "bots[1].app_id"), 6, "a missing one has its section's line");
        assert_eq!(tree.origin("admin.listen"), Origin::Default);
    }

    #[test]
    fn every_syntax_error_is_found_and_none_quotes_its_line() {
        let (_, found) = parse("a = \nsecret = 'canary\n[log]\nwindow = = 2\n");
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(lines.len() >= 2, "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("canary")), "{lines:?}");
    }

    #[test]
    fn a_number_beyond_every_type_is_found() {
        let text = "a = 99999999999999999999\nb = 1e400\nc = 0x10\nd = -5\ne = 1_000";
        let (tree, found) = parse(text);
        let fields: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["a", "b"]);
        assert_eq!(tree.root().get("c"), Some(&Value::Integer(16)));
        assert_eq!(tree.root().get("d"), Some(&Value::Integer(-5)));
        assert_eq!(tree.root().get("e"), Some(&Value::Integer(1000)));
    }
}
