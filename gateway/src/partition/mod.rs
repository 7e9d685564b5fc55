//! One partition of the log: its owner, and what its shards tell and hear.
//!
//! Everything of a partition lives on one thread. A shard hands over finished records through a
//! bounded inbox; while that is full it stops reading its socket, and its heartbeats go on. What
//! the log has acknowledged comes back through [`Standing`], newest value only.

mod keep;
mod memory;
mod owner;
mod rebuild;

use std::time::Instant;

use qqrelay_proto::id::{AppId, Seq, SessionId};
use qqrelay_proto::record::{Place, Record, ResumePoint, Tail};
use qqrelay_proto::subject::SourceSubject;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

pub(crate) use self::owner::{Ended, Owner, OwnerSettings};

/// Records of a partition's shards that may wait for its owner.
///
/// Each is at most [`qqrelay_proto::record::RECORD_BYTES_MAX`], and a shard has at most one more.
const INBOX_RECORDS: usize = 64;

/// A way to a partition's owner. Dropping the last one lets the owner drain and end.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    /// Records, in the order in which they shall stand.
    pub(crate) records: mpsc::Sender<Handed>,
    /// Questions, which never wait behind records.
    pub(crate) asks: mpsc::Sender<Ask>,
}

/// What an owner reads from its inbox.
#[derive(Debug)]
pub(crate) struct Outlet {
    records: mpsc::Receiver<Handed>,
    asks: mpsc::Receiver<Ask>,
}

/// A new inbox and its reading end.
pub(crate) fn inbox() -> (Inbox, Outlet) {
    let (records, records_rx) = mpsc::channel(INBOX_RECORDS);
    let (asks, asks_rx) = mpsc::channel(INBOX_RECORDS);
    (Inbox { records, asks }, Outlet { records: records_rx, asks: asks_rx })
}

/// A source's place among its owner's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceIndex(pub(crate) usize);

/// Which of the owner's memories a record was made under. After the owner had to forget, what was
/// handed over before is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u64);

/// A record on its way from a shard to the log.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) source: SourceIndex,
    pub(crate) epoch: Epoch,
    pub(crate) session: Option<SessionId>,
    pub(crate) seq: Seq,
    pub(crate) record: Record,
    pub(crate) about: About,
    /// Whether another set of the bot's shards has shown it, where there is one that may have.
    pub(crate) sighting: Option<Sighted>,
    pub(crate) received: Instant,
    /// Lasts until the record is durable.
    pub(crate) span: Span,
}

/// What the shared memory of events says of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sighted {
    /// It is this source's to store.
    Ours,
    /// Another source has stored it.
    Elsewhere(Place),
    /// Nobody can say: it is stored, perhaps for the second time under its id.
    Unknown,
}

/// An event that others may be waiting to hear of.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) app: AppId,
    pub(crate) id: Box<str>,
    pub(crate) place: Place,
}

/// What a handed record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// An event; the owner's memory may turn it into a `dup`.
    Event,
    /// READY, RESUMED, or a frame that could not be relayed.
    Session,
    /// Frames that are lost.
    Gap,
    /// The end of a session.
    Ended,
}

/// A question to the owner.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Take on a source; the answer says where its standing can be followed.
    Attach(SourceSubject, oneshot::Sender<Attached>),
    /// Read the fence. Answered only while the partition is ours, with the moment of the reading.
    Verify(oneshot::Sender<Instant>),
}

/// A source that its owner knows.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) source: SourceIndex,
    pub(crate) standing: watch::Receiver<Standing>,
}

/// What a source's shard must know of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The partition is not ours, or not yet: no socket may be open.
    Closed,
    /// It is ours.
    Open(Known),
}

/// A point that the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) point: ResumePoint,
    /// The number of the record that holds it.
    pub(crate) number: u64,
}

/// What the log says of a source, while its partition is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Changes when the owner had to forget: start again from `tail`.
    pub(crate) epoch: Epoch,
    /// What the source's newest record said when the epoch began.
    pub(crate) tail: Tail,
    /// What has become durable since.
    pub(crate) durable: Option<Durable>,
    /// Gap records that have become durable since.
    pub(crate) gaps: u64,
    /// Whether the session's end has.
    pub(crate) ended: bool,
}
