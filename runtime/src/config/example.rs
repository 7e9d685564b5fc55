//! The example file: every section and key with its doc and default, written from the schema.
//!
//! A key that has a default stands there as a comment, `#key = default`, and so does a section that
//! is not there by default; a comment for people has a blank after its `#`.

use std::fmt::Write;

use schemars::Schema;
use serde_json::Value as Json;

use super::schema::{default, keys, member, sample};

/// Columns of a comment, its `# ` included.
const WIDTH: usize = 88;

const HEAD: &str = "\
# qqrelay's configuration, with every key and its default.
#
# A key is overridden by QQRELAY_<SECTION>__<KEY>, such as QQRELAY_LOG__WINDOW=512 or
# QQRELAY_BOTS__0__SECRET_FILE=/run/secrets/bot. Durations are written 500ms, 10s, 5m, 24h, 7d;
# sizes 512B, 900KiB, 16MiB, 8GiB. Relative paths start at the working directory.
# `qqrelay config check` says what is wrong with a file, all at once.
";

/// What the one bot of the example is called. The secret is no secret of anybody's.
const BOT: &str = "app_id = \"102000001\"\nsecret = \"write-the-AppSecret-here\"\n";

/// Writes the file.
pub(super) fn write(schema: &Schema) -> String {
    let mut text = HEAD.to_owned();
    for key in keys(schema.as_value()) {
        let Some(section) = member(schema.as_value(), key) else { continue };
        match section.get("items") {
            Some(item) => {
                comment(&mut text, section);
                let _ = write!(text, "[[{key}]]\n{BOT}");
                members(&mut text, item, "");
            }
            None => table(&mut text, key, section),
        }
    }
    text
}

fn table(text: &mut String, name: &str, section: &Json) {
    comment(text, section);
    // A section that means something by being there stands as a comment, as its keys do.
    let mark = if section.get("x-optional").is_some() { "#" } else { "" };
    let _ = writeln!(text, "{mark}[{name}]");
    members(text, section, name);
}

fn members(text: &mut String, section: &Json, name: &str) {
    let members = || keys(section).filter_map(|key| Some((key, member(section, key)?)));
    for (key, member) in members().filter(|(_, member)| member.get("properties").is_none()) {
        comment(text, member);
        match (default(member), sample(member)) {
            (Some(default), _) => drop(writeln!(text, "#{key} = {default}")),
            // A blank after the mark: it shows the form and is not what holds without it.
            (None, Some(sample)) => drop(writeln!(text, "# {key} = {sample}")),
            (None, None) => {}
        }
    }
    for (key, member) in members().filter(|(_, member)| member.get("properties").is_some()) {
        table(text, &format!("{name}.{key}"), member);
    }
}

/// Writes a doc as a comment, after an empty line.
fn comment(text: &mut String, node: &Json) {
    text.push('\n');
    let doc = node.get("description").and_then(Json::as_str).unwrap_or_default();
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
