//! Appending to the log: the queue in front of the writer, and what it does with it.
//!
//! All that waits goes into one operation, so that a window costs one look at the log's end and one
//! entry per chain, however many records it has.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use qqrelay_proto::record::{Record, Stored};
use qqrelay_proto::subject::Partition;
use redb::WriteTransaction;
use tokio::sync::{mpsc, oneshot};

use super::recent::Entry;
use super::record::{self, Filing};
use super::shared::{Shared, lock};
use super::table::{EVENTS, Extents, StreamKey, TAILS};
use crate::bus::{Answer, Extent, Refusal};
use crate::store::{Operation, StoreError};

/// A record that is ready to be stored.
pub(super) struct Prepared {
    pub(super) record: Record,
    pub(super) filing: Filing,
    pub(super) bytes: Vec<u8>,
}

/// Something to append to a partition, named by its index.
pub(super) enum Append {
    /// Only as this number.
    One { partition: usize, number: u64, record: Prepared, answers: mpsc::UnboundedSender<Answer> },
    /// All or none, behind whatever is there.
    Batch {
        partition: usize,
        records: Vec<Prepared>,
        answer: oneshot::Sender<Result<u64, Refusal>>,
    },
}

/// What waits for the writer. Whoever adds to it bounds what he has in it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Append>,
    /// Whether the writer knows that there is something.
    told: bool,
}

/// Adds something to what the writer takes next.
pub(super) fn enqueue(shared: &Arc<Shared>, append: Append) {
    let mut queue = lock(&shared.queue);
    queue.waiting.push(append);
    if !mem::replace(&mut queue.told, true) {
        drop(queue);
        let appends = Appends { shared: Arc::clone(shared), stage: Stage::Waiting };
        // A closed store drops it, which answers everybody.
        let _ = shared.store.post(Box::new(appends));
    }
}

fn take(shared: &Shared) -> Vec<Append> {
    let mut queue = lock(&shared.queue);
    queue.told = false;
    mem::take(&mut queue.waiting)
}

/// Everything that waited when the writer came to it.
struct Appends {
    shared: Arc<Shared>,
    stage: Stage,
}

enum Stage {
    /// What there is to do is still in the queue.
    Waiting,
    Applied(Vec<Tried>),
    Settled,
}

/// An append before the commit.
enum Tried {
    One { number: u64, fate: Fate, answers: mpsc::UnboundedSender<Answer> },
    Batch { entries: Vec<Arc<Entry>>, answer: oneshot::Sender<Result<u64, Refusal>> },
}

enum Fate {
    Fits(Arc<Entry>),
    Mismatch,
}

impl Tried {
    fn entries(&self) -> &[Arc<Entry>] {
        match self {
            Self::One { fate: Fate::Fits(entry), .. } => std::slice::from_ref(entry),
            Self::One { .. } => &[],
            Self::Batch { entries, .. } => entries,
        }
    }
}

impl Operation for Appends {
    fn apply(&mut self, tx: &WriteTransaction) -> Result<(), redb::Error> {
        let mut extents = Extents::open(tx)?;
        let ends = ends(&self.shared, &extents)?;
        // From here on everybody has an entry in `tried`, and is answered whatever comes.
        let (tried, runs) = plan(take(&self.shared), ends, self.shared.store.now().0);
        let outcome = write(&self.shared, tx, &mut extents, runs, &tried);
        self.stage = Stage::Applied(tried);
        outcome
    }

    fn settle(mut self: Box<Self>, outcome: Result<(), StoreError>) {
        let stage = mem::replace(&mut self.stage, Stage::Settled);
        match (stage, outcome) {
            (Stage::Applied(tried), Ok(())) => {
                show(&self.shared, &tried);
                answer(tried, Ok(()));
            }
            (Stage::Applied(tried), Err(error)) => {
                if let StoreError::Unknown(_) = error {
                    suspect(&self.shared, &tried);
                }
                answer(tried, Err(error.into()));
            }
            (Stage::Waiting | Stage::Settled, Ok(())) => {}
            (Stage::Waiting | Stage::Settled, Err(error)) => refuse(&self.shared, &error.into()),
        }
    }
}

impl Drop for Appends {
    fn drop(&mut self) {
        let refusal = Refusal::from(StoreError::Closed);
        match mem::replace(&mut self.stage, Stage::Settled) {
            Stage::Settled => {}
            Stage::Applied(tried) => answer(tried, Err(refusal)),
            Stage::Waiting => refuse(&self.shared, &refusal),
        }
    }
}

/// What is new in one partition.
struct Run {
    extent: Extent,
    rows: Vec<(u64, Vec<u8>)>,
}

impl Run {
    fn push(&mut self, partition: usize, prepared: Prepared, now_ms: u64) -> Arc<Entry> {
        let Prepared { record, filing, mut bytes } = prepared;
        record::stamp(&mut bytes, now_ms);
        self.extent.last += 1;
        self.extent.bytes += bytes.len() as u64;
        let number = self.extent.last;
        self.rows.push((number, bytes));
        Arc::new(Entry { partition, filing, stored: Stored { number, at_ms: now_ms, record } })
    }
}

/// Where the partitions end.
fn ends(shared: &Shared, extents: &Extents<'_>) -> Result<Vec<Run>, redb::Error> {
    let run =
        |&of: &Partition| Ok(Run { extent: extents.of(StreamKey::events(of))?, rows: Vec::new() });
    shared.partitions.iter().map(run).collect()
}

/// Decides what fits, in the order in which it was handed over.
fn plan(waiting: Vec<Append>, mut runs: Vec<Run>, now_ms: u64) -> (Vec<Tried>, Vec<Run>) {
    let decide = |append| match append {
        Append::One { partition, number, record, answers } => {
            let run = &mut runs[partition];
            let fits = number == run.extent.last + 1;
            let entry = fits.then(|| run.push(partition, record, now_ms));
            Tried::One { number, fate: entry.map_or(Fate::Mismatch, Fate::Fits), answers }
        }
        Append::Batch { partition, records, answer } => {
            let run = &mut runs[partition];
            let records = records.into_iter();
            let entries = records.map(|record| run.push(partition, record, now_ms)).collect();
            Tried::Batch { entries, answer }
        }
    };
    let tried = waiting.into_iter().map(decide).collect();
    (tried, runs)
}

/// Puts what fits behind the log's end.
fn write(
    shared: &Shared,
    tx: &WriteTransaction,
    extents: &mut Extents<'_>,
    runs: Vec<Run>,
    tried: &[Tried],
) -> Result<(), redb::Error> {
    let mut events = tx.open_table(EVENTS)?;
    for (partition, Run { extent, rows }) in runs.into_iter().enumerate() {
        if rows.is_empty() {
            continue;
        }
        let stream = shared.key(partition);
        // Rows in order through the gap at the end fill whole pages at a time.
        let mut end = events.upper_bound_mut(Bound::Included((stream.0, u64::MAX)))?;
        for (number, bytes) in rows {
            end.insert_before((stream.0, number), bytes.as_slice())?;
        }
        end.close()?;
        extents.set(stream, extent)?;
    }
    let stored = tried.iter().flat_map(Tried::entries);
    let newest: HashMap<&str, u64> =
        stored.map(|entry| (entry.chain(), entry.stored.number)).collect();
    let mut tails = tx.open_table(TAILS)?;
    for (chain, number) in newest {
        tails.insert(chain, number)?;
    }
    Ok(())
}

/// Shows what is committed to those who follow the log.
fn show(shared: &Shared, tried: &[Tried]) {
    let mut work = BTreeMap::<_, u64>::new();
    for entry in tried.iter().flat_map(Tried::entries) {
        lock(&shared.recent[entry.partition]).push(Arc::clone(entry));
        if let Some(lane) = entry.filing.lane {
            work.insert((lane, entry.partition), entry.stored.number);
        }
    }
    for ((lane, partition), number) in work {
        shared.lane(lane).add_event(partition, number);
    }
    shared.written.send_replace(());
}

/// Has everybody look in the file for what may have been stored.
fn suspect(shared: &Shared, tried: &[Tried]) {
    for entry in tried.iter().flat_map(Tried::entries) {
        let number = entry.stored.number;
        lock(&shared.recent[entry.partition]).forget(number);
        for lane in &shared.lanes {
            lane.add_event(entry.partition, number);
        }
    }
    shared.written.send_replace(());
}

// Whoever asked may be gone when the answer comes; then nobody wants to know.

fn answer(tried: Vec<Tried>, outcome: Result<(), Refusal>) {
    for tried in tried {
        match tried {
            Tried::One { number, fate, answers } => {
                let outcome = match fate {
                    Fate::Fits(_) => outcome.clone(),
                    Fate::Mismatch => Err(Refusal::Mismatch),
                };
                let _ = answers.send(match outcome {
                    Ok(()) => Answer::Stored { number },
                    Err(refusal) => Answer::Refused { number, refusal },
                });
            }
            Tried::Batch { entries, answer } => {
                let last = entries.last().map_or(0, |entry| entry.stored.number);
                let _ = answer.send(outcome.clone().map(|()| last));
            }
        }
    }
}

/// Answers all that waits and was not looked at.
fn refuse(shared: &Shared, refusal: &Refusal) {
    for append in take(shared) {
        let refusal = refusal.clone();
        match append {
            Append::One { number, answers, .. } => {
                let _ = answers.send(Answer::Refused { number, refusal });
            }
            Append::Batch { answer, .. } => {
                let _ = answer.send(Err(refusal));
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let text = error.with_causes();
        match error {
            StoreError::NotStored(_) | StoreError::Unreadable(_) => Self::Busy(text),
            StoreError::Unknown(_) | StoreError::Closed => Self::Unknown(text),
        }
    }
}
