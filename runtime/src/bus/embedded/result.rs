//! What is known of commands: attempts and outcomes, in the order in which they were written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::record::RECORD_BYTES_MAX;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::shared::{Shared, lock};
use super::table::{Extents, RESULTS, RESULTS_OF, StreamKey};
use crate::bus::{Appended, BusError, Only};

/// Appends an entry to a command's subject.
pub(super) async fn append(
    shared: &Arc<Shared>,
    subject: &str,
    payload: Bytes,
    only: Only,
) -> Result<Appended, BusError> {
    let size = subject.len() + payload.len();
    if size > RECORD_BYTES_MAX {
        return Err(BusError::Refused(format!(
            "the result has {size} bytes and may have {RECORD_BYTES_MAX}"
        )));
    }
    let (key, now_ms) = (subject.to_owned(), shared.store.now().0);
    let change = move |tx: &WriteTransaction| {
        let mut of = tx.open_table(RESULTS_OF)?;
        let mut results = tx.open_table(RESULTS)?;
        for entry in of.range((key.as_str(), 0)..=(key.as_str(), u64::MAX))? {
            match only {
                Only::First => return Ok(Appended::Taken),
                Only::Always
                    if results
                        .get(entry?.0.value().1)?
                        .is_some_and(|row| row.value().2 == &*payload) =>
                {
                    return Ok(Appended::Stored);
                }
                Only::Always => {}
            }
        }
        let mut extents = Extents::open(tx)?;
        let mut extent = extents.of(StreamKey::RESULTS)?;
        extent.last += 1;
        extent.bytes += size as u64;
        results.insert(extent.last, (now_ms, key.as_str(), &*payload))?;
        of.insert((key.as_str(), extent.last), ())?;
        extents.set(StreamKey::RESULTS, extent)?;
        Ok(Appended::Stored)
    };
    let (state, key) = (Arc::clone(shared), subject.to_owned());
    let then = move |_: &Appended| state.waiters.wake(&key);
    Ok(shared.store.submit_then(size, change, then).await?)
}

/// All entries of a command's subject, oldest first.
pub(super) async fn all(shared: &Arc<Shared>, subject: &str) -> Result<Vec<Bytes>, BusError> {
    let subject = subject.to_owned();
    let look = move |tx: &ReadTransaction| {
        let (results, of) = (tx.open_table(RESULTS)?, tx.open_table(RESULTS_OF)?);
        let mut found = Vec::new();
        for entry in of.range((subject.as_str(), 0)..=(subject.as_str(), u64::MAX))? {
            let (key, ()) = (entry?.0, ());
            if let Some(row) = results.get(key.value().1)? {
                found.push(Bytes::copy_from_slice(row.value().2));
            }
        }
        Ok(found)
    };
    Ok(shared.store.read(look).await?)
}

/// Waits until there are more than `seen` entries, or the time is up.
pub(super) async fn wait(
    shared: &Arc<Shared>,
    subject: &str,
    seen: usize,
    limit: Duration,
) -> Result<Vec<Bytes>, BusError> {
    let deadline = Instant::now() + limit;
    let mut waiting = shared.waiters.wait(subject);
    loop {
        waiting.written.mark_unchanged();
        let entries = all(shared, subject).await?;
        if entries.len() > seen || timeout_at(deadline, waiting.written.changed()).await.is_err() {
            return Ok(entries);
        }
    }
}

/// Who waits for results, by subject. An entry lives as long as somebody waits.
#[derive(Default)]
pub(super) struct Waiters(Mutex<HashMap<String, watch::Sender<()>>>);

struct Waiting<'a> {
    waiters: &'a Waiters,
    subject: &'a str,
    written: watch::Receiver<()>,
}

impl Waiters {
    fn wait<'a>(&'a self, subject: &'a str) -> Waiting<'a> {
        let mut waiters = lock(&self.0);
        let sender = waiters.entry(subject.to_owned()).or_insert_with(|| watch::Sender::new(()));
        Waiting { waiters: self, subject, written: sender.subscribe() }
    }

    fn wake(&self, subject: &str) {
        if let Some(sender) = lock(&self.0).get(subject) {
            sender.send_replace(());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiters = lock(&self.waiters.0);
        if waiters.get(self.subject).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiters.remove(self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_remembered_who_waits_no_more() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.wait("a"), waiters.wait("a"));
        drop(first);
        assert_eq!(lock(&waiters.0).len(), 1);
        drop(second);
        assert_eq!(lock(&waiters.0).len(), 0);
    }
}
