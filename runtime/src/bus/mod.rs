//! The bus: the event log, its lanes, and the commands that come back.
//!
//! Two implementations share one conformance suite (`conformance`, behind a feature of that name):
//! the embedded one, durable in a single file, and NATS JetStream. The rule a newcomer would break:
//! nothing here retries. An answer that did not come is [`Refusal::Unknown`], and what follows from
//! it is the chain's to decide (`qqrelay_proto::chain`), never the bus's.

pub mod ask;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod nats;

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use qqrelay_proto::record::{Record, Stored};
use qqrelay_proto::subject::{self, Lane, Partition};

/// What is fixed when a log is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Number of partitions, 1 to 100.
    pub partitions: u8,
    /// Most records one owner may have unacknowledged in a partition, 1 to 999.
    pub window: u16,
}

/// The whole bus, shared by everything in a process.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// What this log was created with.
    fn layout(&self) -> Layout;

    /// Opens one partition for writing. Says nothing about owning it: the marker batch does.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the log cannot be reached.
    async fn log(&self, partition: Partition) -> Result<Box<dyn Log>, BusError>;

    /// Takes a lane: whoever held it before gets [`BusError::Taken`] at its next call, and all it
    /// had not acknowledged comes again here, in order, before anything newer.
    ///
    /// # Errors
    ///
    /// Another taker was first, or the bus cannot be reached.
    async fn lane(&self, lane: Lane) -> Result<Box<dyn Feed>, BusError>;

    /// Reads the event log without taking anything: for `tail`, auditors and checkers.
    ///
    /// # Errors
    ///
    /// The bus cannot be reached.
    async fn read(&self, reader: Reader) -> Result<Box<dyn Records>, BusError>;

    /// Stores a command once per `id` within the stream's duplicate window of 15 minutes.
    ///
    /// `subject` is the outside form, `qq.v1.cmd.<app>.<scene>.<scope>.<action>`; the bus files it
    /// under its lane.
    ///
    /// # Errors
    ///
    /// It is not stored, or nobody knows: the same call again is safe.
    async fn command(&self, id: &str, subject: &str, payload: Bytes) -> Result<Accepted, BusError>;

    /// Appends to what is known of one command (`qq.v1.res.…`): an attempt or an outcome. With
    /// [`Only::Always`] the same entry again, after an answer that was lost, is the same entry.
    ///
    /// # Errors
    ///
    /// It is not stored, or nobody knows.
    async fn result(&self, subject: &str, payload: Bytes, only: Only)
    -> Result<Appended, BusError>;

    /// Everything known of one command, oldest first.
    ///
    /// # Errors
    ///
    /// The bus cannot be reached.
    async fn results(&self, subject: &str) -> Result<Vec<Bytes>, BusError>;

    /// Waits for something to be appended under `subject` after `seen` entries, within `limit`.
    /// Gives all entries known then, which are no more than `seen` when the time was up.
    ///
    /// # Errors
    ///
    /// The bus cannot be reached.
    async fn await_result(
        &self,
        subject: &str,
        seen: usize,
        limit: Duration,
    ) -> Result<Vec<Bytes>, BusError>;

    /// Parks a record that could not be handled, with the reason and where it came from.
    ///
    /// # Errors
    ///
    /// It is not stored, or nobody knows.
    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), BusError>;

    /// Parked records, oldest first, at most `limit`, from number `from` on.
    ///
    /// # Errors
    ///
    /// The bus cannot be reached.
    async fn dead_letters(&self, from: u64, limit: usize) -> Result<Vec<StoredLetter>, BusError>;
}

/// One partition of the log, as whoever wants to own it sees it.
///
/// Publishing is a pipeline: [`Log::publish`] never waits, and answers come through
/// [`Log::poll_answer`] in any order, each naming the number it is about.
#[async_trait]
pub trait Log: Send {
    /// Sends a record that fits only as number `number`, that is behind number − 1.
    ///
    /// The window of [`Layout`] bounds what may be unanswered: the fence outruns no more than that.
    /// What goes beyond it may be refused as [`Refusal::Busy`].
    fn publish(&mut self, number: u64, record: Record);

    /// The next answer, one for each record sent. After [`Answer::Disconnected`] everything in
    /// flight is unknown, and nothing more is heard of it.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer>;

    /// Writes all of `records` or none, behind whatever is there; gives the last one's number. There
    /// are 1 to [`BATCH_MAX`] of them.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`] when nobody knows whether it was written.
    async fn mark(&mut self, records: Vec<Record>) -> Result<u64, Refusal>;

    /// The newest record whose subject `filter` takes, read from the log's own authority: what was
    /// acknowledged before this call is seen.
    ///
    /// Meant for a source's `….>` and for the ownership subject, which are quick. Another filter may
    /// cost a look through the partition.
    ///
    /// # Errors
    ///
    /// The log cannot be reached.
    async fn last(&mut self, filter: &str) -> Result<Option<Stored>, Refusal>;

    /// Records whose subjects `filter` takes, in order, from number `from` on, at most `limit`.
    ///
    /// # Errors
    ///
    /// The log cannot be reached.
    async fn range(
        &mut self,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, Refusal>;

    /// What the log knows of itself.
    ///
    /// # Errors
    ///
    /// The log cannot be reached.
    async fn extent(&mut self) -> Result<Extent, Refusal>;
}

/// How far a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Number of the oldest record that is left; `last + 1` where none is.
    pub first: u64,
    /// Number of the newest record, 0 before any.
    pub last: u64,
    /// When the partition was created, milliseconds since 1970: another value, another log.
    pub created_ms: u64,
    /// Room in use.
    pub bytes: u64,
}

/// What became of a published record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Number `number` is durable, and so is all before it.
    Stored {
        /// The number it was published under.
        number: u64,
    },
    /// It was refused, or nobody knows.
    Refused {
        /// The number it was published under.
        number: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The connection went; what was in flight is unknown.
    Disconnected,
}

/// Why the log did not take something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The number does not fit: something before it is missing, or another owner wrote.
    #[error("the number does not fit the log's end")]
    Mismatch,
    /// The record itself will never be taken.
    #[error("the log never takes this record: {0}")]
    Never(String),
    /// There is no room or no leader now.
    #[error("the log cannot store now: {0}")]
    Busy(String),
    /// Configuration forbids it.
    #[error("the log forbids it: {0}")]
    Forbidden(String),
    /// No answer, or one that says nothing.
    #[error("no answer from the log: {0}")]
    Unknown(String),
}

/// One lane's work, in order within each stream.
#[async_trait]
pub trait Feed: Send {
    /// The next piece of work. At most [`UNACKED_MAX`] pieces per stream are out at once.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`BusError::Taken`] once another holds the lane, and from then on. After any other error the
    /// lane is still held, and the next call goes on where this one was.
    async fn next(&mut self) -> Result<Delivery, BusError>;

    /// Says that a piece is finished. Nobody answers: an acknowledgement that is lost brings the
    /// piece again after a takeover, where its done mark recognises it.
    fn ack(&mut self, position: Position);
}

/// Most records of a batch: one more than the largest window.
pub const BATCH_MAX: usize = 1000;

/// Pieces of one stream that a lane may have out unacknowledged.
pub const UNACKED_MAX: usize = 4096;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What to acknowledge.
    pub position: Position,
    /// How often this feed has given it, from 1.
    pub delivered: u32,
    /// Whether it may have been worked on before this feed was opened.
    pub inherited: bool,
    /// The record, or the command with its stored subject.
    pub stored: Stored,
}

/// A piece's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Where it lies.
    pub stream: WorkStream,
    /// Its number there.
    pub number: u64,
}

/// A stream that lanes consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkStream {
    /// Events of one partition.
    Events(Partition),
    /// Commands.
    Commands,
}

impl fmt::Display for WorkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(partition) => f.write_str(&partition.stream()),
            Self::Commands => f.write_str(subject::COMMANDS),
        }
    }
}

/// What to read of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Subject filter, such as `qq.v1.ev.*.102.*.e.>`.
    pub filter: String,
    /// Where to begin.
    pub start: Start,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record there is.
    Oldest,
    /// At what comes from now on.
    New,
}

/// A reader that follows the log.
#[async_trait]
pub trait Records: Send {
    /// The next record and its partition; waits for one to be written.
    ///
    /// # Errors
    ///
    /// The bus cannot be reached, or the reader fell so far behind that records are gone. That is
    /// said once; the next call goes on behind them.
    async fn next(&mut self) -> Result<(Partition, Stored), BusError>;
}

/// Whether a command is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored now.
    New,
    /// It was stored before under this id.
    Known,
}

/// Under which condition to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// In any case.
    Always,
    /// Only as the first entry of the subject: of many who try, one wins.
    First,
}

/// Whether an entry was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It stands.
    Stored,
    /// [`Only::First`] and another was there already.
    Taken,
}

/// A record on its way to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `qq.v1.dlq.<lane>.<app>.<scene>.<scope>.<kind>`
    pub subject: String,
    /// Metric label of the cause: `handler`, `overflow`, `poison`, `stuck`.
    pub reason: &'static str,
    /// The cause for people.
    pub detail: String,
    /// Where it came from.
    pub position: Position,
    /// The record as it was.
    pub record: Record,
}

/// A parked record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its number among the dead letters.
    pub number: u64,
    /// When it was parked, milliseconds since 1970.
    pub at_ms: u64,
    /// `qq.v1.dlq.…`
    pub subject: String,
    /// Metric label of the cause.
    pub reason: String,
    /// The cause for people.
    pub detail: String,
    /// Stream it came from, `QQ_EV_03` or `QQ_COMMANDS`.
    pub stream: String,
    /// Its number there.
    pub stream_number: u64,
    /// The record as it was.
    pub record: Record,
}

/// Something the bus could not do.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Another holder has the lane.
    #[error("another worker holds the lane")]
    Taken,
    /// It was refused for what it is.
    #[error("the bus refused it: {0}")]
    Refused(String),
    /// There is no room: refuse rather than forget.
    #[error("the bus is full: {0}")]
    Full(String),
    /// A reader's next record is no longer there.
    #[error("the reader fell behind: records up to {up_to} are gone")]
    Behind {
        /// The last number that is gone.
        up_to: u64,
    },
    /// The bus cannot be reached, or its answer did not come.
    #[error("the bus did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
