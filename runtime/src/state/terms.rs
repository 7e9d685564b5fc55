//! What is asked of the state, and what it answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::bucket::Quota;
use qqrelay_proto::command::ReplyTo;
use qqrelay_proto::id::{AppId, OwnerId, Scope, Seq, SessionId};
use qqrelay_proto::identify::StartLimit;
use qqrelay_proto::record::Place;
use qqrelay_proto::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Who holds a partition or a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process.
    pub owner: OwnerId,
    /// Which taking this is: above that of every earlier one of the same key, never used twice.
    pub incarnation: u64,
    /// How often it was renewed. A watcher that sees it stand still may take the lease.
    pub counter: u64,
}

/// What came of taking a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// It is the taker's.
    Taken(Lease),
    /// Another holds it, or it moved since it was seen.
    Held(Lease),
}

/// What came of renewing a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It is held on.
    Renewed(Lease),
    /// It is gone, whoever has it now.
    Lost,
}

/// One bucket that a request needs room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want<'a> {
    /// Its name, unique within the bot.
    pub bucket: &'a str,
    /// How much it takes.
    pub quota: Quota,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may, and its room is taken in every bucket.
    Admitted,
    /// It may not, and nothing was taken.
    RetryAfter {
        /// Which of the wants has the longest wait, by its place.
        want: usize,
        /// Ask again no sooner.
        wait: Duration,
    },
}

/// Whose replies are counted together: one bot's, in one place, to one message or event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyKey<'a> {
    /// The bot.
    pub app: &'a AppId,
    /// The place.
    pub scope: &'a Scope,
    /// What is replied to.
    pub to: &'a ReplyTo,
}

/// Whether an event is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It is, or the same source had it and did not say that it is stored.
    First,
    /// Another source had it a moment ago and has not said that it is stored. Ask again soon; who
    /// cannot wait stores it too.
    Pending,
    /// The log has it.
    Again(Place),
}

/// An access token as it may be stored: see [`super::seal`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedToken {
    /// When it stops to work.
    pub expires_at: UnixMs,
    /// What [`Seal::seal`](super::seal::Seal::seal) made of it.
    pub sealed: Bytes,
}

/// Who fetches a bot's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flight {
    /// The one who asked.
    Ours,
    /// Another, and it will be in [`State::token`](super::State::token) soon.
    Anothers,
}

/// What `/gateway/bot` answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAnswer {
    /// Where to connect.
    pub url: String,
    /// Recommended number of shards.
    pub shards: u16,
    /// What may be identified, where the answer said.
    pub limit: Option<StartLimit>,
}

/// A copy of where a source would resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeCopy {
    /// The session.
    pub session: SessionId,
    /// Its last durable sequence.
    pub seq: Seq,
    /// The record that holds it.
    pub place: Place,
    /// Whoever wrote it.
    pub owner: OwnerId,
    /// When.
    pub at: UnixMs,
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedToken(until {})", self.expires_at)
    }
}

/// What a bot has of identifies where neither the platform nor the state says.
///
/// Source: PLATFORM.md, "identify limits".
pub const UNTOLD: StartLimit = StartLimit {
    total: 1_000,
    remaining: 1_000,
    reset_after: Duration::from_secs(24 * 3600),
    max_concurrency: 1,
};
