//! The bus of a process without servers: the same promises, kept in the embedded store's file.
//!
//! Everything that is written goes through the store's one writer, so numbers, fences and "first"
//! are decided in one place and in one order. What is committed is shown to lanes and readers from
//! memory while they keep up, and from the file otherwise. The rule a newcomer would break: nothing
//! is shown, and nobody is answered, before the commit.

mod append;
mod command;
mod lane;
mod letter;
mod log;
mod progress;
mod reader;
mod recent;
mod record;
mod result;
mod retention;
mod scan;
mod shared;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use qqrelay_proto::subject::{Lane, Partition};

use super::{
    Accepted, Appended, Bus, BusError, DeadLetter, Feed, Layout, Log, Only, Reader, Records,
    StoredLetter,
};
use crate::store::{Store, StoreError};
use shared::Shared;

pub use retention::{Bound, Limits};

/// The embedded bus.
#[derive(Debug, Clone)]
pub struct EmbeddedBus {
    shared: Arc<Shared>,
}

impl EmbeddedBus {
    /// The bus in this store's file, kept within `limits` from now on. There is one for a store:
    /// clone it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub async fn open(store: Store, limits: Limits) -> Result<Self, StoreError> {
        let shared = Shared::open(store, limits).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The file behind it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }
}

#[async_trait]
impl Bus for EmbeddedBus {
    fn layout(&self) -> Layout {
        self.shared.store.layout()
    }

    async fn log(&self, partition: Partition) -> Result<Box<dyn Log>, BusError> {
        Ok(Box::new(log::PartitionLog::open(Arc::clone(&self.shared), partition)?))
    }

    async fn lane(&self, lane: Lane) -> Result<Box<dyn Feed>, BusError> {
        Ok(Box::new(lane::LaneFeed::take(Arc::clone(&self.shared), lane).await?))
    }

    async fn read(&self, reader: Reader) -> Result<Box<dyn Records>, BusError> {
        Ok(Box::new(reader::LogReader::open(Arc::clone(&self.shared), reader).await?))
    }

    async fn command(&self, id: &str, subject: &str, payload: Bytes) -> Result<Accepted, BusError> {
        command::store(&self.shared, id, subject, payload).await
    }

    async fn result(
        &self,
        subject: &str,
        payload: Bytes,
        only: Only,
    ) -> Result<Appended, BusError> {
        result::append(&self.shared, subject, payload, only).await
    }

    async fn results(&self, subject: &str) -> Result<Vec<Bytes>, BusError> {
        result::all(&self.shared, subject).await
    }

    async fn await_result(
        &self,
        subject: &str,
        seen: usize,
        limit: Duration,
    ) -> Result<Vec<Bytes>, BusError> {
        result::wait(&self.shared, subject, seen, limit).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), BusError> {
        letter::park(&self.shared, letter).await
    }

    async fn dead_letters(&self, from: u64, limit: usize) -> Result<Vec<StoredLetter>, BusError> {
        letter::list(&self.shared, from, limit).await
    }
}

impl From<StoreError> for BusError {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            Self::Full(error.with_causes())
        } else {
            Self::Unavailable(Box::new(error))
        }
    }
}
