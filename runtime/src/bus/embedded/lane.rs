//! A lane's work: the events of all partitions and the commands that are its share.
//!
//! Each stream is read forwards from the floor, from memory where it is recent. A taker begins at
//! the floor again, so that what was out with its predecessor comes first, and in order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Lane;
use redb::ReadTransaction;
use tokio::sync::watch;

use super::progress::{Deposed, LaneState, Taken, file_now, file_soon};
use super::record::View;
use super::scan;
use super::shared::{Shared, lock};
use super::table::{COMMANDS, StreamKey, committed_extent, unreadable};
use crate::bus::{BusError, Delivery, Feed, Position, UNACKED_MAX, WorkStream};

/// Most pieces read ahead of each stream.
const AHEAD_MAX: usize = 256;

/// How far a floor may be behind before it is filed although nothing was acknowledged: what lies
/// between belongs to other lanes, and would be looked through again after a restart.
const FLOOR_LAG_MAX: u64 = 4096;

/// The holder's end of a lane.
pub(super) struct LaneFeed {
    shared: Arc<Shared>,
    lane: Lane,
    holder: u64,
    changed: watch::Receiver<()>,
    streams: Vec<Cursor>,
    /// Which stream is asked first, so that none starves another.
    turn: usize,
}

/// One stream, as far as it was read.
struct Cursor {
    of: WorkStream,
    /// Everything below was read; what of it is this lane's is ahead, out or finished.
    next: u64,
    /// What may have been worked on by an earlier holder.
    inherited_to: u64,
    ahead: VecDeque<Stored>,
    /// Given and not acknowledged.
    out: BTreeSet<u64>,
    /// The floor that was last reported.
    reported: u64,
}

impl Cursor {
    fn new(of: WorkStream, floor: u64, inherited_to: u64) -> Self {
        Self {
            of,
            next: floor + 1,
            inherited_to,
            ahead: VecDeque::new(),
            out: BTreeSet::new(),
            reported: floor,
        }
    }

    /// All of this lane's up to here is finished.
    fn floor(&self) -> u64 {
        let ahead = self.ahead.front().map_or(self.next, |stored| stored.number);
        self.out.first().map_or(ahead, |&out| out.min(ahead)) - 1
    }

    fn give(&mut self) -> Option<Delivery> {
        if self.out.len() >= UNACKED_MAX {
            return None;
        }
        let stored = self.ahead.pop_front()?;
        self.out.insert(stored.number);
        let position = Position { stream: self.of, number: stored.number };
        let inherited = stored.number <= self.inherited_to;
        Some(Delivery { position, delivered: 1, inherited, stored })
    }
}

impl LaneFeed {
    pub(super) async fn take(shared: Arc<Shared>, lane: Lane) -> Result<Self, BusError> {
        let state = shared.lane(lane);
        let changed = state.subscribe();
        let Taken { holder, floors } = state.take();
        // What the last holder finished must be out of the file before anything is read there.
        file_now(&shared).await?;
        let lasts = lasts(&shared).await?;
        state.newest(holder)?;
        let streams = shared.partitions.iter().map(|&partition| WorkStream::Events(partition));
        let streams = streams.chain([WorkStream::Commands]);
        let floors = floors.into_iter().chain([0]); // what is done of commands is gone
        let cursors = streams.zip(floors).zip(lasts);
        let streams = cursors.map(|((of, floor), last)| Cursor::new(of, floor, last)).collect();
        Ok(Self { lane, holder, changed, streams, turn: 0, shared })
    }

    fn state(&self) -> &LaneState {
        self.shared.lane(self.lane)
    }

    /// Reads ahead where there is something; says whether it got anywhere.
    async fn read_ahead(&mut self) -> Result<bool, BusError> {
        let (events, command) = self.state().newest(self.holder)?;
        let newest: Vec<_> = events.into_iter().chain([command]).collect();
        let mut moved = false;
        for (index, newest) in newest.into_iter().enumerate() {
            let cursor = &self.streams[index];
            if cursor.next > newest || !cursor.ahead.is_empty() || cursor.out.len() >= UNACKED_MAX {
                continue;
            }
            let (next, ahead) = match cursor.of {
                WorkStream::Events(_) => self.look(index, cursor.next).await?,
                WorkStream::Commands => self.look_for_commands(cursor.next, newest).await?,
            };
            // From here to the end nothing waits: a dropped future has read nothing.
            let cursor = &mut self.streams[index];
            moved |= next > cursor.next;
            cursor.next = next;
            cursor.ahead.extend(ahead);
            if cursor.floor() >= cursor.reported + FLOOR_LAG_MAX {
                self.report(index)?;
            }
        }
        Ok(moved)
    }

    async fn look(&self, index: usize, next: u64) -> Result<(u64, Vec<Stored>), BusError> {
        let lane = Some(self.lane);
        let recent = lock(&self.shared.recent[index])
            .since(next, AHEAD_MAX, |entry| entry.filing.lane == lane);
        if let Some(found) = recent {
            let stored = found.entries.iter().map(|entry| entry.stored.clone());
            return Ok((found.next, stored.collect()));
        }
        let stream = self.shared.key(index);
        let look = move |tx: &ReadTransaction| {
            scan::forward(tx, stream, next, AHEAD_MAX, |record| record.lane() == lane)
        };
        let scanned = self.shared.store.read(look).await?;
        Ok((scanned.next, scanned.taken))
    }

    async fn look_for_commands(
        &self,
        next: u64,
        newest: u64,
    ) -> Result<(u64, Vec<Stored>), BusError> {
        let lane = self.lane.number();
        let look = move |tx: &ReadTransaction| {
            let commands = tx.open_table(COMMANDS)?;
            let mut found = Vec::new();
            for entry in commands.range((lane, next)..=(lane, u64::MAX))?.take(AHEAD_MAX) {
                let (key, value) = entry?;
                let (_, number) = key.value();
                let read = View::new(value.value()).read(number);
                found.push(read.ok_or_else(|| unreadable(StreamKey::COMMANDS, number))?);
            }
            Ok(found)
        };
        let found: Vec<Stored> = self.shared.store.read(look).await?;
        let last = found.last().map_or(0, |newest| newest.number);
        // Fewer than asked for means that there are no more up to the newest we know of.
        let seen = if found.len() < AHEAD_MAX { newest.max(last) } else { last };
        Ok((seen + 1, found))
    }

    /// Tells how far one partition's events are finished.
    fn report(&mut self, index: usize) -> Result<(), Deposed> {
        let floor = self.streams[index].floor();
        if floor > self.streams[index].reported {
            self.state().finish_events(self.holder, index, floor)?;
            self.streams[index].reported = floor;
            file_soon(&self.shared);
        }
        Ok(())
    }
}

/// The last number of every partition, and of commands.
async fn lasts(shared: &Arc<Shared>) -> Result<Vec<u64>, BusError> {
    let events = shared.partitions.iter().map(|&partition| StreamKey::events(partition));
    let streams: Vec<_> = events.chain([StreamKey::COMMANDS]).collect();
    let look = move |tx: &ReadTransaction| {
        streams.iter().map(|&stream| Ok(committed_extent(tx, stream)?.last)).collect()
    };
    Ok(shared.store.read(look).await?)
}

#[async_trait]
impl Feed for LaneFeed {
    async fn next(&mut self) -> Result<Delivery, BusError> {
        loop {
            self.changed.mark_unchanged();
            self.state().newest(self.holder)?;
            for _ in 0..self.streams.len() {
                self.turn = (self.turn + 1) % self.streams.len();
                if let Some(delivery) = self.streams[self.turn].give() {
                    return Ok(delivery);
                }
            }
            if !self.read_ahead().await? {
                // The sender lives in what we share, so this never fails.
                let _ = self.changed.changed().await;
            }
        }
    }

    fn ack(&mut self, position: Position) {
        let Some(index) = self.streams.iter().position(|cursor| cursor.of == position.stream)
        else {
            return;
        };
        if !self.streams[index].out.remove(&position.number) {
            return;
        }
        // Of one who was deposed nobody hears: his work has gone to the next holder.
        let _ = match position.stream {
            WorkStream::Events(_) => self.report(index),
            WorkStream::Commands => {
                let finished = self.state().finish_command(self.holder, position.number);
                file_soon(&self.shared);
                finished
            }
        };
    }
}

impl From<Deposed> for BusError {
    fn from(_: Deposed) -> Self {
        Self::Taken
    }
}
