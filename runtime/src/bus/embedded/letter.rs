//! Dead letters: what could not be handled, parked for people.

use std::sync::Arc;

use redb::{ReadTransaction, WriteTransaction};

use super::record::{self, Filing, View};
use super::shared::Shared;
use super::table::{Extents, LETTERS, StreamKey, unreadable};
use crate::bus::{BusError, DeadLetter, StoredLetter};

/// Parks a record.
pub(super) async fn park(shared: &Arc<Shared>, letter: DeadLetter) -> Result<(), BusError> {
    let DeadLetter { subject, reason, detail, position, record } = letter;
    let bytes = record::encode(Filing::elsewhere(), &record);
    let size = subject.len() + detail.len() + bytes.len();
    let (stream, now_ms) = (position.stream.to_string(), shared.store.now().0);
    let change = move |tx: &WriteTransaction| {
        let mut extents = Extents::open(tx)?;
        let mut extent = extents.of(StreamKey::LETTERS)?;
        extent.last += 1;
        extent.bytes += size as u64;
        let (subject, detail) = (subject.as_str(), detail.as_str());
        let row = (now_ms, subject, reason, detail, stream.as_str(), position.number, &*bytes);
        tx.open_table(LETTERS)?.insert(extent.last, row)?;
        extents.set(StreamKey::LETTERS, extent)
    };
    Ok(shared.store.submit_then(size, change, |()| {}).await?)
}

/// At most `limit` parked records from number `from` on.
pub(super) async fn list(
    shared: &Arc<Shared>,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredLetter>, BusError> {
    let look = move |tx: &ReadTransaction| {
        let letters = tx.open_table(LETTERS)?;
        let mut found = Vec::new();
        for entry in letters.range(from..)?.take(limit) {
            let (key, row) = entry?;
            let number = key.value();
            let (at_ms, subject, reason, detail, stream, stream_number, bytes) = row.value();
            let stored = View::new(bytes).read(stream_number);
            let stored = stored.ok_or_else(|| unreadable(StreamKey::LETTERS, number))?;
            found.push(StoredLetter {
                number,
                at_ms,
                subject: subject.to_owned(),
                reason: reason.to_owned(),
                detail: detail.to_owned(),
                stream: stream.to_owned(),
                stream_number,
                record: stored.record,
            });
        }
        Ok(found)
    };
    Ok(shared.store.read(look).await?)
}
