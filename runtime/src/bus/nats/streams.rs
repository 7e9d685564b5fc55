//! The streams: made where they are absent, and otherwise checked for what matters.
//!
//! The rule a newcomer would break: a stream that is there is never changed. Whoever set it up
//! otherwise is told the difference, and decides.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, StorageType, SubjectTransform,
};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use qqrelay_proto::subject::{
    COMMAND_STORED_AS, COMMAND_SUBJECTS, COMMANDS, LETTER_SUBJECTS, LETTERS, Lane, Partition,
    RESULT_SUBJECTS, RESULTS,
};
use serde::Deserialize;

use super::connect::ConnectError;
use super::error::{AskError, code};
use super::link::Link;
use crate::bus::Layout;
use crate::bus::embedded::{Bound, Limits};
use crate::config::{Nats, Size, Span};

/// How long a command's id is remembered.
const COMMAND_ID_KEPT: Duration = Duration::from_secs(15 * 60);

/// How long an outcome or dead letter is remembered: who lost the answer asks again sooner.
const ENTRY_KEPT: Duration = Duration::from_secs(2 * 60);

/// How long an event's id is remembered where many write.
const EVENT_ID_KEPT: Duration = Duration::from_secs(2 * 60);

/// Questions about streams under way at once.
const AT_ONCE: usize = 8;

const PARTITIONS: &str = "qqrelay.partitions";
const WINDOW: &str = "qqrelay.window";
const LANES: &str = "qqrelay.lanes";

/// A stream as the server describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    config: Config,
    /// RFC 3339.
    pub(super) created: String,
    pub(super) state: State,
}

/// How far it reaches.
#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

/// Asks for a stream's description, which its leader gives.
pub(super) async fn info(link: &Link, stream: &str) -> Result<Info, AskError> {
    link.read(&format!("STREAM.INFO.{stream}"), &()).await
}

/// Every event stream of a layout, the webhook's last.
pub(super) fn partitions(layout: Layout) -> impl Iterator<Item = Partition> {
    (0..layout.partitions).map(Partition::Chain).chain([Partition::Webhook])
}

/// Makes what is absent and compares what is there.
pub(super) async fn prepare(
    link: &Link,
    nats: &Nats,
    layout: Layout,
    limits: &Limits,
) -> Result<(), ConnectError> {
    let wanted = wanted(layout, limits, usize::from(nats.replicas));
    let mut differences = Vec::new();
    let mut single = Vec::new();
    for some in wanted.chunks(AT_ONCE) {
        let found = try_join_all(some.iter().map(|wanted| one(link, nats, wanted).boxed()));
        for (found, wanted) in found.await?.into_iter().zip(some) {
            if found.num_replicas == 1 {
                single.push(wanted.name.as_str());
            }
            differences.extend(self::differences(&found, wanted));
        }
    }
    if !single.is_empty() {
        let streams = single.join(" ");
        tracing::warn!(streams, "one server keeps these streams: its disk is the only copy");
    }
    if differences.is_empty() { Ok(()) } else { Err(ConnectError::Differs(differences)) }
}

/// Makes a stream that somebody has deleted while it was in use.
pub(super) async fn again(
    link: &Link,
    nats: &Nats,
    layout: Layout,
    limits: &Limits,
    stream: &str,
) -> Result<(), AskError> {
    let wanted = wanted(layout, limits, usize::from(nats.replicas));
    for wanted in wanted.iter().filter(|wanted| wanted.name == stream) {
        let _: Info = link.read(&format!("STREAM.CREATE.{stream}"), wanted).await?;
    }
    Ok(())
}

/// Makes a stream that is absent; gives what is there.
async fn one(link: &Link, nats: &Nats, wanted: &Config) -> Result<Config, ConnectError> {
    let refused = |error| ConnectError::from_ask(nats, error);
    let mut found = info(link, &wanted.name).await;
    if found.as_ref().is_err_and(|error| error.code() == code::NO_STREAM) {
        // Who finds the same configuration there is told of it as if it were made now, so that
        // asking again is safe.
        found = link.read(&format!("STREAM.CREATE.{}", wanted.name), wanted).await;
        let stream = || wanted.name.clone();
        match found {
            Err(AskError::Denied(text)) => {
                return Err(ConnectError::Absent { stream: stream(), text });
            }
            Err(error) if error.code() == code::NO_ROOM => {
                let bytes = wanted.max_bytes.unsigned_abs();
                return Err(ConnectError::NoRoom { stream: stream(), bytes });
            }
            made => found = made,
        }
    }
    if found.as_ref().is_err_and(|error| error.code() == code::STREAM_EXISTS) {
        found = info(link, &wanted.name).await;
    }
    let found = found.map_err(refused)?;
    let replicas = found.config.num_replicas;
    if replicas > 1 && replicas != wanted.num_replicas {
        let configured = wanted.num_replicas;
        tracing::warn!(stream = wanted.name, replicas, configured, "nats.replicas differs");
    }
    Ok(found.config)
}

fn wanted(layout: Layout, limits: &Limits, replicas: usize) -> Vec<Config> {
    let metadata = |pairs: &[(&str, u16)]| -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
    };
    let base = |name: String, subjects: String, bound: Bound| Config {
        name,
        subjects: vec![subjects],
        max_age: bound.max_age,
        max_bytes: i64::try_from(bound.max_bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        storage: StorageType::File,
        num_replicas: replicas,
        ..Config::default()
    };
    let lanes = (LANES, u16::from(Lane::COUNT));
    let parts = (PARTITIONS, u16::from(layout.partitions));
    let events = partitions(layout).map(|partition| {
        let base = base(partition.stream(), partition.all(), limits.events);
        match partition {
            Partition::Chain(_) => Config {
                allow_atomic_publish: true,
                metadata: metadata(&[parts, (WINDOW, layout.window), lanes]),
                ..base
            },
            Partition::Webhook => Config {
                duplicate_window: EVENT_ID_KEPT,
                metadata: metadata(&[parts, lanes]),
                ..base
            },
        }
    });
    let commands = Config {
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        duplicate_window: COMMAND_ID_KEPT,
        subject_transform: Some(SubjectTransform {
            source: COMMAND_SUBJECTS.to_owned(),
            destination: COMMAND_STORED_AS.to_owned(),
        }),
        metadata: metadata(&[lanes]),
        ..base(COMMANDS.to_owned(), COMMAND_SUBJECTS.to_owned(), limits.commands)
    };
    let results = Config {
        duplicate_window: ENTRY_KEPT,
        max_messages: i64::try_from(limits.results_max).unwrap_or(i64::MAX),
        ..base(RESULTS.to_owned(), RESULT_SUBJECTS.to_owned(), limits.results)
    };
    let letters = Config {
        duplicate_window: ENTRY_KEPT,
        ..base(LETTERS.to_owned(), LETTER_SUBJECTS.to_owned(), limits.letters)
    };
    events.chain([commands, results, letters]).collect()
}

/// Something about a stream that has to be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The stream.
    pub stream: String,
    /// What of it.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it has to be.
    pub wanted: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, setting, found, wanted, fix } = self;
        write!(f, "stream {stream}: {setting} is {found} and has to be {wanted}; {fix}")
    }
}

/// Everything that matters and is not as it has to be.
fn differences(found: &Config, wanted: &Config) -> Vec<Difference> {
    let mut list = Vec::new();
    let mut check = |setting, found: String, expected: String, fix: String| {
        if found != expected {
            let stream = wanted.name.clone();
            list.push(Difference { stream, setting, found, wanted: expected, fix });
        }
    };
    for (name, key) in [(PARTITIONS, "partitions"), (WINDOW, "window"), (LANES, "lanes")] {
        let of = |config: &Config| config.metadata.get(name).map_or("absent", |v| v).to_owned();
        let fix = match key {
            "lanes" => "use the release of qqrelay that made the stream".to_owned(),
            key => format!("write log.{key} = {}, which is fixed once the log exists", of(found)),
        };
        check(key, of(found), of(wanted), fix);
    }
    let edit = |flag: &str| format!("run nats stream edit {} {flag}", wanted.name);
    let anew = || "it cannot be changed: remove the stream once nothing in it is needed".to_owned();
    let bytes = |config: &Config| match u64::try_from(config.max_bytes) {
        Ok(bytes) => Size::format(bytes),
        Err(_) => "unlimited".to_owned(),
    };
    // Bounds of the event log are the configuration's to follow, where there are any.
    let is_event_log = wanted.metadata.contains_key(PARTITIONS);
    let bound = |key: &str, value: &str, flag: &str| match value {
        "unlimited" => edit(flag),
        _ if !is_event_log => edit(flag),
        value => format!("write log.{key} = \"{value}\", or {}", edit(flag)),
    };
    let age = |config: &Config| match config.max_age {
        Duration::ZERO => "unlimited".to_owned(),
        age => Span::format(age),
    };
    let age_fix = bound("max_age", &age(found), &format!("--max-age {}", age(wanted)));
    check("max_age", age(found), age(wanted), age_fix);
    let bytes_fix = bound("max_bytes", &bytes(found), &format!("--max-bytes {}", wanted.max_bytes));
    check("max_bytes", bytes(found), bytes(wanted), bytes_fix);
    let (count, limit) = (found.max_messages.to_string(), wanted.max_messages.to_string());
    check("max_msgs", count, limit.clone(), edit(&format!("--max-msgs {limit}")));
    let per_subject = found.max_messages_per_subject.to_string();
    check("max_msgs_per_subject", per_subject, "-1".into(), edit("--max-msgs-per-subject -1"));
    let window = |config: &Config| Span::format(config.duplicate_window);
    if !wanted.duplicate_window.is_zero() {
        let fix = edit(&format!("--dupe-window {}", window(wanted)));
        check("duplicate_window", window(found), window(wanted), fix);
    }
    let subjects = |config: &Config| config.subjects.join(" ");
    check(
        "subjects",
        subjects(found),
        subjects(wanted),
        edit(&format!("--subjects '{}'", subjects(wanted))),
    );
    let transform = |config: &Config| match &config.subject_transform {
        Some(transform) => format!("{} to {}", transform.source, transform.destination),
        None => "none".to_owned(),
    };
    check("subject_transform", transform(found), transform(wanted), anew());
    check("retention", format!("{:?}", found.retention), format!("{:?}", wanted.retention), anew());
    check("storage", format!("{:?}", found.storage), format!("{:?}", wanted.storage), anew());
    let discard = |config: &Config| format!("{:?}", config.discard).to_lowercase();
    check(
        "discard",
        discard(found),
        discard(wanted),
        edit(&format!("--discard {}", discard(wanted))),
    );
    if wanted.allow_atomic_publish {
        let atomic = found.allow_atomic_publish.to_string();
        check("allow_atomic", atomic, "true".into(), edit("--allow-batch"));
    }
    check(
        "allow_direct",
        found.allow_direct.to_string(),
        "false".into(),
        edit("--no-allow-direct"),
    );
    check("no_ack", found.no_ack.to_string(), "false".into(), edit("--ack"));
    check("sealed", found.sealed.to_string(), "false".into(), anew());
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Vec<Config> {
        wanted(Layout { partitions: 2, window: 256 }, &Limits::default(), 3)
    }

    #[test]
    fn what_was_made_as_wanted_differs_in_nothing() {
        for wanted in streams() {
            let mut found = wanted.clone();
            found.metadata.insert("_nats.ver".into(), "2.15.1".into());
            assert_eq!(differences(&found, &wanted), []);
        }
    }

    #[test]
    fn each_difference_is_a_sentence_with_its_fix() {
        let check = |index: usize, change: fn(&mut Config), pieces: &[&str]| {
            let wanted = &streams()[index];
            let mut found = wanted.clone();
            change(&mut found);
            let found = differences(&found, wanted);
            let [one] = &found[..] else { panic!("one differs: {found:?}") };
            for piece in pieces {
                assert!(one.to_string().contains(piece), "{piece:?} is not in \"{one}\"");
            }
        };
        let window = |config: &mut Config| {
            config.metadata.insert(WINDOW.into(), "128".into());
        };
        check(0, window, &["stream QQ_EV_00: window is 128 and has to be 256", "log.window = 128"]);
        let partitions = |config: &mut Config| drop(config.metadata.remove(PARTITIONS));
        check(1, partitions, &["QQ_EV_01", "partitions is absent and has to be 2"]);
        check(0, |config| config.allow_atomic_publish = false, &["allow_atomic", "--allow-batch"]);
        check(
            0,
            |config| config.allow_direct = true,
            &["allow_direct is true", "--no-allow-direct"],
        );
        check(0, |config| config.max_age /= 2, &["max_age is 12h", "log.max_age = \"12h\""]);
        check(2, |config| config.max_bytes = -1, &["QQ_EV_wh", "max_bytes is unlimited"]);
        check(
            3,
            |config| config.subject_transform = None,
            &["QQ_COMMANDS", "none", "{{partition(16"],
        );
        check(3, |config| config.duplicate_window /= 3, &["5m", "--dupe-window 15m"]);
        check(4, |config| config.max_messages = 5, &["QQ_RESULTS: max_msgs is 5"]);
        check(5, |config| config.no_ack = true, &["QQ_DLQ", "no_ack"]);
    }
}
