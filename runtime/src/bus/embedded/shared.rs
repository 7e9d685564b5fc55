//! What all handles of one embedded bus share.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use qqrelay_proto::subject::{Lane, Partition};
use tokio::sync::watch;

use super::append::Queue;
use super::progress::LaneState;
use super::recent::Recent;
use super::result::Waiters;
use super::retention::{Limits, Sweeper};
use super::table::{self, COMMANDS, FLOORS, StreamKey};
use crate::store::{Store, StoreError};

/// Memory for the newest records of all partitions together.
const RECENT_BYTES: usize = 32 << 20;

/// Locks what no panic leaves half changed: the changes behind it are single assignments.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one of its kind behind all handles.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) limits: Limits,
    /// Every partition, in the order in which the others are indexed.
    pub(super) partitions: Vec<Partition>,
    pub(super) recent: Vec<Mutex<Recent>>,
    pub(super) lanes: Vec<LaneState>,
    /// Changes with every commit of records.
    pub(super) written: watch::Sender<()>,
    /// What waits to be appended to the log.
    pub(super) queue: Mutex<Queue>,
    /// Whether acknowledgements are on their way to the file.
    pub(super) settling: Mutex<bool>,
    pub(super) waiters: Waiters,
}

impl Shared {
    pub(super) async fn open(store: Store, limits: Limits) -> Result<Self, StoreError> {
        let layout = store.layout();
        let partitions: Vec<_> =
            (0..layout.partitions).map(Partition::Chain).chain([Partition::Webhook]).collect();
        let keys: Vec<_> = partitions.iter().map(|&of| StreamKey::events(of)).collect();
        let others = [StreamKey::COMMANDS, StreamKey::RESULTS, StreamKey::LETTERS];
        let streams: Vec<_> = keys.iter().copied().chain(others).collect();
        let now_ms = store.now().0;
        store.submit(move |tx| table::create(tx, &streams, now_ms)).await?;
        let (lasts, lanes) = store.read(move |tx| found(tx, &keys)).await?;
        let share = RECENT_BYTES / partitions.len();
        store.add_sweep(Box::new(Sweeper::new(limits, partitions.clone())))?;
        Ok(Self {
            store,
            limits,
            recent: lasts.into_iter().map(|last| Mutex::new(Recent::new(last, share))).collect(),
            partitions,
            lanes,
            written: watch::Sender::new(()),
            queue: Mutex::default(),
            settling: Mutex::new(false),
            waiters: Waiters::default(),
        })
    }

    /// The place of a partition in all that is indexed by it; `None` if there is no such partition.
    pub(super) fn index(&self, partition: Partition) -> Option<usize> {
        self.partitions.iter().position(|&known| known == partition)
    }

    /// The key in the tables of a partition, by its index.
    pub(super) fn key(&self, index: usize) -> StreamKey {
        StreamKey::events(self.partitions[index])
    }

    pub(super) fn lane(&self, lane: Lane) -> &LaneState {
        &self.lanes[usize::from(lane.number())]
    }
}

/// The last number of each partition, and each lane as it was left.
fn found(
    tx: &redb::ReadTransaction,
    keys: &[StreamKey],
) -> Result<(Vec<u64>, Vec<LaneState>), redb::Error> {
    let floors = tx.open_table(FLOORS)?;
    let commands = tx.open_table(COMMANDS)?;
    let last = |key: &StreamKey| Ok(table::committed_extent(tx, *key)?.last);
    let lasts: Vec<u64> = keys.iter().map(last).collect::<Result<_, redb::Error>>()?;
    let mut lanes = Vec::new();
    for lane in Lane::all() {
        let floor = |key: &StreamKey| {
            let floor = floors.get((lane.number(), key.0))?;
            Ok(floor.map_or(0, |floor| floor.value()))
        };
        let floors: Vec<u64> = keys.iter().map(floor).collect::<Result<_, redb::Error>>()?;
        let newest = commands.range((lane.number(), 0)..=(lane.number(), u64::MAX))?.next_back();
        let command = newest.transpose()?.map_or(0, |(key, _)| key.value().1);
        // Which of a partition's records are the lane's is not known yet: it looks at all of them.
        lanes.push(LaneState::new(floors, lasts.clone(), command));
    }
    Ok((lasts, lanes))
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}
