//! Keys with a value and an end, in the file that the bus uses too.
//!
//! As in Redis, a row is gone once its time has come, whether or not anybody has swept it away
//! yet. The rule a newcomer would break: every row goes through [`Rows::put`], which also files its
//! end, or it would stay in the file for ever.

use std::time::Duration;

use qqrelay_proto::time::UnixMs;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{Sweep, Swept};

/// Key → when it ends, milliseconds since 1970, and its value as JSON.
const ROWS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("state");

/// The same rows in the order in which they end.
const ENDS: TableDefinition<(u64, &str), ()> = TableDefinition::new("state_ends");

/// Rows that one sweep removes at most: about two milliseconds of the writer's time.
const SWEEP_ROWS: usize = 256;

/// Why a row cannot be used.
#[derive(Debug)]
pub(super) enum RowError {
    /// The file failed.
    File(redb::Error),
    /// The value is not what this release writes under this key.
    Foreign(String),
}

impl<E: Into<redb::Error>> From<E> for RowError {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

/// The rows as one change sees them.
pub(super) struct Rows<'tx> {
    rows: Table<'tx, &'static str, (u64, &'static [u8])>,
    ends: Table<'tx, (u64, &'static str), ()>,
    now: UnixMs,
}

impl<'tx> Rows<'tx> {
    pub(super) fn open(tx: &'tx WriteTransaction, now: UnixMs) -> Result<Self, TableError> {
        Ok(Self { rows: tx.open_table(ROWS)?, ends: tx.open_table(ENDS)?, now })
    }

    pub(super) const fn now(&self) -> UnixMs {
        self.now
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, RowError> {
        get(&self.rows, key, self.now)
    }

    /// Files a value that ends `ttl` from now, in place of what is there.
    pub(super) fn put(
        &mut self,
        key: &str,
        value: &impl Serialize,
        ttl: Duration,
    ) -> Result<(), RowError> {
        let value = serde_json::to_vec(value).expect("values of ours serialise");
        let end = self.now.plus(ttl).0;
        let old = self.rows.insert(key, (end, value.as_slice()))?.map(|old| old.value().0);
        if let Some(old) = old.filter(|old| *old != end) {
            self.ends.remove((old, key))?;
        }
        self.ends.insert((end, key), ())?;
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) -> Result<(), RowError> {
        let old = self.rows.remove(key)?.map(|old| old.value().0);
        if let Some(end) = old {
            self.ends.remove((end, key))?;
        }
        Ok(())
    }
}

/// The rows as they are on disk.
pub(super) struct View {
    rows: redb::ReadOnlyTable<&'static str, (u64, &'static [u8])>,
    now: UnixMs,
}

impl View {
    pub(super) fn open(tx: &ReadTransaction, now: UnixMs) -> Result<Self, TableError> {
        Ok(Self { rows: tx.open_table(ROWS)?, now })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, RowError> {
        get(&self.rows, key, self.now)
    }

    /// The values of all keys that begin so, in the order of the keys.
    pub(super) fn all<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, RowError> {
        let mut values = Vec::new();
        for row in self.rows.range(prefix..)? {
            let (key, row) = row?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let (end, value) = row.value();
            if end > self.now.0 {
                values.push(parse(key.value(), value)?);
            }
        }
        Ok(values)
    }
}

fn get<T: DeserializeOwned>(
    rows: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
    key: &str,
    now: UnixMs,
) -> Result<Option<T>, RowError> {
    let Some(row) = rows.get(key)? else { return Ok(None) };
    let (end, value) = row.value();
    if end <= now.0 { Ok(None) } else { parse(key, value).map(Some) }
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, RowError> {
    serde_json::from_slice(value).map_err(|_| RowError::Foreign(key.to_owned()))
}

/// Removes rows that have ended.
pub(super) struct Ended;

impl Sweep for Ended {
    fn sweep(&mut self, tx: &WriteTransaction, now: UnixMs) -> Result<Swept, redb::Error> {
        let (mut rows, mut ends) = (tx.open_table(ROWS)?, tx.open_table(ENDS)?);
        let mut ended = Vec::new();
        // The bound is the first end that is still to come, under whatever key.
        for row in ends.range(..(now.0.saturating_add(1), ""))?.take(SWEEP_ROWS) {
            let row = row?.0;
            let (end, key) = row.value();
            ended.push((end, key.to_owned()));
        }
        for (end, key) in &ended {
            ends.remove((*end, key.as_str()))?;
            rows.remove(key.as_str())?;
        }
        Ok(match ended.len() {
            0 => Swept::Nothing,
            SWEEP_ROWS => Swept::More,
            _ => Swept::Done,
        })
    }
}
