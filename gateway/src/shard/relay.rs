//! From a frame to the record that takes its place in the log.
//!
//! Every dispatch with a sequence becomes exactly one record, whatever is in it: an event, what
//! the session itself said, or the reason why there is nothing else.

use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::event::{Arrival, Event, EventKind, normalise};
use qqrelay_proto::frame::Frame;
use qqrelay_proto::id::{AppId, Seq, SessionId, UserId};
use qqrelay_proto::record::{
    DropReason, EventHeaders, Gap, Headers, RECORD_BYTES_MAX, Record, SessionRecord,
};
use qqrelay_proto::shard::Loss;
use qqrelay_proto::subject::SourceSubject;
use qqrelay_proto::time::UnixMs;
use serde::Serialize;

/// What makes records of one shard's frames.
#[derive(Debug, Clone)]
pub(super) struct Scribe {
    pub(super) app: AppId,
    pub(super) source: SourceSubject,
    /// The largest record; [`RECORD_BYTES_MAX`] or less.
    pub(super) record_limit: usize,
}

/// A record, and what to count of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) record: Record,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Event { kind: EventKind, lag: Option<Duration> },
    Session,
    Dropped(DropReason),
}

/// Room for an event's own members beside its `raw`.
const ENVELOPE_BYTES: usize = 1024;

impl Scribe {
    /// The record of a dispatch that could be read.
    pub(super) fn dispatch(
        &self,
        frame: &Frame<'_>,
        seq: Seq,
        session: &SessionId,
        bot: Option<&UserId>,
        received: UnixMs,
    ) -> Written {
        let source = self.source.source;
        let arrival = Arrival { app: &self.app, bot, source, session: Some(session), received };
        match normalise(frame, arrival) {
            Ok(event) => self.event(event, seq, session, received),
            Err(_) => self.dropped(seq, session, DropReason::Unreadable),
        }
    }

    fn event(
        &self,
        mut event: Event<'_>,
        seq: Seq,
        session: &SessionId,
        received: UnixMs,
    ) -> Written {
        let limit = self.record_limit.min(RECORD_BYTES_MAX);
        let raw_bytes = event.raw.map_or(0, |raw| raw.get().len());
        let mut payload = Vec::with_capacity(raw_bytes + ENVELOPE_BYTES);
        event.write(&mut payload);
        if payload.len() + ENVELOPE_BYTES > limit {
            event.drop_raw();
            payload.clear();
            event.write(&mut payload);
        }
        if payload.len() + ENVELOPE_BYTES > limit {
            return self.dropped(seq, session, DropReason::TooLarge);
        }
        let kind = event.kind;
        let headers = Headers {
            event: Some(EventHeaders { id: (*event.id).into(), app: self.app.clone(), kind }),
            ..self.headers(Some(session), seq)
        };
        let time = event.time.as_deref().and_then(UnixMs::parse);
        Written {
            record: Record {
                subject: self.source.event(&event.place(), kind),
                headers,
                payload: payload.into(),
            },
            what: What::Event { kind, lag: time.map(|time| received.since(time)) },
        }
    }

    /// The record of READY, RESUMED and the like.
    pub(super) fn session(&self, seq: Seq, session: &SessionId, said: &SessionRecord) -> Written {
        let payload = encode(said, 64);
        let headers = self.headers(Some(session), seq);
        let what = match said {
            SessionRecord::Dropped { reason } => What::Dropped(*reason),
            _ => What::Session,
        };
        Written { record: Record { subject: self.source.session(), headers, payload }, what }
    }

    /// The record in the place of a frame that cannot be relayed.
    pub(super) fn dropped(&self, seq: Seq, session: &SessionId, reason: DropReason) -> Written {
        self.session(seq, session, &SessionRecord::Dropped { reason })
    }

    /// The record of frames that are lost: up to `until`, or nobody knows how many.
    pub(super) fn gap(&self, loss: &Loss, until: Option<Seq>, at: UnixMs) -> Record {
        let Loss { session, after, reason } = loss.clone();
        let headers = self.headers(session.as_ref(), until.unwrap_or(after));
        let gap = Gap { session, after, until, reason, at: at.to_string() };
        Record { subject: self.source.gap(), headers, payload: encode(&gap, 256) }
    }

    fn headers(&self, session: Option<&SessionId>, seq: Seq) -> Headers {
        Headers { session: session.cloned(), seq: Some(seq), ..Headers::default() }
    }
}

fn encode(value: &impl Serialize, room: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(room);
    serde_json::to_writer(&mut bytes, value).expect("records are plain data");
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::id::ShardId;
    use qqrelay_proto::record::{GapReason, ResumePoint, Tail};
    use qqrelay_proto::subject::{LogSubject, Partition, Source};

    fn scribe(record_limit: usize) -> Scribe {
        let source = Source::Shard(ShardId::new(0, 1).expect("0 is below 1"));
        let app = AppId::from("102");
        let source = SourceSubject::new(Partition::Chain(0), &app, source);
        Scribe { app, source, record_limit }
    }

    fn dispatch(scribe: &Scribe, text: &str) -> Written {
        let frame = Frame::parse(text).expect("a frame");
        scribe.dispatch(&frame, 7, &"s".into(), None, UnixMs(1_788_228_000_000))
    }

    fn message(content: &str) -> String {
        format!(
            r#"{{"op":0,"s":7,"t":"C2C_MESSAGE_CREATE","id":"C2C_MESSAGE_CREATE:1","d":{{"id":"m1",
            "author":{{"user_openid":"u"}},"content":"{content}"}}}}"#
        )
    }

    #[test]
    fn a_message_becomes_an_event_that_can_be_resumed_from() {
        let written = dispatch(&scribe(RECORD_BYTES_MAX), &message("hi"));
        assert!(matches!(written.what, What::Event { kind: EventKind::MessageCreate, .. }));
        let point = ResumePoint { session: "s".into(), seq: 7 };
        assert_eq!(Tail::of(Some(&written.record)), Tail::Resume(point));
        let event: Event<'_> = serde_json::from_slice(&written.record.payload).expect("an event");
        assert_eq!(&*event.id, "102:m1");
    }

    #[test]
    fn what_is_too_large_loses_its_raw_first_and_then_all_but_its_place() {
        let written = dispatch(&scribe(6000), &message(&"x".repeat(3000)));
        let event: Event<'_> = serde_json::from_slice(&written.record.payload).expect("an event");
        assert!(event.raw_dropped && event.raw.is_none());
        let written = dispatch(&scribe(3000), &message(&"x".repeat(3000)));
        assert_eq!(written.what, What::Dropped(DropReason::TooLarge));
        assert_eq!(written.record.headers.seq, Some(7), "its place is kept");
    }

    #[test]
    fn a_dispatch_without_a_type_keeps_its_place() {
        let written = dispatch(&scribe(RECORD_BYTES_MAX), r#"{"op":0,"s":7,"d":{}}"#);
        assert_eq!(written.what, What::Dropped(DropReason::Unreadable));
    }

    #[test]
    fn a_type_nobody_knows_is_an_event() {
        let text = r#"{"op":0,"s":7,"t":"X.*>","id":"X:1","d":{"group_openid":"a.b > c"}}"#;
        let written = dispatch(&scribe(RECORD_BYTES_MAX), text);
        assert!(matches!(written.what, What::Event { kind: EventKind::Unknown, .. }));
        assert!(written.record.subject.parse::<LogSubject>().is_ok());
    }

    #[test]
    fn an_open_gap_asks_for_an_identify_and_a_closed_one_does_not() {
        let scribe = scribe(RECORD_BYTES_MAX);
        let loss = Loss { session: Some("s".into()), after: 7, reason: GapReason::Hole };
        let open = scribe.gap(&loss, None, UnixMs(0));
        assert_eq!(Tail::of(Some(&open)), Tail::Open);
        let closed = scribe.gap(&loss, Some(9), UnixMs(0));
        let point = ResumePoint { session: "s".into(), seq: 9 };
        assert_eq!(Tail::of(Some(&closed)), Tail::Resume(point));
    }
}
