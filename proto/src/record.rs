//! What the log holds: one record per frame, and what is said about frames.
//!
//! A record is a subject (see [`crate::subject`]), [`Headers`] from a closed set, and a JSON
//! payload. Text from outside that goes into a header is percent-encoded, so no id can forge one.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::id::{AppId, OwnerId, Seq, SessionId};
use crate::subject::LogSubject;

/// The largest record the log is asked to take, headers and payload.
///
/// Below the 1 MiB that a NATS server takes by default, with room for its framing.
pub const RECORD_BYTES_MAX: usize = 900 * 1024;

/// Header names, as NATS and CloudEvents write them.
pub mod header {
    /// The session a record belongs to.
    pub const SESSION: &str = "Qq-Session";
    /// The frame's sequence in that session.
    pub const SEQ: &str = "Qq-Seq";
    /// The process that wrote it.
    pub const OWNER: &str = "Qq-Owner";
    /// The event's id, the de-duplication key.
    pub const ID: &str = "Qq-Id";
    /// W3C trace context.
    pub const TRACE_PARENT: &str = "traceparent";
    /// Media type of the payload.
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// CloudEvents: version of the binding.
    pub const CE_SPEC_VERSION: &str = "ce-specversion";
    /// CloudEvents: the same as [`ID`].
    pub const CE_ID: &str = "ce-id";
    /// CloudEvents: `/qq/<app>`.
    pub const CE_SOURCE: &str = "ce-source";
    /// CloudEvents: `qqrelay.<kind>.v1`.
    pub const CE_TYPE: &str = "ce-type";
    /// Of a dead letter: metric label of the cause.
    pub const DLQ_REASON: &str = "Qq-Dlq-Reason";
    /// Of a dead letter: the cause for people, percent-encoded.
    pub const DLQ_DETAIL: &str = "Qq-Dlq-Detail";
    /// Of a dead letter: the stream it came from.
    pub const DLQ_STREAM: &str = "Qq-Dlq-Stream";
    /// Of a dead letter: its number there.
    pub const DLQ_SEQ: &str = "Qq-Dlq-Seq";
    /// Of a dead letter: the subject it had there.
    pub const DLQ_SUBJECT: &str = "Qq-Dlq-Subject";
}

/// A record on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it goes.
    pub subject: String,
    /// What routers and the chain need to know of it.
    pub headers: Headers,
    /// JSON.
    pub payload: Bytes,
}

impl Record {
    /// Room it takes in the log, near enough for a bound: text and payload, 32 bytes a header.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.pairs().map(|(name, value)| name.len() + value.room() + 32).sum();
        self.subject.len() + headers + self.payload.len()
    }
}

/// A record as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number in its partition, from 1.
    pub number: u64,
    /// When the log took it, milliseconds since 1970.
    pub at_ms: u64,
    /// The record.
    pub record: Record,
}

/// The headers a record can have. There are no others, and none is taken from user data as is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Session of the frame.
    pub session: Option<SessionId>,
    /// Sequence of the frame in its session.
    pub seq: Option<Seq>,
    /// Who wrote the record.
    pub owner: Option<OwnerId>,
    /// Of an event.
    pub event: Option<EventHeaders>,
    /// W3C trace context, `00-<trace>-<span>-<flags>`.
    pub trace_parent: Option<Box<str>>,
}

/// What headers say of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHeaders {
    /// `<app>:<key>`, stable across replays, sources and ingresses.
    pub id: Box<str>,
    /// The bot.
    pub app: AppId,
    /// What happened.
    pub kind: EventKind,
}

impl Headers {
    /// Names and values as they go over the wire.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, HeaderText<'_>)> {
        use HeaderText::{Kind, Number, Plain, Source, Text};
        let session = self.session.as_ref().map(|id| (header::SESSION, Text(id.as_str())));
        let seq = self.seq.map(|seq| (header::SEQ, Number(seq)));
        let owner = self.owner.as_ref().map(|id| (header::OWNER, Text(id.as_str())));
        let trace = self.trace_parent.as_deref().map(|text| (header::TRACE_PARENT, Text(text)));
        let event = self.event.iter().flat_map(|event| {
            [
                (header::ID, Text(&event.id)),
                (header::CONTENT_TYPE, Plain("application/json")),
                (header::CE_SPEC_VERSION, Plain("1.0")),
                (header::CE_ID, Text(&event.id)),
                (header::CE_SOURCE, Source(event.app.as_str())),
                (header::CE_TYPE, Kind(event.kind)),
            ]
        });
        session.into_iter().chain(seq).chain(owner).chain(trace).chain(event)
    }

    /// Reads headers back; names that are not ours are passed over.
    #[must_use]
    pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut headers = Self::default();
        let (mut id, mut app, mut kind) = (None, None, None);
        for (name, value) in pairs {
            match name {
                header::SESSION => headers.session = Some(decode(value).into()),
                header::SEQ => headers.seq = value.parse().ok(),
                header::OWNER => headers.owner = Some(decode(value).into()),
                header::TRACE_PARENT => headers.trace_parent = Some(decode(value).into()),
                header::ID => id = Some(decode(value).into_boxed_str()),
                header::CE_SOURCE => {
                    app = value.strip_prefix("/qq/").map(|app| AppId::from(decode(app)));
                }
                header::CE_TYPE => {
                    let name = value.strip_prefix("qqrelay.").and_then(|v| v.strip_suffix(".v1"));
                    kind = name.map(|name| name.parse().unwrap_or(EventKind::Unknown));
                }
                _ => {}
            }
        }
        if let (Some(id), Some(app), Some(kind)) = (id, app, kind) {
            headers.event = Some(EventHeaders { id, app, kind });
        }
        headers
    }
}

/// A header's value, which is written where it is wanted. No line break is in what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderText<'a> {
    /// Somebody's text: percent-encoded.
    Text(&'a str),
    /// Our own, as it is.
    Plain(&'static str),
    /// A number.
    Number(u64),
    /// The bot, as CloudEvents names a source.
    Source(&'a str),
    /// What happened, as CloudEvents names a type.
    Kind(EventKind),
}

impl HeaderText<'_> {
    /// The value by itself.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(self.room());
        match self {
            Self::Text(said) => encode_into(said, &mut text),
            Self::Plain(ours) => text.push_str(ours),
            Self::Number(number) => write!(text, "{number}").expect("a String takes all"),
            Self::Source(app) => {
                text.push_str("/qq/");
                encode_into(app, &mut text);
            }
            Self::Kind(kind) => write!(text, "qqrelay.{kind}.v1").expect("a String takes all"),
        }
        text
    }

    /// Bytes that it takes, exact where nothing has to be encoded, or a few more.
    #[must_use]
    pub const fn room(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Plain(text) => text.len(),
            Self::Number(_) => 20,
            Self::Source(app) => 4 + app.len(),
            Self::Kind(_) => 40,
        }
    }
}

/// Percent-encodes what may not stand in a header, as the CloudEvents NATS binding asks.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    if text.as_bytes().iter().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    encode_into(text, &mut encoded);
    Cow::Owned(encoded)
}

fn encode_into(text: &str, to: &mut String) {
    if text.as_bytes().iter().all(is_plain) {
        return to.push_str(text);
    }
    for byte in text.bytes() {
        if is_plain(&byte) {
            to.push(char::from(byte));
        } else {
            write!(to, "%{byte:02X}").expect("a String takes all");
        }
    }
}

const fn is_plain(byte: &u8) -> bool {
    matches!(byte, 0x21..=0x7E if !matches!(byte, b'"' | b'%'))
}

/// Undoes [`encode`].
#[must_use]
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escaped = tail.split_at_checked(2).filter(|_| *byte == b'%').and_then(|(hex, tail)| {
            let hex = std::str::from_utf8(hex).ok()?;
            Some((u8::from_str_radix(hex, 16).ok()?, tail))
        });
        let (byte, tail) = escaped.unwrap_or((*byte, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Payload of `….ses`: what happened to a session, or a frame that could not be relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum SessionRecord {
    /// READY: the platform made a session; its frames follow.
    Ready {
        /// The bot's own user id, as READY gave it.
        #[serde(skip_serializing_if = "Option::is_none")]
        bot: Option<String>,
    },
    /// RESUMED: what was missed has been sent again.
    Resumed,
    /// A frame that cannot be relayed stands at this sequence.
    Dropped {
        /// Why.
        reason: DropReason,
    },
    /// The newest record, said again so that retention does not take the resume point away.
    Kept,
    /// The session is over on purpose, and never to be resumed.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// Why a frame is not in the log as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Larger than a record may be, even without `raw`.
    TooLarge,
    /// Its `d` could not be read.
    Unreadable,
    /// The log will never take it.
    Refused,
}

/// Why a session was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Another set of shards has taken over.
    Resharded,
    /// The bot is no longer configured.
    Removed,
    /// The bot asks to hear of something else now, and a session cannot be told so.
    Reconfigured,
}

/// Payload of `….dup`: an event that the log has already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicate {
    /// The record that holds the event.
    pub of: Place,
    /// The event's id.
    pub id: String,
}

/// A record's place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// `QQ_EV_03`
    pub stream: String,
    /// Its number there.
    pub seq: u64,
}

/// Payload of `….gap`: frames that cannot be recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The session that lost them; absent where there was none yet.
    pub session: Option<SessionId>,
    /// The last sequence that is in the log; 0 where nothing is.
    pub after: Seq,
    /// The last lost sequence; absent when nobody can know, because the session is gone.
    pub until: Option<Seq>,
    /// Why.
    pub reason: GapReason,
    /// When it was noticed, RFC 3339.
    pub at: String,
}

/// Why frames are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// A source that never had a session: what came before it is nobody's.
    First,
    /// The platform said that the session is gone.
    SessionInvalid,
    /// Resumes led nowhere three times.
    ResumeFailed,
    /// The platform skipped these sequences, twice after two resumes.
    Hole,
    /// The log lost records that it had acknowledged.
    LogLost,
    /// An IDENTIFY slipped through a pause and took frames away from the true session.
    Orphan,
    /// The session had been ended on purpose.
    Ended,
    /// A busy session said nothing for too long, a RESUME changed nothing, and it was given up.
    Silent,
}

impl GapReason {
    /// Every reason, for metrics that start at zero.
    pub const ALL: [Self; 8] = [
        Self::First,
        Self::SessionInvalid,
        Self::ResumeFailed,
        Self::Hole,
        Self::LogLost,
        Self::Orphan,
        Self::Ended,
        Self::Silent,
    ];

    /// The name in JSON, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::SessionInvalid => "session_invalid",
            Self::ResumeFailed => "resume_failed",
            Self::Hole => "hole",
            Self::LogLost => "log_lost",
            Self::Orphan => "orphan",
            Self::Ended => "ended",
            Self::Silent => "silent",
        }
    }
}

/// Payload of `….own`: who writes the partition from here on. The fillers of a marker batch say
/// the same with a number, so the newest record of the subject always names the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ownership {
    /// The process.
    pub owner: OwnerId,
    /// How often that process has taken this partition; a recovery counts too.
    pub incarnation: u64,
    /// When the process started, RFC 3339.
    pub started: String,
    /// Absent in the marker; 1, 2, … in the fillers behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filler: Option<usize>,
}

/// Enough to continue a session on another socket, or in another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// The platform's name for the session.
    pub session: SessionId,
    /// The newest sequence that the log holds, or that a closed gap covers.
    pub seq: Seq,
}

/// What a source's newest record says about going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// There is none: a new source.
    Absent,
    /// The session lives as far as we know.
    Resume(ResumePoint),
    /// An open gap is recorded: identify.
    Open,
    /// The session was ended on purpose: record a gap, then identify.
    Ended,
    /// The log lost it, and everything of the source: record a gap, then identify. No record says so;
    /// whoever remembers more than the log holds does.
    Lost,
}

impl Tail {
    /// Reads it off the newest record of a source.
    ///
    /// A record that says neither session nor sequence, which nothing of ours writes, counts as
    /// [`Tail::Absent`]: a gap is recorded and a new session begun, and nothing is resumed blindly.
    #[must_use]
    pub fn of(newest: Option<&Record>) -> Self {
        let Some(record) = newest else { return Self::Absent };
        match record.subject.parse() {
            Ok(LogSubject::Gap(_)) => {
                if let Ok(Gap { session: Some(session), until: Some(seq), .. }) =
                    serde_json::from_slice(&record.payload)
                {
                    return Self::Resume(ResumePoint { session, seq });
                }
                return Self::Open;
            }
            Ok(LogSubject::Session(_)) => {
                if let Ok(SessionRecord::Ended { .. }) = serde_json::from_slice(&record.payload) {
                    return Self::Ended;
                }
            }
            _ => {}
        }
        match (&record.headers.session, record.headers.seq) {
            (Some(session), Some(seq)) => {
                Self::Resume(ResumePoint { session: session.clone(), seq })
            }
            _ => Self::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Scene, Scope, ShardId};
    use crate::subject::{Partition, Source, SourceSubject};
    use proptest::prelude::*;

    fn source() -> SourceSubject {
        let shard = ShardId::new(0, 1).expect("0 is below 1");
        SourceSubject::new(Partition::Chain(0), &"102".into(), Source::Shard(shard))
    }

    fn record(subject: String, payload: &impl Serialize) -> Record {
        let headers = Headers { session: Some("s-1".into()), seq: Some(7), ..Headers::default() };
        let payload = serde_json::to_vec(payload).expect("records serialise").into();
        Record { subject, headers, payload }
    }

    fn gap(until: Option<Seq>) -> Gap {
        let (session, at) = (Some("s-1".into()), "2026-09-01T10:00:00Z".into());
        Gap { session, after: 7, until, reason: GapReason::Hole, at }
    }

    #[test]
    fn the_newest_record_says_how_to_go_on() {
        let check = |record: Option<Record>, expected| {
            assert_eq!(Tail::of(record.as_ref()), expected);
        };
        let resume = |seq| Tail::Resume(ResumePoint { session: "s-1".into(), seq });
        let event = source().event(&Scope::new(Scene::Group, "g"), EventKind::MessageCreate);
        let ended = SessionRecord::Ended { reason: EndReason::Removed };
        check(None, Tail::Absent);
        check(Some(record(event, &"payload")), resume(7));
        check(Some(record(source().session(), &SessionRecord::Ready { bot: None })), resume(7));
        check(Some(record(source().session(), &SessionRecord::Kept)), resume(7));
        check(Some(record(source().session(), &ended)), Tail::Ended);
        check(Some(record(source().duplicate(), &"dup")), resume(7));
        check(Some(record(source().gap(), &gap(Some(9)))), resume(9));
        check(Some(record(source().gap(), &gap(None))), Tail::Open);
        let mut bare = record(source().session(), &SessionRecord::Resumed);
        bare.headers = Headers::default();
        check(Some(bare), Tail::Absent);
    }

    #[test]
    fn a_marker_and_its_fillers_name_the_owner() {
        let marker = Ownership {
            owner: "gw-1".into(),
            incarnation: 3,
            started: "2026-09-01T10:00:00Z".into(),
            filler: None,
        };
        let text = serde_json::to_string(&marker).expect("records serialise");
        assert_eq!(text, r#"{"owner":"gw-1","incarnation":3,"started":"2026-09-01T10:00:00Z"}"#);
        let filler = Ownership { filler: Some(1), ..marker.clone() };
        let text = serde_json::to_string(&filler).expect("records serialise");
        let read: Ownership = serde_json::from_str(&text).expect("what we write reads back");
        assert_eq!((read.owner, read.incarnation), (marker.owner, marker.incarnation));
    }

    #[test]
    fn gap_reasons_read_as_they_serialise() {
        for reason in GapReason::ALL {
            assert_eq!(serde_json::json!(reason), reason.as_str());
        }
    }

    proptest! {
        /// No id, however hostile, adds a header or breaks one.
        #[test]
        fn headers_hold_any_text_and_read_back(id in ".*", session in ".*", app in ".*") {
            let headers = Headers {
                session: Some(session.into()),
                seq: Some(7),
                owner: Some("gw".into()),
                event: Some(EventHeaders {
                    id: id.into(),
                    app: app.into(),
                    kind: EventKind::FriendAdd,
                }),
                trace_parent: None,
            };
            let pairs: Vec<_> =
                headers.pairs().map(|(name, value)| (name, value.text())).collect();
            for (_, value) in &pairs {
                prop_assert!(value.bytes().all(|byte| (0x21..=0x7E).contains(&byte)));
            }
            let read = Headers::read(pairs.iter().map(|(name, value)| (*name, &**value)));
            prop_assert_eq!(read, headers);
        }
    }
}
