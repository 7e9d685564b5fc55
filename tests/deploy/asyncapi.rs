//! `docs/asyncapi.json`: it is in order, its subjects are those that `proto` builds and reads, its payloads the
//! schemas that are checked in, and its headers those of `proto`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use qqrelay_proto::record::header;
use qqrelay_proto::subject::{
    COMMAND_SUBJECTS, CommandSubject, LETTER_SUBJECTS, LogSubject, REQUESTS, RESULT_SUBJECTS,
    SHARD_STATES, matches, request, shard_state,
};
use serde_json::Value;

use crate::server::tree;

fn document() -> anyhow::Result<(PathBuf, Value)> {
    let path = tree().join("docs/asyncapi.json");
    let text = fs::read(&path)?;
    Ok((path, serde_json::from_slice(&text)?))
}

/// A channel's address with an id in the place of each parameter.
fn subject(document: &Value, channel: &str) -> anyhow::Result<String> {
    let address = document["channels"][channel]["address"].as_str();
    let mut subject = address.with_context(|| format!("channel {channel}"))?.to_owned();
    for (parameter, value) in [
        ("{partition}", "02"),
        ("{app}", "102"),
        ("{source}", "4-0"),
        ("{lane}", "7"),
        ("{scene}", "group"),
        ("{scope}", "A1"),
        ("{kind}", "message_create"),
        ("{action}", "send"),
        ("{command}", "e=3A1"),
    ] {
        subject = subject.replace(parameter, value);
    }
    ensure!(!subject.contains(['{', '}']), "{subject}: a parameter that is not known here");
    Ok(subject)
}

#[test]
fn its_subjects_are_those_of_the_relay() -> anyhow::Result<()> {
    let (_, document) = document()?;
    let read =
        |channel| -> anyhow::Result<LogSubject> { Ok(subject(&document, channel)?.parse()?) };
    ensure!(matches!(read("events")?, LogSubject::Event { kind: Some(_), .. }));
    ensure!(matches!(read("sessions")?, LogSubject::Session(_)));
    ensure!(matches!(read("duplicates")?, LogSubject::Duplicate(_)));
    ensure!(matches!(read("gaps")?, LogSubject::Gap(_)));
    ensure!(matches!(read("ownership")?, LogSubject::Ownership(_)));
    let command = subject(&document, "commands")?;
    ensure!(CommandSubject::outside(&command).is_some() && matches(COMMAND_SUBJECTS, &command));
    let place = CommandSubject::outside(&command).context("a command")?.place;
    ensure!(subject(&document, "results")? == place.result("e:1"));
    ensure!(matches(RESULT_SUBJECTS, &subject(&document, "results")?));
    ensure!(subject(&document, "letters")? == place.dead_letter("message_create"));
    ensure!(matches(LETTER_SUBJECTS, &subject(&document, "letters")?));
    ensure!(subject(&document, "requests")? == request(&"102".into(), "send"));
    ensure!(matches(REQUESTS, &subject(&document, "requests")?));
    let source = "4-0".parse().context("a source")?;
    ensure!(subject(&document, "shards")? == shard_state(&"102".into(), source));
    ensure!(matches(SHARD_STATES, &subject(&document, "shards")?));
    ensure!(document["channels"]["answers"]["address"].is_null(), "an inbox is whoever's it is");
    let channels = document["channels"].as_object().context("channels")?;
    ensure!(channels.len() == 11, "a channel that is not looked at here: {:?}", channels.keys());
    Ok(())
}

#[test]
fn its_headers_are_those_of_a_record() -> anyhow::Result<()> {
    let (_, document) = document()?;
    let names = |message: &str| -> BTreeSet<String> {
        let headers = &document["components"]["messages"][message]["headers"]["properties"];
        headers.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let of_all = [header::SESSION, header::SEQ, header::OWNER];
    let of_events = [
        header::ID,
        header::TRACE_PARENT,
        header::CONTENT_TYPE,
        header::CE_SPEC_VERSION,
        header::CE_ID,
        header::CE_SOURCE,
        header::CE_TYPE,
    ];
    let of_letters = [
        header::DLQ_REASON,
        header::DLQ_DETAIL,
        header::DLQ_STREAM,
        header::DLQ_SEQ,
        header::DLQ_SUBJECT,
    ];
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    ensure!(names("event") == set(&[&of_all[..], &of_events[..]].concat()));
    ensure!(names("session") == set(&of_all));
    ensure!(names("letter") == set(&of_letters));
    Ok(())
}

/// By the schema of the language it is written in, which its makers publish.
#[test]
fn it_is_one_that_tools_can_read() -> anyhow::Result<()> {
    let installed = |name: &str| tree().join("target/deploy").join(name);
    let (path, mut document) = document()?;
    let version = document["asyncapi"].as_str().context("a version")?.to_owned();
    let schemas = installed("asyncapi/node_modules/@asyncapi/specs/schemas");
    let check = |path: &Path| {
        Command::new(installed("python/bin/python"))
            .args(["-c", CHECK])
            .arg(schemas.join(format!("{version}-without-$id.json")))
            .arg(path)
            .output()
    };
    let checked = check(&path)?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    document["channels"]["events"]["adress"] = "misspelt".into();
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("wrong.json"), document.to_string())?;
    let said = String::from_utf8(check(&folder.path().join("wrong.json"))?.stdout)?;
    ensure!(said.contains("adress"), "nobody minds what is wrong: {said}");
    Ok(())
}

/// Prints what is wrong with a document.
const CHECK: &str = r"
import json, sys
from jsonschema import Draft7Validator
schema, document = (json.load(open(path)) for path in sys.argv[1:])
problems = [f'{list(e.absolute_path)}: {e.message}' for e in Draft7Validator(schema).iter_errors(document)]
print('\n'.join(problems))
sys.exit(len(problems) > 0)
";

#[test]
fn everything_it_points_at_is_there() -> anyhow::Result<()> {
    let (path, document) = document()?;
    let mut found = BTreeSet::new();
    follow(&path, &document, &document, &mut found)?;
    let mut schemas: Vec<_> = fs::read_dir(tree().join("proto/schema"))?
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    schemas.retain(|name| !found.contains(name));
    ensure!(schemas.is_empty(), "no message has the payload {schemas:?}");
    Ok(())
}

/// Looks up each `$ref` below `value`, in the document itself or in the file beside it.
fn follow(
    path: &Path,
    document: &Value,
    value: &Value,
    found: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    if let Some(target) = value.get("$ref").and_then(Value::as_str) {
        if let Some(pointer) = target.strip_prefix('#') {
            ensure!(document.pointer(pointer).is_some(), "{target} is not there");
        } else {
            let file = path.parent().context("a folder")?.join(target);
            let schema: Value =
                serde_json::from_slice(&fs::read(&file).context(target.to_owned())?)?;
            if found.insert(file.file_name().unwrap_or_default().to_string_lossy().into_owned()) {
                follow(&file, &schema, &schema, found)?;
            }
        }
    }
    let children: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    children.into_iter().try_for_each(|child| follow(path, document, child, found))
}
