//! From file and environment to [`Config`].
//!
//! serde stops at the first error, so a field that cannot be read becomes a finding, is removed
//! and the rest is read again, until nothing is left to complain about.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use schemars::Schema;
use serde_json::Value as Json;
use serde_path_to_error::Segment;
use toml::Value;

use super::check::{self, Checked};
use super::problem::{Findings, Origin, Problem, Problems, nearest};
use super::secret::{Secret, SecretError};
use super::source::{PREFIX, Step, Tree, path_text};
use super::{Config, schema};

/// A configuration that can be run, and what its operator should still hear about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration, secrets included.
    pub config: Config,
    /// What is allowed and unwise; print it once logging works.
    pub warnings: Vec<Problem>,
}

/// The variables of this process that may be configuration, for [`load`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
}

/// Reads the configuration: the file, if one is named, under `environment`.
///
/// Blocks on small local files.
///
/// # Errors
///
/// Everything that is wrong, at once. The caller prints it and exits with 78.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    let mut findings = Findings::default();
    let schema = schema::generate();
    let text = file.and_then(|path| read_file(path, &mut findings));
    let mut tree = match (file, &text) {
        (Some(path), Some(text)) => Tree::parse(path, text, &mut findings),
        _ => Tree::new(),
    };
    if findings.has_unreadable() {
        return Err(findings.into_problems()); // what follows from half a file helps nobody
    }
    tree.overlay(environment, &schema, &mut findings);
    for path in unknown(&tree, &schema, &mut findings) {
        tree.remove(&path);
    }
    let mut config = deserialize(&mut tree, &schema, &mut findings);
    read_secrets(&mut config, &tree, &mut findings);
    check::check(&config, &mut Checked::new(&tree, &mut findings));
    findings.verdict()?;
    let warnings = warnings(file, &config, &tree);
    Ok(Loaded { config, warnings })
}

/// A configuration is some kilobytes; a larger file is another file.
const FILE_MAX: u64 = 1 << 20;

/// A secret is a line.
const SECRET_FILE_MAX: u64 = 4 << 10;

fn read_file(path: &Path, findings: &mut Findings) -> Option<String> {
    let origin = Origin::File { path: path.into(), line: 0 };
    match read_bounded(path, FILE_MAX) {
        Ok(text) => Some(text),
        Err(error) => {
            let fix = "name a TOML file that this user may read";
            findings.add(origin, "", format!("cannot be read: {error}"), fix);
            None
        }
    }
}

fn read_bounded(path: &Path, max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

/// Finds keys that no field has.
fn unknown(tree: &Tree, schema: &Schema, findings: &mut Findings) -> Vec<Vec<Step>> {
    let mut walk = Walk { tree, findings, path: Vec::new(), unknown: Vec::new() };
    walk.down(tree.root(), schema.as_value());
    walk.unknown
}

struct Walk<'a> {
    tree: &'a Tree,
    findings: &'a mut Findings,
    path: Vec<Step>,
    unknown: Vec<Vec<Step>>,
}

impl Walk<'_> {
    fn down(&mut self, value: &Value, schema: &Json) {
        match value {
            Value::Table(table) if schema.get("properties").is_some() => {
                for (key, value) in table {
                    self.path.push(Step::Key(key.clone()));
                    match schema::member(schema, key) {
                        Some(member) => self.down(value, member),
                        None => self.report(key, schema),
                    }
                    self.path.pop();
                }
            }
            Value::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    self.down(item, schema);
                    self.path.pop();
                }
            }
            _ => {} // of a wrong type, or a plain value: serde sees to it
        }
    }

    fn report(&mut self, key: &str, schema: &Json) {
        let field = path_text(&self.path);
        let kind = if self.path.len() == 1 { "section" } else { "key" };
        let fix = match (key, nearest(key, schema::keys(schema))) {
            (_, Some(near)) => format!("write {near}, or take it out"),
            (_, None) => {
                let known: Vec<&str> = schema::keys(schema).collect();
                format!("take it out; there are {}", known.join(", "))
            }
        };
        self.findings.add(self.tree.origin(&field), &field, format!("unknown {kind}"), fix);
        self.unknown.push(self.path.clone());
    }
}

/// Reads the tree, removing what cannot be read until the rest can.
fn deserialize(tree: &mut Tree, schema: &Schema, findings: &mut Findings) -> Config {
    /// Each round reads the tree anew, so that a hostile file must not have as many as it likes.
    const MAX_ROUNDS: usize = 100;

    for _ in 0..MAX_ROUNDS {
        let error = match serde_path_to_error::deserialize(tree.root().clone()) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let path: Vec<Step> = error.path().iter().map_while(step).collect();
        let field = path_text(&path);
        let what = error.inner().message().trim().replace('\n', ", ");
        findings.add(tree.origin(&field), &field, what, right_type(&path, schema));
        if !tree.remove(&path) {
            break;
        }
    }
    Config::default() // never seen: there are findings
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// What to write instead of a value of the wrong type.
fn right_type(path: &[Step], schema: &Schema) -> String {
    let node = schema::at(schema, path);
    match (path.last(), node.and_then(schema::sample)) {
        (Some(Step::Key(key)), Some(sample)) => format!("write it like {key} = {sample}"),
        _ if node.is_some_and(schema::takes_only_text) => "write text in quotes".into(),
        _ => "see `qqrelay config example` for how it is written".into(),
    }
}

/// Replaces each `secret_file` by what is in it, and checks every secret.
fn read_secrets(config: &mut Config, tree: &Tree, findings: &mut Findings) {
    for (index, bot) in config.bots.iter_mut().enumerate() {
        let section = format!("bots[{index}]");
        read_secret(&section, &mut bot.secret, bot.secret_file.as_deref(), tree, findings);
        if bot.enabled && bot.secret.is_empty() && bot.secret_file.is_none() {
            missing_secret(&section, tree, findings);
        }
    }
    let http = &mut config.worker.http;
    read_secret("worker.http", &mut http.secret, http.secret_file.as_deref(), tree, findings);
    let wanted = config.worker.handler == super::HandlerName::Http;
    if wanted && http.secret.is_empty() && http.secret_file.is_none() {
        missing_secret("worker.http", tree, findings);
    }
}

fn missing_secret(section: &str, tree: &Tree, findings: &mut Findings) {
    let field = format!("{section}.secret");
    if !findings.has(&format!("{field}_file")) {
        let fix = "give secret_file, the path of a file that holds it";
        findings.add(tree.origin(&field), &field, "is missing or empty", fix);
    }
}

fn read_secret(
    section: &str,
    secret: &mut Secret,
    file: Option<&Path>,
    tree: &Tree,
    findings: &mut Findings,
) {
    let inline = format!("{section}.secret");
    let Some(path) = file else {
        if !secret.is_empty() {
            check_secret(secret, &inline, tree, findings);
        }
        return;
    };
    let field = format!("{section}.secret_file");
    if !secret.is_empty() {
        let fix = "take out secret; the file is the better way";
        findings.add(tree.origin(&inline), &inline, "is given twice, here and by secret_file", fix);
        return;
    }
    match read_bounded(path, SECRET_FILE_MAX) {
        Ok(text) => {
            let line = text
                .strip_suffix('\n')
                .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
            *secret = Secret::new(line.to_owned());
            check_secret(secret, &field, tree, findings);
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            findings.add(tree.origin(&field), &field, what, "name a file that this user may read");
        }
    }
}

fn check_secret(secret: &Secret, field: &str, tree: &Tree, findings: &mut Findings) {
    let Err(error) = secret.check() else { return };
    let fix = match error {
        SecretError::Empty | SecretError::Short { .. } => {
            "copy the whole secret from the platform's console, or make one of 32 random characters"
        }
        SecretError::ByteOrderMark => "save the file as UTF-8 without a byte order mark",
        SecretError::Control | SecretError::Blank => "write the secret alone, on one line",
    };
    findings.add(tree.origin(field), field, error.to_string(), fix);
}

fn warnings(file: Option<&Path>, config: &Config, tree: &Tree) -> Vec<Problem> {
    let mut warnings = Findings::default();
    if config.bots.iter().all(|bot| !bot.enabled) {
        let fix = "add a [[bots]] section with app_id and secret_file";
        warnings.add(tree.origin("bots"), "bots", "no bot is enabled", fix);
    }
    for limit in config.egress.limits.beyond_published() {
        let field = format!("egress.limits.{}", limit.as_str());
        let fix = "lower it, unless the platform gave this bot more";
        warnings.add(tree.origin(&field), &field, "is above what the platform publishes", fix);
    }
    let inline = (0..config.bots.len())
        .map(|index| format!("bots[{index}].secret"))
        .chain(["worker.http.secret".to_owned()])
        .filter(|field| tree.is_in_file(field));
    if file.is_some_and(is_open_to_others) {
        for field in inline {
            let fix = "use secret_file, or chmod 600 the file";
            warnings.add(tree.origin(&field), &field, "other users may read this file", fix);
        }
    }
    warnings.into_list()
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests;
