//! What the rules are played with: records, places, and a writer that expects no resistance.

use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{AppId, Scene, Scope, ShardId};
use qqrelay_proto::record::{EventHeaders, Headers, Ownership, Record, SessionRecord};
use qqrelay_proto::subject::{Lane, Partition, ScopeSubject, Source, SourceSubject, Token};

use super::LAYOUT;
use crate::bus::{Answer, Bus, Delivery, Feed, Log, Refusal};

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The partition where nothing else is said.
pub const PARTITION: Partition = Partition::Chain(0);

/// Waits for what must happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A bot's only shard, in a partition.
pub fn source(partition: Partition, app: &str) -> SourceSubject {
    let shard = ShardId::new(0, 1).expect("0 is below 1");
    SourceSubject::new(partition, &app.into(), Source::Shard(shard))
}

/// A group of this bot whose work is in the lane.
pub fn scope_in(app: &str, lane: Lane) -> Scope {
    let groups = (0..).map(|number| Scope::new(Scene::Group, format!("G{number}")));
    let lane_of =
        |scope: &Scope| Lane::of(&Token::escape(app), scope.scene, &Token::escape(&scope.id));
    groups.into_iter().find(|scope| lane_of(scope) == lane).expect("some group falls in each lane")
}

/// Event `seq` of bot 102's session, in a scope.
pub fn event(partition: Partition, scope: &Scope, seq: u64) -> Record {
    event_of("102", partition, scope, seq)
}

/// Event `seq` of a bot's session.
pub fn event_of(app: &str, partition: Partition, scope: &Scope, seq: u64) -> Record {
    let id = format!("{app}:m{seq}").into();
    let event = EventHeaders { id, app: app.into(), kind: EventKind::MessageCreate };
    let headers = Headers {
        session: Some("s-1".into()),
        seq: Some(seq),
        owner: Some("writer".into()),
        event: Some(event),
        trace_parent: None,
    };
    let subject = source(partition, app).event(scope, EventKind::MessageCreate);
    Record { subject, headers, payload: format!(r#"{{"seq":{seq}}}"#).into() }
}

/// Something said of a bot's session.
pub fn session(partition: Partition, app: &str, seq: u64) -> Record {
    let payload = serde_json::to_vec(&SessionRecord::Kept).expect("records serialise");
    let headers = Headers { session: Some("s-1".into()), seq: Some(seq), ..Headers::default() };
    Record { subject: source(partition, app).session(), headers, payload: payload.into() }
}

/// `count` records that name an owner.
pub fn markers(partition: Partition, owner: &str, count: usize) -> Vec<Record> {
    let marker = |filler: usize| {
        let marker = Ownership {
            owner: owner.into(),
            incarnation: 1,
            started: "2026-09-01T10:00:00Z".to_owned(),
            filler: (filler > 0).then_some(filler),
        };
        let headers = Headers { owner: Some(owner.into()), ..Headers::default() };
        let payload = serde_json::to_vec(&marker).expect("records serialise").into();
        Record { subject: partition.ownership(), headers, payload }
    };
    (0..count).map(marker).collect()
}

/// As many as a taker writes: one more than the window.
pub fn batch(partition: Partition, owner: &str) -> Vec<Record> {
    markers(partition, owner, usize::from(LAYOUT.window) + 1)
}

/// A group's place for commands.
pub fn place(scope: &Scope) -> ScopeSubject {
    ScopeSubject::new(&AppId::from("102"), scope)
}

/// A payload that names a number.
pub fn payload(number: u64) -> Bytes {
    format!(r#"{{"number":{number}}}"#).into()
}

/// The next answer of a log.
pub async fn answer(log: &mut Box<dyn Log>) -> Answer {
    within("an answer of the log", poll_fn(|cx| log.poll_answer(cx))).await
}

/// Publishes as `number`, `number` + 1, … in one pipeline, and gives the numbers that were stored.
pub async fn publish(
    log: &mut Box<dyn Log>,
    number: u64,
    records: impl IntoIterator<Item = Record>,
) -> Vec<u64> {
    let mut sent = number;
    for record in records {
        log.publish(sent, record);
        sent += 1;
    }
    accepted(log, sent - number).await
}

/// Waits for the answers to `count` records, and gives the numbers that were stored.
pub async fn accepted(log: &mut Box<dyn Log>, count: u64) -> Vec<u64> {
    let mut stored = Vec::new();
    for _ in 0..count {
        match answer(log).await {
            Answer::Stored { number } => stored.push(number),
            Answer::Refused { refusal: Refusal::Mismatch, .. } => {}
            other => panic!("a record fits or does not fit: {other:?}"),
        }
    }
    stored.sort_unstable();
    stored
}

/// Appends to a partition that nobody else writes.
pub struct Writer {
    /// The partition, for reading.
    pub log: Box<dyn Log>,
    next: u64,
}

impl Writer {
    /// Goes on behind what is there.
    pub async fn open(bus: &dyn Bus, partition: Partition) -> Self {
        let mut log = bus.log(partition).await.expect("the bus is up");
        let next = log.extent().await.expect("the bus is up").last + 1;
        Self { log, next }
    }

    /// Appends and waits for the acknowledgements; gives the first number.
    pub async fn append(&mut self, records: Vec<Record>) -> u64 {
        let first = self.next;
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let window = records.by_ref().take(usize::from(LAYOUT.window));
            let stored = publish(&mut self.log, self.next, window).await;
            self.next += stored.len() as u64;
            assert_eq!(stored.last(), Some(&(self.next - 1)), "nobody else writes");
        }
        first
    }
}

/// The next piece of a lane's work.
pub async fn next(feed: &mut Box<dyn Feed>) -> Delivery {
    within("a piece of work", feed.next()).await.expect("the lane is held")
}

/// The next `count` pieces of a lane's work.
pub async fn take(feed: &mut Box<dyn Feed>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(next(feed).await);
    }
    taken
}

/// The numbers of pieces.
pub fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.position.number).collect()
}
