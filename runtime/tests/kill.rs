//! `kill -9` at any moment loses nothing that was acknowledged.
//!
//! A child process, which is this test binary again, writes records, commands, results and dead
//! letters through the embedded bus, works on a lane, and says on its standard output what was
//! acknowledged to it. The parent kills it at a random point, opens the file and compares.
//! `QQRELAY_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{AppId, Scene, Scope, ShardId};
use qqrelay_proto::record::{Headers, Record};
use qqrelay_proto::subject::{Lane, LogSubject, Partition, ScopeSubject, Source, SourceSubject};
use qqrelay_runtime::bus::embedded::{EmbeddedBus, Limits};
use qqrelay_runtime::bus::{
    Accepted, Answer, Appended, Bus, DeadLetter, Layout, Only, Position, WorkStream,
};
use qqrelay_runtime::store::{Clock, Store};
use tokio::time::timeout;

const LAYOUT: Layout = Layout { partitions: 1, window: 256 };
const PARTITION: Partition = Partition::Chain(0);
const FILE: &str = "QQRELAY_TEST_KILL_FILE";
const ROUNDS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(120);

fn place() -> ScopeSubject {
    ScopeSubject::new(&AppId::from("102"), &Scope::new(Scene::Group, "A1"))
}

fn lane() -> Lane {
    place().lane()
}

fn source() -> SourceSubject {
    let shard = ShardId::new(0, 1).expect("0 is below 1");
    SourceSubject::new(PARTITION, &"102".into(), Source::Shard(shard))
}

fn event(seq: u64) -> Record {
    let subject = source().event(&Scope::new(Scene::Group, "A1"), EventKind::MessageCreate);
    let headers = Headers { session: Some("s-1".into()), seq: Some(seq), ..Headers::default() };
    Record { subject, headers, payload: vec![b'x'; usize::try_from(seq % 700).unwrap()].into() }
}

fn marker() -> Record {
    let headers = Headers { owner: Some("child".into()), ..Headers::default() };
    Record { subject: PARTITION.ownership(), headers, payload: Bytes::from_static(b"{}") }
}

async fn open(path: &Path) -> EmbeddedBus {
    let store = Store::open(path, LAYOUT, Clock::system()).expect("a killed file opens again");
    EmbeddedBus::open(store, Limits::default()).await.expect("a killed file reads")
}

/// The last sequence of the session in the log.
async fn tail(bus: &EmbeddedBus) -> u64 {
    let mut log = bus.log(PARTITION).await.unwrap();
    let newest = log.last(&source().all()).await.unwrap();
    newest.and_then(|stored| stored.record.headers.seq).unwrap_or(0)
}

// The child.

/// Not a test of its own: it is what the test below starts and kills.
#[test]
fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let bus = open(Path::new(&path)).await;
        let run = u64::from(std::process::id());
        tokio::join!(
            write_events(&bus),
            write_commands(&bus, run),
            write_results(&bus, run),
            write_letters(&bus),
            work(&bus),
        );
    });
}

async fn write_events(bus: &EmbeddedBus) {
    let mut log = bus.log(PARTITION).await.unwrap();
    let batch = vec![marker(); usize::from(LAYOUT.window) + 1];
    let mut number = log.mark(batch).await.unwrap() + 1;
    let mut seq = tail(bus).await + 1;
    let mut in_flight = BTreeMap::new();
    loop {
        while in_flight.len() < usize::from(LAYOUT.window) {
            log.publish(number, event(seq));
            in_flight.insert(number, seq);
            (number, seq) = (number + 1, seq + 1);
        }
        match poll_fn(|cx| log.poll_answer(cx)).await {
            Answer::Stored { number } => {
                println!("event {number} {}", in_flight.remove(&number).unwrap());
            }
            other => panic!("nobody else writes: {other:?}"),
        }
    }
}

async fn write_commands(bus: &EmbeddedBus, run: u64) {
    for number in 0.. {
        let id = format!("{run}-{number}");
        let payload = Bytes::from(id.clone());
        let accepted = bus.command(&id, &place().command("send"), payload).await.unwrap();
        assert_eq!(accepted, Accepted::New);
        println!("command {id}");
    }
}

async fn write_results(bus: &EmbeddedBus, run: u64) {
    for number in 0.. {
        let id = format!("{run}-{number}");
        for entry in ["attempt", "outcome"] {
            let only = if entry == "attempt" { Only::First } else { Only::Always };
            let payload = Bytes::from_static(entry.as_bytes());
            let appended = bus.result(&place().result(&id), payload, only).await.unwrap();
            assert_eq!(appended, Appended::Stored);
            println!("{entry} {id}");
        }
    }
}

async fn write_letters(bus: &EmbeddedBus) {
    let from = bus.dead_letters(0, usize::MAX).await.unwrap().len() as u64;
    for number in from.. {
        let letter = DeadLetter {
            subject: place().dead_letter("message_create"),
            reason: "overflow",
            detail: String::new(),
            position: Position { stream: WorkStream::Events(PARTITION), number },
            record: event(number),
        };
        bus.dead_letter(letter).await.unwrap();
        println!("letter {number}");
    }
}

async fn work(bus: &EmbeddedBus) {
    let mut feed = bus.lane(lane()).await.unwrap();
    let mut held = Vec::new();
    loop {
        let delivery = feed.next().await.unwrap();
        held.push(delivery);
        // Two pieces out of three are finished at once, the third a little later.
        if held.len() > 30 {
            for (nth, delivery) in std::mem::take(&mut held).into_iter().enumerate() {
                if nth % 3 == 0 {
                    held.push(delivery);
                    continue;
                }
                match delivery.position.stream {
                    WorkStream::Events(_) => println!("worked {}", delivery.position.number),
                    WorkStream::Commands => {
                        let id = String::from_utf8(delivery.stored.record.payload.into()).unwrap();
                        println!("did {id}");
                    }
                }
                feed.ack(delivery.position);
            }
        }
    }
}

// The parent.

/// All that children have said so far.
#[derive(Default)]
struct Said {
    events: BTreeMap<u64, u64>,
    commands: BTreeSet<String>,
    did: BTreeSet<String>,
    worked: BTreeSet<u64>,
    attempts: BTreeSet<String>,
    outcomes: BTreeSet<String>,
    letters: BTreeSet<u64>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        match word().as_str() {
            "event" => {
                let (number, seq) = (word().parse().unwrap(), word().parse().unwrap());
                self.events.insert(number, seq);
            }
            "command" => drop(self.commands.insert(word())),
            "did" => drop(self.did.insert(word())),
            "worked" => drop(self.worked.insert(word().parse().unwrap())),
            "attempt" => drop(self.attempts.insert(word())),
            "outcome" => drop(self.outcomes.insert(word())),
            "letter" => drop(self.letters.insert(word().parse().unwrap())),
            _ => {} // the test harness speaks, too
        }
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a child write until it has said `lines` lines, and kills it.
fn let_write(path: &Path, lines: u64, said: &mut Said) {
    let mut child = spawn(path);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let mut heard = 0;
    loop {
        if heard == lines {
            child.kill().unwrap(); // what is in the pipe has been said, and is read to its end
        }
        line.clear();
        let length = output.read_line(&mut line).unwrap();
        if length == 0 {
            break;
        }
        // A line that was cut by the kill has not been said.
        if let Some(whole) = line.strip_suffix('\n') {
            said.hear(whole);
        }
        heard += 1;
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "the child ends by being killed");
    assert!(heard >= lines, "the child ended by itself after {heard} lines: {status}");
}

async fn check(path: &Path, said: &mut Said) {
    let bus = open(path).await;
    check_log(&bus, said).await;
    check_results(&bus, said).await;
    check_lane(&bus, said).await;
    let letters = bus.dead_letters(0, usize::MAX).await.unwrap();
    for (letter, number) in letters.iter().zip(0..) {
        assert_eq!((letter.stream_number, &letter.record), (number, &event(number)));
    }
    assert!(letters.len() >= said.letters.len());
    bus.store().close().await;
}

async fn check_log(bus: &EmbeddedBus, said: &Said) {
    let mut log = bus.log(PARTITION).await.unwrap();
    let stored = log.range(&PARTITION.all(), 1, usize::MAX).await.unwrap();
    let mut seq = 0;
    let mut seqs = BTreeMap::new();
    for (stored, number) in stored.iter().zip(1..) {
        assert_eq!(stored.number, number, "the log has no hole");
        if let Ok(LogSubject::Event { .. }) = stored.record.subject.parse() {
            seq += 1;
            assert_eq!(stored.record, event(seq), "the session has no hole");
            seqs.insert(number, seq);
        }
    }
    for (number, seq) in &said.events {
        assert_eq!(seqs.get(number), Some(seq), "record {number} was acknowledged");
    }
    assert_eq!(tail(bus).await, seq, "the resume point is the end of the log");
    assert_eq!(log.extent().await.unwrap().last, stored.len() as u64);
}

async fn check_results(bus: &EmbeddedBus, said: &Said) {
    for id in &said.attempts {
        let found = bus.results(&place().result(id)).await.unwrap();
        assert_eq!(found.first().map(|entry| &**entry), Some(b"attempt".as_slice()), "{id}");
        assert!(found.len() == 2 || !said.outcomes.contains(id), "the outcome of {id} is lost");
    }
    if let Some(id) = said.attempts.last() {
        let again = bus.result(&place().result(id), Bytes::new(), Only::First).await.unwrap();
        assert_eq!(again, Appended::Taken);
    }
}

/// Everything stored and not finished comes, in order. It is finished here.
async fn check_lane(bus: &EmbeddedBus, said: &mut Said) {
    for id in &said.commands {
        let again = bus.command(id, &place().command("send"), Bytes::new()).await.unwrap();
        assert_eq!(again, Accepted::Known, "command {id} was acknowledged");
    }
    let open_events = said.events.keys().filter(|number| !said.worked.contains(number));
    let mut open_events: BTreeSet<u64> = open_events.copied().collect();
    let mut open_commands: BTreeSet<String> =
        said.commands.difference(&said.did).cloned().collect();
    let mut feed = bus.lane(lane()).await.unwrap();
    let mut last = BTreeMap::new();
    while !(open_events.is_empty() && open_commands.is_empty()) {
        let next = timeout(PATIENCE, feed.next()).await;
        let delivery = next.unwrap_or_else(|_| {
            panic!("never came: events {open_events:?}, commands {open_commands:?}")
        });
        let delivery = delivery.unwrap();
        assert!(delivery.inherited);
        let Position { stream, number } = delivery.position;
        assert!(last.insert(stream, number) < Some(number), "{stream} comes in order");
        match stream {
            WorkStream::Events(_) => {
                open_events.remove(&number);
                said.worked.insert(number);
            }
            WorkStream::Commands => {
                let id = String::from_utf8(delivery.stored.record.payload.into()).unwrap();
                open_commands.remove(&id);
                said.did.insert(id);
            }
        }
        feed.ack(Position { stream, number });
    }
}

/// Splitmix64: enough to choose where to kill.
fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_at_any_moment() {
    let seed = std::env::var("QQRELAY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Clock::system().now().0);
    println!("QQRELAY_SEED={seed}");
    let mut state = seed;
    let place = tempfile::TempDir::new().unwrap();
    let path = place.path().join("kill.redb");
    let runtime = Arc::new(tokio::runtime::Runtime::new().unwrap());
    let mut said = Said::default();
    for round in 0..ROUNDS {
        // Every other time early, while the file is still being opened or the first work taken.
        let bound = if round % 2 == 0 { 50 } else { 5000 };
        let_write(&path, dice(&mut state) % bound, &mut said);
        runtime.block_on(check(&path, &mut said));
    }
    let Said { events, commands, did, attempts, .. } = &said;
    assert!(![events.len(), commands.len(), did.len(), attempts.len()].contains(&0));
}
