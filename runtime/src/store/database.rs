//! The redb database behind the store: how it is opened, what is fixed in it, and how it is
//! opened again after the disk failed. redb refuses everything after an I/O error, so going on
//! means opening anew.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use qqrelay_proto::time::UnixMs;
use redb::{
    DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    WriteTransaction,
};

use super::error::{OpenError, StoreError};
use crate::bus::Layout;

/// The one format that this release reads and writes.
const FORMAT: u64 = 1;

/// A file that failed is opened again at most this often: each time may check all of it.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Numbers by name: what is fixed when the file is made, and how many commits there were.
const FIXED: TableDefinition<&str, u64> = TableDefinition::new("fixed");

type Opener = dyn Fn() -> Result<redb::Database, DatabaseError> + Send + Sync;

/// The database; absent after a failure, until it is opened again.
pub(super) struct Database {
    open: RwLock<Option<redb::Database>>,
    opener: Box<Opener>,
    opened_at: Mutex<Option<Instant>>,
}

/// How a commit ended.
pub(super) enum Committed {
    Stored,
    /// Nobody had anything to write.
    Nothing,
    Failed(StoreError),
}

/// Whether a transaction is worth a commit.
pub(super) enum Written {
    Something,
    Nothing,
}

impl Database {
    /// The database that `opener` gives, each time anew.
    pub(super) fn new(
        opener: impl Fn() -> Result<redb::Database, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        Self { open: RwLock::default(), opener: Box::new(opener), opened_at: Mutex::default() }
    }

    /// Opens it and checks, or writes, what is fixed.
    pub(super) fn prepare(&self, wanted: Layout, now: UnixMs) -> Result<(), Unfit> {
        self.reopen()?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let database = open.as_ref().ok_or(StorageError::DatabaseClosed)?;
        let tx = database.begin_write()?;
        match fixed(&tx)? {
            Some((FORMAT, found)) if found == wanted => tx.abort()?,
            Some((FORMAT, found)) => return Err(Unfit::Layout { found, wanted }),
            Some((format, _)) => return Err(Unfit::Format(format)),
            None => {
                fix(&tx, wanted, now)?;
                tx.commit()?;
            }
        }
        Ok(())
    }

    /// Runs `look` on what is committed.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let read = || look(&open.as_ref().ok_or(StorageError::DatabaseClosed)?.begin_read()?);
        read().map_err(|error| StoreError::Unreadable(Arc::new(error)))
    }

    /// Runs `change` in a transaction and commits it.
    pub(super) fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<Written, redb::Error>,
    ) -> Committed {
        if let Err(error) = self.ensure_open() {
            return Committed::Failed(StoreError::NotStored(Arc::new(error)));
        }
        match self.try_write(change) {
            Ok(Written::Something) => Committed::Stored,
            Ok(Written::Nothing) => Committed::Nothing,
            Err(Failed::Before(error)) => {
                if is_disk(&error) {
                    self.shut();
                }
                Committed::Failed(StoreError::NotStored(Arc::new(error)))
            }
            Err(Failed::Committing { error, before }) => {
                let error = Arc::new(error);
                // An older count after opening again proves that the commit is not there. The new
                // one proves nothing: what failed may have been the last flush.
                match self.reopen().and_then(|()| self.commits()) {
                    Ok(commits) if commits == before => {
                        Committed::Failed(StoreError::NotStored(error))
                    }
                    _ => Committed::Failed(StoreError::Unknown(error)),
                }
            }
        }
    }

    /// Closes it for good, or until somebody opens it again.
    pub(super) fn shut(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn try_write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<Written, redb::Error>,
    ) -> Result<Written, Failed> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let database = open.as_ref().ok_or(StorageError::DatabaseClosed)?;
        let tx = database.begin_write()?;
        match change(&tx)? {
            Written::Nothing => {
                tx.abort()?;
                Ok(Written::Nothing)
            }
            Written::Something => {
                let before = count(&tx)?;
                tx.commit().map_err(|error| Failed::Committing { error: error.into(), before })?;
                Ok(Written::Something)
            }
        }
    }

    fn ensure_open(&self) -> Result<(), redb::Error> {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let opened_at = *self.opened_at.lock().unwrap_or_else(PoisonError::into_inner);
        if opened_at.is_some_and(|at| at.elapsed() < REOPEN_EVERY) {
            return Err(redb::Error::PreviousIo);
        }
        self.reopen()
    }

    /// Closes what is open, once those who read are done, and opens it again.
    fn reopen(&self) -> Result<(), redb::Error> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = None;
        *self.opened_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        *open = Some((self.opener)()?);
        Ok(())
    }

    /// How many commits there were since the file was made.
    pub(super) fn commits(&self) -> Result<u64, redb::Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let tx = open.as_ref().ok_or(StorageError::DatabaseClosed)?.begin_read()?;
        Ok(tx.open_table(FIXED)?.get("commits")?.map_or(0, |count| count.value()))
    }
}

/// Whether redb refuses everything after this.
const fn is_disk(error: &redb::Error) -> bool {
    use redb::Error::{Backend, Corrupted, DatabaseClosed, Io, LockPoisoned, PreviousIo};
    matches!(
        error,
        Io(_) | Backend(_) | Corrupted(_) | DatabaseClosed | LockPoisoned(_) | PreviousIo
    )
}

fn fixed(tx: &WriteTransaction) -> Result<Option<(u64, Layout)>, redb::Error> {
    let table = tx.open_table(FIXED)?;
    let number = |name| Ok::<_, redb::Error>(table.get(name)?.map(|number| number.value()));
    let Some(format) = number("format")? else { return Ok(None) };
    let partitions = number("partitions")?.and_then(|count| count.try_into().ok());
    let window = number("window")?.and_then(|count| count.try_into().ok());
    let layout =
        Layout { partitions: partitions.unwrap_or_default(), window: window.unwrap_or_default() };
    Ok(Some((format, layout)))
}

fn fix(tx: &WriteTransaction, layout: Layout, now: UnixMs) -> Result<(), redb::Error> {
    let mut table = tx.open_table(FIXED)?;
    table.insert("format", FORMAT)?;
    table.insert("partitions", u64::from(layout.partitions))?;
    table.insert("window", u64::from(layout.window))?;
    table.insert("created_ms", now.0)?;
    Ok(())
}

/// Counts this commit; gives the count before it.
fn count(tx: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut table = tx.open_table(FIXED)?;
    let before = table.get("commits")?.map_or(0, |count| count.value());
    table.insert("commits", before + 1)?;
    Ok(before)
}

enum Failed {
    Before(redb::Error),
    Committing { error: redb::Error, before: u64 },
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Before(error.into())
    }
}

/// Why [`Database::prepare`] failed, without the path.
#[derive(Debug)]
pub(super) enum Unfit {
    InUse,
    Format(u64),
    Layout { found: Layout, wanted: Layout },
    Unusable(redb::Error),
}

impl Unfit {
    pub(super) fn at(self, path: PathBuf) -> OpenError {
        match self {
            Self::InUse => OpenError::InUse { path },
            Self::Format(found) => OpenError::Format { path, found, known: FORMAT },
            Self::Layout { found, wanted } => OpenError::Layout { path, found, wanted },
            Self::Unusable(source) => OpenError::Unusable { path, source: Box::new(source) },
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Unfit {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse,
            other => Self::Unusable(other),
        }
    }
}
