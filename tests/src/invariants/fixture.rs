//! A small run that kept every promise, and ways to break it.
//!
//! One bot, one session `s1`: READY is 1, then RESUMED under 2 and three messages under 3, 4 and 5
//! of injections with the same numbers, each answered.

use qqrelay_proto::command::{Command, CommandId, Content};
use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{Scene as SceneKind, Scope, Seq, ShardId};
use qqrelay_proto::outcome::{News, Outcome, ResultRecord};
use qqrelay_proto::record::{
    Duplicate, EventHeaders, Gap, GapReason, Headers, Ownership, Place, Record, SessionRecord,
    Stored,
};
use qqrelay_proto::subject::{Partition, Source, SourceSubject};
use qqrelay_proto::time::UnixMs;
use qqrelay_simulator::journal::{Entry, Line, Sent};
use qqrelay_simulator::shard::Shard;
use serde_json::{Value, json};

use super::{Answers, Expected, Rule};
use crate::run::Run;

pub(super) const WINDOW: usize = 2;

const APP: &str = "102";
const PARTITION: Partition = Partition::Chain(0);
const TYPE: &str = "GROUP_AT_MESSAGE_CREATE";

/// Breaks a good run, and sees that the promise is found broken.
#[track_caller]
pub(super) fn check(break_it: impl FnOnce(&mut Scene), expected: Rule) {
    let mut scene = Scene::new();
    break_it(&mut scene);
    let asked = Expected { answers: Answers::Echo, ..Expected::default() };
    let report = super::check(&scene.run(), &asked);
    assert!(report.violations.iter().any(|it| it.rule == expected), "{report}");
}

#[derive(Clone)]
pub(super) struct Scene {
    run: Run,
    owner: &'static str,
    now_ms: i64,
    number: u64,
}

fn source() -> SourceSubject {
    let shard = ShardId::new(0, 1).expect("0 is below 1");
    SourceSubject::new(PARTITION, &APP.into(), Source::Shard(shard))
}

impl Scene {
    pub(super) fn new() -> Self {
        let run = Run { window: WINDOW as u16, ..Run::default() };
        let mut scene = Self { run, owner: "w1", now_ms: 1_788_228_000_000, number: 0 };
        scene.take("w1", WINDOW);
        scene.gap(None, 0, None, GapReason::First);
        scene.begun("s1");
        scene.ready("s1");
        let entry = Entry::Resume {
            connection: 1,
            app: Some(APP.into()),
            session: "s1".to_owned(),
            seq: Some(1),
        };
        scene.entry(entry);
        scene.entry(Entry::Resumed {
            connection: 1,
            app: APP.into(),
            shard: Shard::WHOLE,
            session: "s1".into(),
            after: 1,
            seq: 2,
        });
        scene.session("s1", 2, &SessionRecord::Resumed);
        for seq in 3..=5 {
            scene.pushed("s1", seq, seq);
            scene.event("s1", seq, seq);
            scene.reply(seq);
            scene.outcome(seq, Outcome::Sent { message_id: None });
        }
        scene.heartbeat("s1", 5);
        scene
    }

    pub(super) fn run(self) -> Run {
        self.run
    }

    /// Time goes by.
    pub(super) fn later(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    fn now(&self) -> UnixMs {
        UnixMs(self.now_ms.unsigned_abs())
    }

    // What the platform does.

    fn entry(&mut self, entry: Entry) {
        self.now_ms += 1;
        let index = self.run.journal.len() as u64;
        self.run.journal.push(Line { index, at_ms: self.now_ms, entry });
    }

    pub(super) fn begun(&mut self, session: &str) {
        let (app, shard) = (Some(APP.into()), Some(Shard::WHOLE));
        self.entry(Entry::Identify { connection: 1, app, shard, intents: None });
        let (app, shard) = (APP.into(), Shard::WHOLE);
        self.entry(Entry::Ready { connection: 1, app, shard, session: session.into(), seq: 1 });
    }

    pub(super) fn pushed(&mut self, session: &str, seq: Seq, injection: u64) {
        self.dispatch(session, Shard::WHOLE, seq, injection, None);
    }

    pub(super) fn pushed_again(&mut self, session: &str, seq: Seq, injection: u64, of: u64) {
        self.dispatch(session, Shard::WHOLE, seq, injection, Some(of));
    }

    /// An event of a shard that the log knows nothing of.
    pub(super) fn pushed_elsewhere(&mut self, session: &str) {
        self.dispatch(session, Shard { index: 1, count: 2 }, 1, 90, None);
    }

    fn dispatch(
        &mut self,
        session: &str,
        shard: Shard,
        seq: Seq,
        injection: u64,
        repeat_of: Option<u64>,
    ) {
        self.entry(Entry::Dispatch {
            app: APP.into(),
            shard,
            session: session.into(),
            seq,
            t: TYPE.into(),
            event_id: None,
            injection,
            repeat_of,
        });
    }

    pub(super) fn skipped(&mut self, session: &str, from: Seq, to: Seq) {
        self.entry(Entry::Skipped { session: session.into(), from, to });
    }

    pub(super) fn resume(&mut self, session: &str, seq: Seq) {
        let (session, seq) = (session.to_owned(), Some(seq));
        self.entry(Entry::Resume { connection: 2, app: Some(APP.into()), session, seq });
    }

    pub(super) fn heartbeat(&mut self, session: &str, seq: Seq) {
        let session = Some(session.into());
        self.entry(Entry::Heartbeat { connection: 1, session, d: Value::from(seq) });
    }

    pub(super) fn reply(&mut self, injection: u64) {
        let sent = Sent {
            scene: SceneKind::Group,
            scope: "G".to_owned(),
            msg_id: Some(format!("m{injection}")),
            event_id: None,
            msg_seq: Some(1),
            content_hash: String::new(),
            content: "hi".to_owned(),
            id: Some(format!("r{injection}")),
        };
        self.entry(Entry::Rest {
            method: "POST".to_owned(),
            path: "/v2/groups/G/messages".to_owned(),
            app: Some(APP.into()),
            status: 200,
            code: None,
            applied: true,
            sent: Some(Box::new(sent)),
        });
    }

    /// The last two replies change places.
    pub(super) fn swap_replies(&mut self) {
        let is_reply = |line: &Line| matches!(line.entry, Entry::Rest { .. });
        let places = (0..self.run.journal.len()).filter(|&at| is_reply(&self.run.journal[at]));
        let places: Vec<_> = places.collect();
        let [.., a, b] = places[..] else { panic!("there are three replies") };
        self.run.journal.swap(a, b);
    }

    // What the relay writes.

    fn store(&mut self, subject: String, headers: Headers, payload: Vec<u8>) {
        self.now_ms += 1;
        self.number += 1;
        let headers = Headers { owner: Some(self.owner.into()), ..headers };
        let record = Record { subject, headers, payload: payload.into() };
        let at_ms = self.now().0;
        self.run.log.push((PARTITION, Stored { number: self.number, at_ms, record }));
    }

    pub(super) fn take(&mut self, owner: &'static str, fillers: usize) {
        self.owner = owner;
        for filler in std::iter::once(None).chain((1..=fillers).map(Some)) {
            self.own(filler);
        }
    }

    pub(super) fn mark_again(&mut self) {
        self.own(None);
    }

    fn own(&mut self, filler: Option<usize>) {
        let (owner, started) = (self.owner.into(), "2026-11-25T00:00:00Z".to_owned());
        let said = Ownership { owner, incarnation: 1, started, filler };
        let payload = serde_json::to_vec(&said).expect("plain data");
        self.store(PARTITION.ownership(), Headers::default(), payload);
    }

    pub(super) fn skip_number(&mut self) {
        self.number += 1;
        self.mark_again();
    }

    fn gap(&mut self, session: Option<&str>, after: Seq, until: Option<Seq>, reason: GapReason) {
        let session = session.map(Into::into);
        let headers = Headers {
            session: session.clone(),
            seq: Some(until.unwrap_or(after)),
            ..Headers::default()
        };
        let gap = Gap { session, after, until, reason, at: String::new() };
        self.store(source().gap(), headers, serde_json::to_vec(&gap).expect("plain data"));
    }

    pub(super) fn open_gap(&mut self, session: &str, after: Seq) {
        self.gap(Some(session), after, None, GapReason::SessionInvalid);
    }

    pub(super) fn closed_gap(&mut self, session: &str, after: Seq, until: Seq) {
        self.gap(Some(session), after, Some(until), GapReason::Hole);
    }

    fn session(&mut self, session: &str, seq: Seq, said: &SessionRecord) {
        let headers = located(session, seq);
        self.store(source().session(), headers, serde_json::to_vec(said).expect("plain data"));
    }

    pub(super) fn ready(&mut self, session: &str) {
        self.session(session, 1, &SessionRecord::Ready { bot: None });
    }

    pub(super) fn kept(&mut self, session: &str, seq: Seq) {
        self.session(session, seq, &SessionRecord::Kept);
    }

    pub(super) fn event(&mut self, session: &str, seq: Seq, injection: u64) {
        let expires = self.now().plus(std::time::Duration::from_secs(285));
        let payload = json!({
            "v": 1, "id": event_id(injection), "app": APP, "kind": "message_create", "type": TYPE,
            "scene": "group", "scope": "G", "received": self.now(),
            "origin": {"ingress": "websocket"},
            "reply": {"msg_id": format!("m{injection}"), "expires_at": expires, "limit": 5},
            "message": {"id": format!("m{injection}"), "text": "hi", "mentioned": true},
        });
        let id = event_id(injection).into_boxed_str();
        let event = EventHeaders { id, app: APP.into(), kind: EventKind::MessageCreate };
        let headers = Headers { event: Some(event), ..located(session, seq) };
        let scope = Scope::new(SceneKind::Group, "G");
        let subject = source().event(&scope, EventKind::MessageCreate);
        self.store(subject, headers, serde_json::to_vec(&payload).expect("plain data"));
    }

    /// A `dup` that names the record of the session's frame `of`.
    pub(super) fn duplicate(&mut self, session: &str, seq: Seq, injection: u64, of: Seq) {
        let seq_of = self.at(session, of);
        let place = Place { stream: PARTITION.stream(), seq: self.run.log[seq_of].1.number };
        let payload = Duplicate { of: place, id: event_id(injection) };
        let payload = serde_json::to_vec(&payload).expect("plain data");
        self.store(source().duplicate(), located(session, seq), payload);
    }

    /// Where the log has a session's frame.
    fn at(&self, session: &str, seq: Seq) -> usize {
        let wanted = (Some(session.into()), Some(seq));
        let found = self.run.log.iter().position(|(_, stored)| {
            let headers = &stored.record.headers;
            (headers.session.clone(), headers.seq) == wanted
        });
        found.expect("the run has that frame")
    }

    /// A record goes, and the others close up.
    pub(super) fn forget(&mut self, session: &str, seq: Seq) {
        let gone = self.at(session, seq);
        self.run.log.remove(gone);
        for (number, (_, stored)) in (1..).zip(&mut self.run.log) {
            stored.number = number;
        }
    }

    pub(super) fn copy(&mut self, session: &str, seq: Seq) {
        let Stored { record, .. } = self.run.log[self.at(session, seq)].1.clone();
        self.store(record.subject, record.headers, record.payload.to_vec());
    }

    pub(super) fn swap(&mut self, session: &str, a: Seq, b: Seq) {
        let (a, b) = (self.at(session, a), self.at(session, b));
        let records = (self.run.log[a].1.record.clone(), self.run.log[b].1.record.clone());
        (self.run.log[b].1.record, self.run.log[a].1.record) = records;
    }

    pub(super) fn reowned(&mut self, session: &str, seq: Seq, owner: &str) {
        let at = self.at(session, seq);
        self.run.log[at].1.record.headers.owner = Some(owner.into());
    }

    pub(super) fn retype(&mut self, session: &str, seq: Seq, wire_type: &str) {
        let at = self.at(session, seq);
        let record = &mut self.run.log[at].1.record;
        let mut payload: Value = serde_json::from_slice(&record.payload).expect("an event");
        payload["type"] = wire_type.into();
        record.payload = serde_json::to_vec(&payload).expect("plain data").into();
    }

    pub(super) fn outcome(&mut self, injection: u64, outcome: Outcome) {
        let id = CommandId::of_handler(&event_id(injection), "echo", 0);
        let place = Scope::new(SceneKind::Group, "G");
        let command = Command::send(id, APP.into(), place, Content::Text("hi".into()));
        let at = self.now();
        let news = News::Outcome(outcome);
        self.run.results.push(ResultRecord::new(&command, at, self.owner.into(), news));
    }
}

fn event_id(injection: u64) -> String {
    format!("{APP}:m{injection}")
}

fn located(session: &str, seq: Seq) -> Headers {
    Headers { session: Some(session.into()), seq: Some(seq), ..Headers::default() }
}
