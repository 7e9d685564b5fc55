//! Commands: stored once per id, filed under their lane, gone when they are done.

use std::sync::Arc;

use bytes::Bytes;
use qqrelay_proto::record::{Headers, RECORD_BYTES_MAX, Record};
use qqrelay_proto::subject::CommandSubject;
use redb::{ReadableTable, WriteTransaction};

use super::record::{self, Filing};
use super::retention::COMMAND_ID_KEPT;
use super::shared::Shared;
use super::table::{COMMAND_IDS, COMMAND_TIMES, COMMANDS, Extents, StreamKey};
use crate::bus::{Accepted, BusError};

/// What the writer decided about a command.
enum Stored {
    New(u64),
    Known(u64),
    Full { bytes: u64 },
}

/// Stores a command unless its id is known.
pub(super) async fn store(
    shared: &Arc<Shared>,
    id: &str,
    subject: &str,
    payload: Bytes,
) -> Result<Accepted, BusError> {
    let Some(command) = CommandSubject::outside(subject) else {
        return Err(BusError::Refused(format!("{subject:?} is no subject of a command")));
    };
    let lane = command.place.lane();
    let record = Record { subject: command.to_stored(), headers: Headers::default(), payload };
    let size = record.size() + id.len();
    if size > RECORD_BYTES_MAX {
        return Err(BusError::Refused(format!(
            "the command has {size} bytes and may have {RECORD_BYTES_MAX}"
        )));
    }
    let mut bytes = record::encode(Filing { lane: Some(lane), chain: 0 }, &record);
    let (id, now, limit) = (id.to_owned(), shared.store.now(), shared.limits.commands.max_bytes);
    let change = move |tx: &WriteTransaction| {
        let mut ids = tx.open_table(COMMAND_IDS)?;
        let known = ids.get(id.as_str())?.map(|known| known.value());
        if let Some((number, at_ms)) = known
            && now.minus(COMMAND_ID_KEPT).0 < at_ms
        {
            return Ok(Stored::Known(number));
        }
        let mut extents = Extents::open(tx)?;
        let mut extent = extents.of(StreamKey::COMMANDS)?;
        let size = bytes.len() as u64;
        if extent.bytes + size > limit {
            return Ok(Stored::Full { bytes: extent.bytes });
        }
        extent.last += 1;
        extent.bytes += size;
        let number = extent.last;
        record::stamp(&mut bytes, now.0);
        tx.open_table(COMMANDS)?.insert((lane.number(), number), bytes.as_slice())?;
        ids.insert(id.as_str(), (number, now.0))?;
        tx.open_table(COMMAND_TIMES)?.insert(number, (now.0, id.as_str()))?;
        extents.set(StreamKey::COMMANDS, extent)?;
        Ok(Stored::New(number))
    };
    let state = Arc::clone(shared);
    let then = move |stored: &Stored| {
        // A known one is shown again: when it was stored, nobody may have known that it was.
        if let Stored::New(number) | Stored::Known(number) = *stored {
            state.lane(lane).add_command(number);
        }
    };
    match shared.store.submit_then(size, change, then).await? {
        Stored::New(_) => Ok(Accepted::New),
        Stored::Known(_) => Ok(Accepted::Known),
        Stored::Full { bytes } => {
            Err(BusError::Full(format!("{bytes} of {limit} bytes of commands wait to be done")))
        }
    }
}
