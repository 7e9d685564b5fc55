//! Readers that follow the log without taking anything: each partition in order, by turns.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::{Partition, matches};
use redb::ReadTransaction;
use tokio::sync::watch;

use super::scan;
use super::shared::{Shared, lock};
use super::table::{StreamKey, committed_extent};
use crate::bus::{BusError, Extent, Reader, Records, Start};

/// Most records read ahead of each partition.
const AHEAD_MAX: usize = 256;

/// A reader's place in the log.
pub(super) struct LogReader {
    shared: Arc<Shared>,
    filter: Arc<str>,
    written: watch::Receiver<()>,
    cursors: Vec<Cursor>,
    turn: usize,
}

struct Cursor {
    next: u64,
    ahead: VecDeque<Stored>,
}

impl LogReader {
    pub(super) async fn open(shared: Arc<Shared>, reader: Reader) -> Result<Self, BusError> {
        let Reader { filter, start } = reader;
        let written = shared.written.subscribe();
        let streams: Vec<_> = shared.partitions.iter().map(|&of| StreamKey::events(of)).collect();
        let look = move |tx: &ReadTransaction| {
            streams.iter().map(|&stream| committed_extent(tx, stream)).collect()
        };
        let extents: Vec<Extent> = shared.store.read(look).await?;
        let begin = |extent: Extent| match start {
            Start::Oldest => extent.first,
            Start::New => extent.last + 1,
        };
        let cursor = |extent| Cursor { next: begin(extent), ahead: VecDeque::new() };
        let cursors = extents.into_iter().map(cursor).collect();
        Ok(Self { filter: filter.into(), written, cursors, turn: 0, shared })
    }

    fn give(&mut self) -> Option<(Partition, Stored)> {
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len();
            if let Some(stored) = self.cursors[self.turn].ahead.pop_front() {
                return Some((self.shared.partitions[self.turn], stored));
            }
        }
        None
    }

    /// Reads ahead of every partition; says whether it got anywhere.
    async fn read_ahead(&mut self) -> Result<bool, BusError> {
        let mut moved = false;
        for index in 0..self.cursors.len() {
            let next = self.cursors[index].next;
            let (reached, found) = self.look(index, next).await?;
            let cursor = &mut self.cursors[index];
            moved |= reached > next;
            cursor.next = reached;
            cursor.ahead.extend(found);
        }
        Ok(moved)
    }

    async fn look(&mut self, index: usize, next: u64) -> Result<(u64, Vec<Stored>), BusError> {
        let filter = Arc::clone(&self.filter);
        let recent = lock(&self.shared.recent[index])
            .since(next, AHEAD_MAX, |entry| matches(&filter, &entry.stored.record.subject));
        if let Some(found) = recent {
            let stored = found.entries.iter().map(|entry| entry.stored.clone());
            return Ok((found.next, stored.collect()));
        }
        let stream = self.shared.key(index);
        let look = move |tx: &ReadTransaction| {
            scan::forward(tx, stream, next, AHEAD_MAX, |record| {
                record.subject().is_some_and(|subject| matches(&filter, subject))
            })
        };
        let scanned = self.shared.store.read(look).await?;
        if next < scanned.extent.first {
            // Said once; the next call goes on behind what is gone.
            self.cursors[index].next = scanned.extent.first;
            return Err(BusError::Behind { up_to: scanned.extent.first - 1 });
        }
        Ok((scanned.next, scanned.taken))
    }
}

#[async_trait]
impl Records for LogReader {
    async fn next(&mut self) -> Result<(Partition, Stored), BusError> {
        loop {
            if let Some(found) = self.give() {
                return Ok(found);
            }
            self.written.mark_unchanged();
            if !self.read_ahead().await? {
                // The sender lives in what we share, so this never fails.
                let _ = self.written.changed().await;
            }
        }
    }
}
