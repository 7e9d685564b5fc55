//! How far each lane has come: who holds it, what there is for it, and what is finished.
//!
//! Memory is ahead of the file: a finished piece is one at once, and in the file with one of the
//! next commits. What a crash forgets comes again, as after any lost acknowledgement. Only the
//! holder of the moment can finish anything: a late word of an earlier one hits nothing.

use std::mem;
use std::sync::{Arc, Mutex};

use qqrelay_proto::subject::Lane;
use redb::WriteTransaction;
use tokio::sync::{oneshot, watch};

use super::shared::{Shared, lock};
use super::table::{COMMANDS, Extents, FLOORS, StreamKey};
use crate::store::{Operation, StoreError};

/// One lane, shared by its holder, its former holders and the writer.
pub(super) struct LaneState {
    /// Changes when there is new work or a new holder.
    changed: watch::Sender<()>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Counts holders; the newest one holds the lane.
    holder: u64,
    /// By partition: what is finished, all of it up to this number.
    floors: Vec<Floor>,
    /// By partition: no record of this lane has a higher number.
    newest_events: Vec<u64>,
    newest_command: u64,
    /// Numbers of finished commands that are still in the file.
    done: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Floor {
    number: u64,
    filed: u64,
}

/// What a new holder begins with.
pub(super) struct Taken {
    pub(super) holder: u64,
    pub(super) floors: Vec<u64>,
}

/// A number that is not the holder's any more.
#[derive(Debug)]
pub(super) struct Deposed;

impl LaneState {
    pub(super) fn new(floors: Vec<u64>, newest_events: Vec<u64>, newest_command: u64) -> Self {
        let floors = floors.into_iter().map(|number| Floor { number, filed: number }).collect();
        let inner = Inner { holder: 0, floors, newest_events, newest_command, done: Vec::new() };
        Self { changed: watch::Sender::new(()), inner: Mutex::new(inner) }
    }

    /// Hears of new work and new holders.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Deposes whoever holds the lane.
    pub(super) fn take(&self) -> Taken {
        let mut inner = lock(&self.inner);
        inner.holder += 1;
        let floors = inner.floors.iter().map(|floor| floor.number).collect();
        let taken = Taken { holder: inner.holder, floors };
        drop(inner);
        self.changed.send_replace(());
        taken
    }

    /// The highest number that may be this lane's, of events by partition index, and of commands.
    pub(super) fn newest(&self, holder: u64) -> Result<(Vec<u64>, u64), Deposed> {
        let inner = lock(&self.inner);
        inner.check(holder)?;
        Ok((inner.newest_events.clone(), inner.newest_command))
    }

    /// There is an event for this lane.
    pub(super) fn add_event(&self, partition: usize, number: u64) {
        let mut inner = lock(&self.inner);
        let newest = &mut inner.newest_events[partition];
        *newest = number.max(*newest);
        drop(inner);
        self.changed.send_replace(());
    }

    /// There is a command for this lane.
    pub(super) fn add_command(&self, number: u64) {
        let mut inner = lock(&self.inner);
        inner.newest_command = number.max(inner.newest_command);
        drop(inner);
        self.changed.send_replace(());
    }

    /// Everything of this partition up to `floor` is finished.
    pub(super) fn finish_events(
        &self,
        holder: u64,
        partition: usize,
        floor: u64,
    ) -> Result<(), Deposed> {
        let mut inner = lock(&self.inner);
        inner.check(holder)?;
        let known = &mut inner.floors[partition].number;
        *known = floor.max(*known);
        Ok(())
    }

    /// A command is finished.
    pub(super) fn finish_command(&self, holder: u64, number: u64) -> Result<(), Deposed> {
        let mut inner = lock(&self.inner);
        inner.check(holder)?;
        inner.done.push(number);
        Ok(())
    }
}

impl Inner {
    const fn check(&self, holder: u64) -> Result<(), Deposed> {
        if self.holder == holder { Ok(()) } else { Err(Deposed) }
    }
}

/// Has what is finished written down with one of the next commits.
pub(super) fn file_soon(shared: &Arc<Shared>) {
    if !mem::replace(&mut *lock(&shared.settling), true) {
        // A closed store drops it: what it held is forgotten, as by a crash.
        let _ = shared.store.post(Box::new(Settlement::new(shared, None)));
    }
}

/// Has it written down, and waits for that.
pub(super) async fn file_now(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let (answer, answered) = oneshot::channel();
    shared.store.post(Box::new(Settlement::new(shared, Some(answer))))?;
    answered.await.unwrap_or(Err(StoreError::Closed))
}

/// Writes down what is finished in all lanes.
struct Settlement {
    shared: Arc<Shared>,
    /// By lane and partition index.
    floors: Vec<(Lane, usize, u64)>,
    done: Vec<(Lane, u64)>,
    answer: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Settlement {
    fn new(shared: &Arc<Shared>, answer: Option<oneshot::Sender<Result<(), StoreError>>>) -> Self {
        Self { shared: Arc::clone(shared), floors: Vec::new(), done: Vec::new(), answer }
    }

    fn collect(&mut self) {
        *lock(&self.shared.settling) = false;
        for lane in Lane::all() {
            let mut inner = lock(&self.shared.lane(lane).inner);
            self.done.extend(mem::take(&mut inner.done).into_iter().map(|number| (lane, number)));
            for (partition, floor) in inner.floors.iter().enumerate() {
                if floor.number > floor.filed {
                    self.floors.push((lane, partition, floor.number));
                }
            }
        }
    }
}

impl Operation for Settlement {
    fn apply(&mut self, tx: &WriteTransaction) -> Result<(), redb::Error> {
        self.collect();
        let mut floors = tx.open_table(FLOORS)?;
        for &(lane, partition, floor) in &self.floors {
            floors.insert((lane.number(), self.shared.key(partition).0), floor)?;
        }
        let mut commands = tx.open_table(COMMANDS)?;
        let mut extents = Extents::open(tx)?;
        let mut extent = extents.of(StreamKey::COMMANDS)?;
        for &(lane, number) in &self.done {
            if let Some(command) = commands.remove((lane.number(), number))? {
                extent.bytes = extent.bytes.saturating_sub(command.value().len() as u64);
            }
        }
        extents.set(StreamKey::COMMANDS, extent)
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { shared, floors, done, answer } = *self;
        match &outcome {
            Ok(()) => {
                for (lane, partition, floor) in floors {
                    let filed = &mut lock(&shared.lane(lane).inner).floors[partition].filed;
                    *filed = floor.max(*filed);
                }
            }
            // Floors are still ahead of the file and go with the next one; commands go back.
            Err(_) => {
                *lock(&shared.settling) = false;
                for (lane, number) in done {
                    lock(&shared.lane(lane).inner).done.push(number);
                }
            }
        }
        if let Some(answer) = answer {
            let _ = answer.send(outcome); // nobody may be waiting any more
        }
    }
}
