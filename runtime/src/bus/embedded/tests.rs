//! The suite on a file, and what only this implementation can be asked: time that passes, a disk
//! that is full, a store that was closed.

use super::*;

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};

use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{Scene, Scope, ShardId};
use qqrelay_proto::record::{Headers, Record};
use qqrelay_proto::subject::{Source, SourceSubject, Token};
use qqrelay_proto::time::UnixMs;
use redb::ReadableTableMetadata;
use tempfile::TempDir;

use crate::bus::conformance::{Fixture, LAYOUT};
use crate::bus::{Answer, Position, Refusal, Start, WorkStream};
use crate::store::Clock;
use crate::store::disk::{Disk, Fault};

/// A bus in a file of its own.
struct File {
    place: TempDir,
    bus: EmbeddedBus,
}

impl File {
    async fn open(place: &TempDir) -> EmbeddedBus {
        let path = place.path().join("bus.redb");
        let store = Store::open(&path, LAYOUT, Clock::system()).unwrap();
        EmbeddedBus::open(store, Limits::default()).await.unwrap()
    }
}

#[async_trait]
impl Fixture for File {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.bus.clone())
    }

    async fn reopen(&mut self) {
        self.bus.store().close().await;
        self.bus = Self::open(&self.place).await;
    }
}

async fn file() -> File {
    let place = TempDir::new().unwrap();
    let bus = File::open(&place).await;
    File { place, bus }
}

mod conformance {
    use super::file;

    crate::bus_conformance!(file);
}

const PARTITION: Partition = Partition::Chain(0);
const COMMAND: &str = "qq.v1.cmd.102.group.A1.send";
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

/// A bus whose clock and disk a test moves.
struct Stage {
    disk: Disk,
    now: Arc<AtomicU64>,
    bus: EmbeddedBus,
}

async fn stage(limits: Limits) -> Stage {
    let (disk, now) = (Disk::default(), Arc::new(AtomicU64::new(1_790_000_000_000)));
    let time = Arc::clone(&now);
    let clock = Clock::of(move || UnixMs(time.load(Ordering::SeqCst)));
    let bus = EmbeddedBus::open(disk.open(LAYOUT, clock), limits).await.unwrap();
    Stage { disk, now, bus }
}

impl Stage {
    fn advance(&self, by: Duration) {
        self.now.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

fn source() -> SourceSubject {
    let shard = ShardId::new(0, 1).unwrap();
    SourceSubject::new(PARTITION, &"102".into(), Source::Shard(shard))
}

fn scope() -> Scope {
    Scope::new(Scene::Group, "A1")
}

fn lane() -> Lane {
    Lane::of(&Token::escape("102"), Scene::Group, &Token::escape("A1"))
}

fn event(seq: u64) -> Record {
    let headers = Headers { seq: Some(seq), ..Headers::default() };
    let subject = source().event(&scope(), EventKind::MessageCreate);
    Record { subject, headers, payload: Bytes::from_static(b"{}") }
}

async fn append(log: &mut Box<dyn Log>, seqs: std::ops::Range<u64>) {
    let mut seqs = seqs.into_iter().peekable();
    while seqs.peek().is_some() {
        let window: Vec<_> = seqs.by_ref().take(256).collect();
        for &seq in &window {
            log.publish(seq, event(seq));
        }
        for number in window {
            assert_eq!(poll_fn(|cx| log.poll_answer(cx)).await, Answer::Stored { number });
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

/// Waits until the log begins at `first`.
async fn until_first(log: &mut Box<dyn Log>, first: u64) {
    let swept = async {
        while log.extent().await.unwrap().first != first {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(swept).await;
}

fn bound(max_age: Duration, max_bytes: u64) -> Bound {
    Bound { max_age, max_bytes }
}

#[tokio::test]
async fn what_is_too_old_goes_and_takes_its_resume_point_with_it() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..1500).await;
    stage.advance(23 * HOUR);
    append(&mut log, 1500..1600).await;
    stage.advance(2 * HOUR);
    until_first(&mut log, 1500).await;
    assert_eq!(log.range(&PARTITION.all(), 1, 1).await.unwrap()[0].number, 1500);
    assert_eq!(log.last(&source().all()).await.unwrap().unwrap().number, 1599);
    stage.advance(25 * HOUR);
    until_first(&mut log, 1600).await;
    assert_eq!(log.last(&source().all()).await, Ok(None));
    let tails = |tx: &redb::ReadTransaction| Ok(tx.open_table(table::TAILS)?.len()?);
    assert_eq!(stage.bus.store().read(tails).await.unwrap(), 0, "no source is kept for ever");
    let extent = log.extent().await.unwrap();
    assert_eq!((extent.last, extent.bytes), (1599, 0));
    append(&mut log, 1600..1601).await;
}

#[tokio::test]
async fn what_is_too_much_goes_from_the_old_end() {
    let limits = Limits { events: bound(24 * HOUR, 20_000), ..Limits::default() };
    let stage = stage(limits).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..5000).await;
    let fits = async {
        while log.extent().await.unwrap().bytes > 20_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(fits).await;
    let extent = log.extent().await.unwrap();
    assert_eq!(extent.last, 4999);
    let left = log.range(&PARTITION.all(), 1, 5000).await.unwrap();
    assert_eq!(left.len() as u64, extent.last + 1 - extent.first);
    assert!(extent.bytes > 19_000, "no more goes than has to: {} bytes are left", extent.bytes);
}

#[tokio::test]
async fn a_reader_hears_once_of_what_it_missed_and_goes_on() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..400).await;
    let filter = PARTITION.all();
    let reader = Reader { filter, start: Start::Oldest };
    let mut records = stage.bus.read(reader).await.unwrap();
    assert_eq!(within(records.next()).await.unwrap().1.number, 1);
    // What it had read ahead is still its own; what memory holds is not asked of the file.
    append(&mut log, 400..6000).await;
    stage.advance(25 * HOUR);
    until_first(&mut log, 6000).await;
    for number in 2..=256 {
        assert_eq!(within(records.next()).await.unwrap().1.number, number);
    }
    let missed = within(records.next()).await;
    assert!(matches!(missed, Err(BusError::Behind { up_to: 5999 })), "{missed:?}");
    append(&mut log, 6000..6001).await;
    assert_eq!(within(records.next()).await.unwrap().1.number, 6000);
}

#[tokio::test]
async fn a_lane_that_is_far_behind_reads_the_file_and_misses_nothing() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    let mut feed = stage.bus.lane(lane()).await.unwrap();
    append(&mut log, 1..9000).await;
    for number in 1..9000 {
        let delivery = within(feed.next()).await.unwrap();
        assert_eq!(delivery.position.number, number);
        feed.ack(delivery.position);
    }
}

#[tokio::test]
async fn a_lane_passes_over_what_retention_took() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..6000).await;
    stage.advance(25 * HOUR);
    until_first(&mut log, 6000).await;
    let mut feed = stage.bus.lane(lane()).await.unwrap();
    append(&mut log, 6000..6001).await;
    loop {
        let delivery = within(feed.next()).await.unwrap();
        feed.ack(delivery.position);
        if delivery.position.number == 6000 {
            break;
        }
    }
}

#[tokio::test]
async fn an_id_is_forgotten_after_fifteen_minutes_and_an_undone_command_after_a_day() {
    let stage = stage(Limits::default()).await;
    let send = |id: &'static str| {
        let bus = stage.bus.clone();
        async move { bus.command(id, COMMAND, Bytes::new()).await.unwrap() }
    };
    assert_eq!(send("c-1").await, Accepted::New);
    stage.advance(Duration::from_secs(14 * 60));
    assert_eq!(send("c-1").await, Accepted::Known);
    stage.advance(Duration::from_secs(2 * 60));
    assert_eq!(send("c-1").await, Accepted::New);
    let kept = || async {
        let look = |tx: &redb::ReadTransaction| {
            let times = tx.open_table(table::COMMAND_TIMES)?.len()?;
            let ids = tx.open_table(table::COMMAND_IDS)?.len()?;
            Ok((times, ids, table::committed_extent(tx, table::StreamKey::COMMANDS)?.bytes))
        };
        stage.bus.store().read(look).await.unwrap()
    };
    stage.advance(Duration::from_secs(14 * 60));
    within(async { while kept().await.0 != 1 {} }).await;
    assert_eq!(send("c-1").await, Accepted::Known, "the newer one counts");

    stage.advance(24 * HOUR);
    within(async { while kept().await != (0, 0, 0) {} }).await;
    assert_eq!(send("c-2").await, Accepted::New);
    let mut feed = stage.bus.lane(lane()).await.unwrap();
    let position = Position { stream: WorkStream::Commands, number: 3 };
    assert_eq!(within(feed.next()).await.unwrap().position, position);
}

#[tokio::test]
async fn commands_are_refused_rather_than_forgotten() {
    let limits = Limits { commands: bound(24 * HOUR, 3000), ..Limits::default() };
    let stage = stage(limits).await;
    let send = |number: usize| {
        let bus = stage.bus.clone();
        let payload = Bytes::from(vec![b'x'; 800]);
        let id = format!("c-{number}");
        async move { bus.command(&id, COMMAND, payload).await }
    };
    for number in 0..3 {
        send(number).await.unwrap();
    }
    let refused = send(3).await;
    assert!(matches!(refused, Err(BusError::Full(_))), "{refused:?}");
    let mut feed = stage.bus.lane(lane()).await.unwrap();
    let delivery = within(feed.next()).await.unwrap();
    feed.ack(delivery.position);
    let room = async { while send(3).await.is_err() {} };
    within(room).await;
}

#[tokio::test]
async fn results_and_letters_go_when_they_are_old_or_too_many() {
    let limits = Limits { results_max: 100, ..Limits::default() };
    let stage = stage(limits).await;
    let bus = &stage.bus;
    let subject = |number: u64| format!("qq.v1.res.102.group.A1.c{number}");
    let all = (0..300).map(|number| {
        let subject = subject(number);
        async move { bus.result(&subject, Bytes::from_static(b"x"), Only::First).await.unwrap() }
    });
    futures_util::future::join_all(all).await;
    let known = || async {
        let mut known = 0;
        for number in 0..300 {
            known += bus.results(&subject(number)).await.unwrap().len();
        }
        known
    };
    within(async { while known().await != 100 {} }).await;
    let letter = DeadLetter {
        subject: "qq.v1.dlq.7.102.group.A1.message_create".to_owned(),
        reason: "overflow",
        detail: String::new(),
        position: Position { stream: WorkStream::Commands, number: 1 },
        record: event(1),
    };
    bus.dead_letter(letter).await.unwrap();
    stage.advance(25 * HOUR);
    within(async { while known().await != 0 {} }).await;
    assert_eq!(bus.dead_letters(0, 9).await.unwrap().len(), 1);
    stage.advance(14 * 24 * HOUR);
    within(async { while !bus.dead_letters(0, 9).await.unwrap().is_empty() {} }).await;
}

#[tokio::test]
async fn a_full_disk_is_answered_and_the_log_goes_on_where_it_was() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..100).await;
    stage.disk.fail(Fault::Full);
    for number in 100..140 {
        log.publish(number, event(number));
    }
    for _ in 100..140 {
        let answer = poll_fn(|cx| log.poll_answer(cx)).await;
        let Answer::Refused { refusal: Refusal::Busy(_) | Refusal::Unknown(_), .. } = answer else {
            panic!("it cannot be stored: {answer:?}");
        };
    }
    let marked = log.mark(vec![event(140)]).await;
    assert!(matches!(marked, Err(Refusal::Busy(_) | Refusal::Unknown(_))), "{marked:?}");
    let refused = stage.bus.command("c-1", COMMAND, Bytes::new()).await;
    assert!(matches!(refused, Err(BusError::Full(_) | BusError::Unavailable(_))), "{refused:?}");

    stage.disk.make_room();
    let mut feed = within(async {
        loop {
            if let Ok(feed) = stage.bus.lane(lane()).await {
                break feed;
            }
        }
    })
    .await;
    assert_eq!(log.extent().await.unwrap().last, 99);
    append(&mut log, 100..300).await;
    for number in 1..300 {
        let delivery = within(feed.next()).await.unwrap();
        assert_eq!(delivery.position.number, number);
        feed.ack(delivery.position);
    }
}

#[tokio::test]
async fn what_may_have_been_stored_is_found_by_those_who_follow() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..3).await;
    let mut feed = stage.bus.lane(lane()).await.unwrap();
    let reader = Reader { filter: PARTITION.all(), start: Start::Oldest };
    let mut records = stage.bus.read(reader).await.unwrap();
    for number in 1..=2 {
        assert_eq!(within(feed.next()).await.unwrap().position.number, number);
    }
    let unknown = async {
        loop {
            stage.disk.fail(Fault::Flush);
            log.publish(3, event(3));
            match poll_fn(|cx| log.poll_answer(cx)).await {
                Answer::Refused { refusal: Refusal::Unknown(_), .. } => break,
                // A file that grows is flushed before anything is written.
                Answer::Refused { refusal: Refusal::Busy(_), .. } => {}
                other => panic!("it was not flushed: {other:?}"),
            }
        }
    };
    within(unknown).await;
    assert_eq!(within(feed.next()).await.unwrap().position.number, 3);
    append(&mut log, 4..5).await;
    assert_eq!(within(feed.next()).await.unwrap().position.number, 4);
    for number in 1..=4 {
        assert_eq!(within(records.next()).await.unwrap().1.number, number);
    }
}

#[tokio::test]
async fn an_acknowledgement_outlives_a_commit_that_failed() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..2).await;
    for id in ["c-1", "c-2"] {
        stage.bus.command(id, COMMAND, Bytes::new()).await.unwrap();
    }
    let mut feed = stage.bus.lane(lane()).await.unwrap();
    stage.disk.fail(Fault::Write);
    for _ in 0..2 {
        let delivery = within(feed.next()).await.unwrap();
        feed.ack(delivery.position);
    }
    // The first commit takes the acknowledgements and fails, the next one has them again.
    let mut feed = within(async {
        loop {
            if let Ok(feed) = stage.bus.lane(lane()).await {
                break feed;
            }
        }
    })
    .await;
    let left = within(feed.next()).await.unwrap().position;
    assert_eq!(left, Position { stream: WorkStream::Commands, number: 2 });
}

#[tokio::test]
async fn a_store_that_was_closed_in_order_forgets_no_acknowledgement() {
    let mut file = file().await;
    let mut log = file.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..200).await;
    let mut feed = file.bus.lane(lane()).await.unwrap();
    for _ in 1..=150 {
        let delivery = within(feed.next()).await.unwrap();
        feed.ack(delivery.position);
    }
    file.reopen().await;
    let mut feed = file.bus.lane(lane()).await.unwrap();
    assert_eq!(within(feed.next()).await.unwrap().position.number, 151);
}

#[tokio::test]
async fn more_than_a_window_is_refused_without_a_look() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    for number in 1..=257 {
        log.publish(number, event(number));
    }
    let mut refused = Vec::new();
    for _ in 1..=257 {
        if let Answer::Refused { number, refusal } = poll_fn(|cx| log.poll_answer(cx)).await {
            assert!(matches!(refusal, Refusal::Busy(_)), "{refusal}");
            refused.push(number);
        }
    }
    assert_eq!(refused, [257]);
    append(&mut log, 257..258).await;
}

#[tokio::test]
async fn a_closed_store_answers_everybody() {
    let stage = stage(Limits::default()).await;
    let mut log = stage.bus.log(PARTITION).await.unwrap();
    append(&mut log, 1..10).await;
    stage.bus.store().close().await;
    log.publish(10, event(10));
    let answer = within(poll_fn(|cx| log.poll_answer(cx))).await;
    let refused = Answer::Refused { number: 10, refusal: StoreError::Closed.into() };
    assert_eq!(answer, refused);
    let marked = within(log.mark(vec![event(1)])).await;
    assert!(matches!(marked, Err(Refusal::Unknown(_))), "{marked:?}");
    within(stage.bus.lane(lane())).await.err().expect("there is no work any more");
    within(stage.bus.results("qq.v1.res.102.group.A1.c")).await.expect_err("it is closed");
}
