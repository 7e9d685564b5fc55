//! The embedded default's one file, and the one thread that writes it.
//!
//! The file is a redb database that bus and state share. Every change goes to the writer thread,
//! which puts all changes of up to [`COMMIT_EVERY`] or [`COMMIT_OPERATIONS`] into one commit and
//! answers after it: an answer means that the change is on disk. The rule a newcomer would break:
//! an operation decides before it writes, and a refusal is a value it returns. An error takes the
//! whole commit with it, everybody else's changes included.
//!
//! When the disk fails, every operation of that commit hears of it and nothing is kept back for
//! later; the file is opened anew for the next one, so that the store goes on once there is room.

mod clock;
mod database;
#[cfg(test)]
pub(crate) mod disk;
mod error;
mod file;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use qqrelay_proto::time::UnixMs;
use redb::{ReadTransaction, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::bus::Layout;
use database::Database;
use writer::{Message, Writer};

pub use clock::Clock;
pub use error::{Cause, OpenError, StoreError};

/// How often there is a commit while there is something to write. Work that comes after a pause is
/// committed at once.
pub const COMMIT_EVERY: Duration = Duration::from_millis(5);

/// Most operations in one commit.
pub const COMMIT_OPERATIONS: usize = 512;

/// Most bytes that may wait for the writer. Who comes above it waits for a commit first.
const WAITING_BYTES: usize = 64 << 20;

/// What a waiting operation counts at least, so that many small ones are bounded too.
const OPERATION_BYTES: usize = 4 << 10;

/// The open file. Clones share it; the last one to go, or [`Store::close`], ends the writer.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    clock: Clock,
    layout: Layout,
    writer: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
}

impl Store {
    /// Opens the file at `path`, or makes it with this layout. It is ours alone from then on.
    ///
    /// Blocks: after a crash the file is checked first.
    ///
    /// # Errors
    ///
    /// Another process has it open, it was made with another layout or by another release, or the
    /// disk refuses.
    pub fn open(path: &Path, layout: Layout, clock: Clock) -> Result<Self, OpenError> {
        let file = path.to_owned();
        let database = Database::new(move || file::open(&file));
        Self::start(database, path.to_owned(), layout, clock)
    }

    fn start(
        database: Database,
        path: PathBuf,
        layout: Layout,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        database.prepare(layout, clock.now()).map_err(|fault| fault.at(path))?;
        let database = Arc::new(database);
        let (sender, inbox) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&database), clock.clone(), inbox);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        Ok(Self { database, clock, layout, writer: sender, room })
    }

    /// What the file was made with.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The time as records are stamped with it.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Runs `change` inside the next commit, and gives its value once that is on disk.
    ///
    /// Changes run one after the other, in the order in which they reach the writer; each sees what
    /// those before it wrote. Dropping the future does not take the change back.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; only [`StoreError::Unknown`] leaves open whether it is stored.
    pub async fn submit<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Result<T, redb::Error> + Send + 'static,
    {
        self.submit_then(0, change, |_| {}).await
    }

    /// As [`Store::submit`], for a change that carries `bytes` with it while it waits.
    ///
    /// `then` sees the value once it is on disk, on the writer's thread and before anybody else
    /// hears of it, also when the future was dropped. It must not wait.
    ///
    /// # Errors
    ///
    /// As [`Store::submit`].
    pub async fn submit_then<T, F, G>(
        &self,
        bytes: usize,
        change: F,
        then: G,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Result<T, redb::Error> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        let share = bytes.clamp(OPERATION_BYTES, WAITING_BYTES);
        let share = u32::try_from(share).expect("the bound is far below 4 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let room = room.expect("the semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let change = Change { change: Some(change), value: None, then, answer, _room: room };
        self.post(Box::new(change))?;
        // The writer answers everything it takes; a lost answer means that it ended on the way.
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Hands an operation to the writer without waiting for room or for the commit. Whoever calls
    /// this bounds what he has waiting.
    ///
    /// # Errors
    ///
    /// The store is closed.
    pub fn post(&self, operation: Box<dyn Operation>) -> Result<(), StoreError> {
        self.writer.send(Message::Operation(operation)).map_err(|_| StoreError::Closed)
    }

    /// Adds a sweep; the writer calls it from now on.
    ///
    /// # Errors
    ///
    /// The store is closed.
    pub fn add_sweep(&self, sweep: Box<dyn Sweep>) -> Result<(), StoreError> {
        self.writer.send(Message::Sweep(sweep)).map_err(|_| StoreError::Closed)
    }

    /// Reads what is committed, on a thread where waiting for the disk disturbs nobody.
    ///
    /// # Errors
    ///
    /// The file cannot be read now, or is closed.
    pub async fn read<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    {
        let database = Arc::clone(&self.database);
        let reading = tokio::task::spawn_blocking(move || database.read(look));
        // A reader that panicked did so over a file that is not as we wrote it.
        reading.await.unwrap_or(Err(StoreError::Closed))
    }

    /// As [`Store::read`] on the caller's own thread, which may wait for the disk.
    ///
    /// # Errors
    ///
    /// As [`Store::read`].
    pub fn read_blocking<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.database.read(look)
    }

    /// Commits what was handed over before this call, and closes the file: afterwards another
    /// process can open it, and every call on this store or a clone is refused.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.writer.send(Message::Close(closed)).is_ok() {
            let _ = done.await; // an error means that the writer has ended already
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Something for the writer to do within a commit.
pub trait Operation: Send {
    /// Makes the changes. Called once.
    ///
    /// # Errors
    ///
    /// The file failed; the whole commit is given up.
    fn apply(&mut self, tx: &WriteTransaction) -> Result<(), redb::Error>;

    /// Hears what became of the commit, on the writer's thread: it must not wait.
    ///
    /// An operation that is dropped without this came too late: the store was closed.
    fn settle(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// Takes away what is too old or too much, a little at a time.
///
/// The writer calls it about once a second, and within every commit while there is more to do.
pub trait Sweep: Send {
    /// Removes some, no more than takes about two milliseconds.
    ///
    /// # Errors
    ///
    /// The file failed; the whole commit is given up.
    fn sweep(&mut self, tx: &WriteTransaction, now: UnixMs) -> Result<Swept, redb::Error>;
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// There was nothing to remove, and nothing was written.
    Nothing,
    /// All that had to go is gone.
    Done,
    /// There is more.
    More,
}

/// An operation made of a closure and somebody who waits.
struct Change<T, F, G> {
    change: Option<F>,
    value: Option<T>,
    then: G,
    answer: oneshot::Sender<Result<T, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<T, F, G> Operation for Change<T, F, G>
where
    T: Send,
    F: FnOnce(&WriteTransaction) -> Result<T, redb::Error> + Send,
    G: FnOnce(&T) + Send,
{
    fn apply(&mut self, tx: &WriteTransaction) -> Result<(), redb::Error> {
        let change = self.change.take().expect("an operation is applied once");
        self.value = Some(change(tx)?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, then, answer, .. } = *self;
        let outcome = outcome.map(|()| {
            let value = value.expect("a commit follows only when all were applied");
            then(&value);
            value
        });
        let _ = answer.send(outcome); // nobody may be waiting any more
    }
}
