//! An owner of a partition as a gateway is one: the chain machine decides, this moves records.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use qqrelay_proto::chain::{Chain, Entry, Input, Memory, Output, Refused, Settings};
use qqrelay_proto::id::Scope;
use qqrelay_proto::record::{Ownership, Record, Stored, Tail};

use super::LAYOUT;
use super::stage::{PARTITION, event, source};
use crate::bus::{Answer, Bus, Log, Refusal};

/// A record that was acknowledged to an owner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    pub(super) number: u64,
    pub(super) seq: u64,
}

/// Takes the partition and continues the session in it as fast as it can, until deposed.
pub(super) struct Owner {
    name: String,
    log: Box<dyn Log>,
    chain: Chain<u64>,
    scope: Scope,
    /// The sequence of the next frame; absent until the tail is read.
    next: Option<u64>,
    acknowledged: Vec<Acknowledged>,
    /// Counts what was acknowledged, for whoever waits to interrupt.
    progress: Arc<AtomicU64>,
    /// Stops of itself after so many.
    enough: u64,
}

impl Owner {
    pub(super) async fn open(bus: &dyn Bus, name: String, scope: Scope, enough: u64) -> Self {
        let settings = Settings {
            partition: PARTITION,
            owner: name.as_str().into(),
            started: "2026-09-01T10:00:00Z".to_owned(),
            window: usize::from(LAYOUT.window),
            window_bytes: 16 << 20,
            answer_within: Duration::from_secs(30),
            retry_after: Duration::from_millis(50),
        };
        Self {
            name,
            log: bus.log(PARTITION).await.expect("the bus is up"),
            chain: Chain::new(settings),
            scope,
            next: None,
            acknowledged: Vec::new(),
            progress: Arc::default(),
            enough,
        }
    }

    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Runs to the end; gives all that was acknowledged.
    pub(super) async fn run(mut self) -> Vec<Acknowledged> {
        self.handle(Input::Take);
        while self.settle().await && self.progress.load(Ordering::SeqCst) < self.enough {
            if self.append() {
                continue;
            }
            let answer = poll_fn(|cx| self.log.poll_answer(cx));
            let input = match tokio::time::timeout(Duration::from_secs(1), answer).await {
                Ok(Answer::Stored { number }) => Input::Stored(number),
                Ok(Answer::Refused { number, refusal }) => Input::Refused(number, seen(&refusal)),
                Ok(Answer::Disconnected) => Input::Disconnected,
                Err(_) => Input::Tick,
            };
            self.handle(input);
        }
        self.acknowledged
    }

    fn handle(&mut self, input: Input<u64>) {
        self.chain.handle(Instant::now(), input);
    }

    /// The next frame of the session, if the chain has room for it.
    fn append(&mut self) -> bool {
        let Some(seq) = self.next.filter(|_| self.chain.has_room()) else { return false };
        let mut record = event(PARTITION, &self.scope, seq);
        record.headers.owner = Some(self.name.as_str().into());
        self.next = Some(seq + 1);
        self.handle(Input::Append(Entry { tag: seq, record }));
        true
    }

    /// Does all that the chain wants done; whether it still owns the partition.
    async fn settle(&mut self) -> bool {
        while let Some(output) = self.chain.poll() {
            match output {
                Output::Publish(number, record) => self.log.publish(number, record),
                Output::ReadOwner => {
                    let newest = self.log.last(&PARTITION.ownership()).await;
                    let newest = newest.map(|found| found.and_then(|stored| owner_of(&stored)));
                    self.handle(Input::Owner(newest.map_err(|refusal| seen(&refusal))));
                }
                Output::Mark(records) => {
                    let marked = self.log.mark(records).await;
                    self.handle(Input::Marked(marked.map_err(|refusal| seen(&refusal))));
                }
                Output::ReadBefore { from, to } => {
                    let limit = usize::try_from(to + 1 - from).expect("it is a few windows");
                    let before = self.log.range(&PARTITION.all(), from, limit).await;
                    self.handle(Input::Before(before.map_err(|refusal| seen(&refusal))));
                }
                // What was not in the log goes out again, by the chain.
                Output::Opened(Memory::Kept) => {}
                Output::Opened(Memory::Forgotten | Memory::LogLost) => {
                    self.next = Some(self.tail().await + 1);
                }
                Output::Durable { tag: seq, number } => {
                    self.acknowledged.push(Acknowledged { number, seq });
                    self.progress.fetch_add(1, Ordering::SeqCst);
                }
                Output::StoodDown(_) => return false,
            }
        }
        true
    }

    /// The session's last sequence in the log, 0 before any.
    async fn tail(&mut self) -> u64 {
        let newest = self.log.last(&source(PARTITION, "102").all()).await.expect("the bus is up");
        match Tail::of(newest.as_ref().map(|stored| &stored.record)) {
            Tail::Resume(point) => point.seq,
            Tail::Absent => 0,
            Tail::Open | Tail::Ended | Tail::Lost => panic!("nobody wrote that: {newest:?}"),
        }
    }
}

fn owner_of(stored: &Stored) -> Option<Ownership> {
    let Record { payload, .. } = &stored.record;
    serde_json::from_slice(payload).ok()
}

const fn seen(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::Mismatch => Refused::Mismatch,
        Refusal::Never(_) => Refused::Never,
        Refusal::Busy(_) => Refused::Busy,
        Refusal::Forbidden(_) => Refused::Forbidden,
        Refusal::Unknown(_) => Refused::Unknown,
    }
}
