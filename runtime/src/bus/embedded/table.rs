//! Where in the file everything of the bus lies, and how far each stream reaches.

use qqrelay_proto::subject::Partition;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::bus::Extent;

/// Records by stream and number, as [`super::record`] writes them.
pub(super) const EVENTS: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("events");
/// The newest record of each chain, by the part of the subject that names it.
pub(super) const TAILS: TableDefinition<'_, &str, u64> = TableDefinition::new("tails");
/// Commands that are not done, by lane and number.
pub(super) const COMMANDS: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("commands");
/// Number and time of a command, by its id.
pub(super) const COMMAND_IDS: TableDefinition<'_, &str, (u64, u64)> =
    TableDefinition::new("command-ids");
/// Time and id of a command, by its number: which ids are forgotten next.
pub(super) const COMMAND_TIMES: TableDefinition<'_, u64, (u64, &str)> =
    TableDefinition::new("command-times");
/// Time, subject and payload of attempts and outcomes, by number.
pub(super) const RESULTS: TableDefinition<'_, u64, (u64, &str, &[u8])> =
    TableDefinition::new("results");
/// Which results belong to one command's subject.
pub(super) const RESULTS_OF: TableDefinition<'_, (&str, u64), ()> =
    TableDefinition::new("results-of");
/// Parked records by number: time, subject, reason, detail, stream, number there, record.
pub(super) const LETTERS: TableDefinition<'_, u64, Letter<'_>> = TableDefinition::new("letters");
/// By lane and stream, the number up to which the lane has finished everything.
pub(super) const FLOORS: TableDefinition<'_, (u8, u8), u64> = TableDefinition::new("floors");
/// By stream: first and last number, bytes, time of creation.
const EXTENTS: TableDefinition<'_, u8, (u64, u64, u64, u64)> = TableDefinition::new("extents");

/// A row of [`LETTERS`].
pub(super) type Letter<'a> = (u64, &'a str, &'a str, &'a str, &'a str, u64, &'a [u8]);

/// A stream's key in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamKey(pub(super) u8);

impl StreamKey {
    /// Commands that are not done.
    pub(super) const COMMANDS: Self = Self(250);
    /// Attempts and outcomes.
    pub(super) const RESULTS: Self = Self(251);
    /// Parked records.
    pub(super) const LETTERS: Self = Self(252);

    /// Events of one partition.
    pub(super) const fn events(partition: Partition) -> Self {
        match partition {
            Partition::Chain(number) => Self(number),
            Partition::Webhook => Self(255),
        }
    }
}

/// Makes what is not there yet, so that readers never meet a missing table.
pub(super) fn create(
    tx: &WriteTransaction,
    streams: &[StreamKey],
    now_ms: u64,
) -> Result<(), redb::Error> {
    tx.open_table(EVENTS)?;
    tx.open_table(TAILS)?;
    tx.open_table(COMMANDS)?;
    tx.open_table(COMMAND_IDS)?;
    tx.open_table(COMMAND_TIMES)?;
    tx.open_table(RESULTS)?;
    tx.open_table(RESULTS_OF)?;
    tx.open_table(LETTERS)?;
    tx.open_table(FLOORS)?;
    let mut extents = tx.open_table(EXTENTS)?;
    for stream in streams {
        if extents.get(stream.0)?.is_none() {
            extents.insert(stream.0, (1, 0, 0, now_ms))?;
        }
    }
    Ok(())
}

/// How far streams reach, open for writing for the length of one change.
pub(super) struct Extents<'tx>(redb::Table<'tx, u8, (u64, u64, u64, u64)>);

impl<'tx> Extents<'tx> {
    pub(super) fn open(tx: &'tx WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self(tx.open_table(EXTENTS)?))
    }

    pub(super) fn of(&self, stream: StreamKey) -> Result<Extent, redb::Error> {
        extent(&self.0, stream)
    }

    pub(super) fn set(&mut self, stream: StreamKey, extent: Extent) -> Result<(), redb::Error> {
        let Extent { first, last, bytes, created_ms } = extent;
        self.0.insert(stream.0, (first, last, bytes, created_ms))?;
        Ok(())
    }
}

/// How far a stream reaches, as committed.
pub(super) fn committed_extent(
    tx: &ReadTransaction,
    stream: StreamKey,
) -> Result<Extent, redb::Error> {
    extent(&tx.open_table(EXTENTS)?, stream)
}

fn extent(
    table: &impl ReadableTable<u8, (u64, u64, u64, u64)>,
    stream: StreamKey,
) -> Result<Extent, redb::Error> {
    let row = table.get(stream.0)?.map(|row| row.value());
    let missing = || redb::Error::Corrupted(format!("stream {} has no extent", stream.0));
    let (first, last, bytes, created_ms) = row.ok_or_else(missing)?;
    Ok(Extent { first, last, bytes, created_ms })
}

/// What a record that does not read back is called.
pub(super) fn unreadable(stream: StreamKey, number: u64) -> redb::Error {
    redb::Error::Corrupted(format!("record {number} of stream {} cannot be read", stream.0))
}
