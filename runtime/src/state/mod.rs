//! The shared state: what processes of one installation must agree on, and may lose.
//!
//! Two implementations share one suite, in `conformance`: the embedded one, in the file that the
//! bus uses too, and Redis. Every method is one atomic decision. Two rules a newcomer would break:
//! time is the state's own, never the caller's, because the clocks of processes differ; and nothing
//! here is an authority. The log says who owns a partition and what is durable, so losing all of
//! the state loses, repeats and reorders no event.
//!
//! Every key lives for a bounded time ([`key`]). Each method says whether asking again after
//! [`StateError::Unavailable`], when nobody knows whether it took effect, is safe.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod key;
pub mod redis;
pub mod seal;
mod terms;
mod values;

use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::command::CommandId;
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::identify::{Asker, Permit, StartLimit};
use qqrelay_proto::ledger::{Claim, Right};
use qqrelay_proto::record::Place;
use qqrelay_proto::subject::{Lane, Source};

pub use key::LeaseKey;
pub use terms::{
    Admission, Flight, GatewayAnswer, Lease, Renewal, ReplyKey, ResumeCopy, SealedToken, Sighting,
    Taking, UNTOLD, Want,
};

/// The whole shared state, shared by everything in a process.
#[async_trait]
pub trait State: Send + Sync + 'static {
    /// Who holds a lease now. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn lease(&self, key: LeaseKey) -> Result<Option<Lease>, StateError>;

    /// Takes a lease that nobody holds, or that still stands exactly as the taker has `seen` it
    /// for its whole observe window.
    ///
    /// Safe to repeat: if an earlier answer was lost, the lease comes back as [`Taking::Held`] under
    /// the taker's own name, and the taker may go on with it.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn take_lease(
        &self,
        key: LeaseKey,
        owner: &OwnerId,
        seen: Option<&Lease>,
    ) -> Result<Taking, StateError>;

    /// Counts one up, so that watchers see life. Never takes a lease, not even a free one: what
    /// was lost may have been another's in between.
    ///
    /// Safe to repeat: it asks for owner and incarnation, not for the count.
    ///
    /// # Errors
    ///
    /// The state cannot be reached; whether the lease is lost is not known.
    async fn renew_lease(&self, key: LeaseKey, held: &Lease) -> Result<Renewal, StateError>;

    /// Gives a lease away, if owner and incarnation still match. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached; watchers will take the lease in time.
    async fn release_lease(&self, key: LeaseKey, held: &Lease) -> Result<(), StateError>;

    /// Takes one request's room from every bucket of the bot that it needs, or from none.
    ///
    /// Repeating may take twice, which errs on the safe side.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: scope buckets of the caller's own then stay exact, because one
    /// worker has all of a scope's sends; shared ones give its share of the lanes.
    async fn admit(&self, app: &AppId, wants: &[Want<'_>]) -> Result<Admission, StateError>;

    /// Closes a bucket for `wait`, because the platform refused for its rate. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn cool_down(&self, app: &AppId, bucket: &str, wait: Duration) -> Result<(), StateError>;

    /// Claims an attempt of a command at a reply: one of the uses of the right and a number, both
    /// the same for every attempt of the same command. Durable before the answer.
    ///
    /// Before each attempt, and given back by [`State::release_reply`] if that certainly never left.
    /// Repeating counts an attempt more, which costs no use.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: send nothing.
    async fn claim_reply(
        &self,
        key: ReplyKey<'_>,
        command: &CommandId,
        right: Right,
    ) -> Result<Claim, StateError>;

    /// Gives an attempt back that certainly changed nothing; with its last one the command gives
    /// back its use. Not to be repeated: what is not given back costs one use at most.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn release_reply(&self, key: ReplyKey<'_>, command: &CommandId)
    -> Result<(), StateError>;

    /// Says that the platform knows the command's number from somebody else: its next claim gets
    /// the next free one. Safe to repeat until that claim.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn number_taken(&self, key: ReplyKey<'_>, command: &CommandId) -> Result<(), StateError>;

    /// Says that the platform takes no more replies here, whatever was counted. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn exhaust_replies(&self, key: ReplyKey<'_>) -> Result<(), StateError>;

    /// Which of a lane's pieces of work are finished, in the order of `ids`. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: acknowledge in order only, from the floor.
    async fn done(&self, lane: Lane, app: &AppId, ids: &[&str]) -> Result<Vec<bool>, StateError>;

    /// Says that pieces of work are finished; recognised for `ttl`, which is how long the stream
    /// keeps them. What was counted of them is forgotten. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: acknowledge in order only, from the floor.
    async fn mark_done(
        &self,
        lane: Lane,
        app: &AppId,
        ids: &[&str],
        ttl: Duration,
    ) -> Result<(), StateError>;

    /// Counts a start of the handler on this piece of work, over all workers that ever had it;
    /// gives the count with this one. Durable before the answer, so that what kills its worker is
    /// counted. Repeating counts again.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: this start is not counted.
    async fn count_start(&self, app: &AppId, id: &str, ttl: Duration) -> Result<u32, StateError>;

    /// Counts a failure of the handler's own on this piece of work; gives the count with this one.
    /// Repeating counts again.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: this failure is not counted.
    async fn count_failure(&self, app: &AppId, id: &str, ttl: Duration) -> Result<u32, StateError>;

    /// Asks whether an event that came by `source` is new to all sources of the bot.
    ///
    /// Whoever hears [`Sighting::First`] stores it and says so with [`State::stored`]. Until then,
    /// for [`key::SIGHTING_HOLD`], others hear [`Sighting::Pending`], and the same source hears
    /// `First` again: an owner that died before its record was durable sees the frame once more.
    /// Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: store the event, consumers recognise it by its id.
    async fn see(&self, app: &AppId, id: &str, source: Source) -> Result<Sighting, StateError>;

    /// Says where the log holds an event: for [`key::SEEN_TTL`] every source hears
    /// [`Sighting::Again`] with that place. The first place stands. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: the event may be stored a second time under its id.
    async fn stored(&self, app: &AppId, id: &str, place: &Place) -> Result<(), StateError>;

    /// The access token that was fetched last, unless it has run out. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: fetch one; two processes' tokens hold side by side.
    async fn token(&self, app: &AppId) -> Result<Option<SealedToken>, StateError>;

    /// Stores a fetched token in place of an earlier one, unless it has run out, and ends the
    /// flight that fetched it. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: others will fetch their own.
    async fn put_token(&self, app: &AppId, token: &SealedToken) -> Result<(), StateError>;

    /// Asks to be the one process that fetches this bot's token, for `ttl` at most. Safe to repeat:
    /// a flight is its owner's until it ends.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: fetch it.
    async fn token_flight(
        &self,
        app: &AppId,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Flight, StateError>;

    /// Asks for leave to send one IDENTIFY, and counts it where it may be sent. Durable before the
    /// answer, so that no crash loop spends the day's.
    ///
    /// `told` is what `/gateway/bot` said, however long ago: it counts only where no budget is
    /// known. Repeating may count twice, which errs on the safe side.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: send none.
    async fn permit_identify(
        &self,
        app: &AppId,
        told: Option<StartLimit>,
        asker: Asker,
    ) -> Result<Permit, StateError>;

    /// Takes in what `/gateway/bot` has just said of a bot's identifies, in a call that took this
    /// long. Each answer once: an old one would give back what has been used since.
    ///
    /// # Errors
    ///
    /// The state cannot be reached: the budget counts on as it was.
    async fn learn_identify(
        &self,
        app: &AppId,
        limit: StartLimit,
        took: Duration,
    ) -> Result<(), StateError>;

    /// The cached answer of `/gateway/bot`, and its age. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn gateway(&self, app: &AppId) -> Result<Option<(GatewayAnswer, Duration)>, StateError>;

    /// Caches an answer of `/gateway/bot` for `ttl`. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn put_gateway(
        &self,
        app: &AppId,
        answer: &GatewayAnswer,
        ttl: Duration,
    ) -> Result<(), StateError>;

    /// Stores a copy of a source's resume point, for people and for a log that lost records; the
    /// log's tail is what RESUME goes by. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn put_resume(
        &self,
        app: &AppId,
        source: Source,
        copy: &ResumeCopy,
    ) -> Result<(), StateError>;

    /// The resume copies of one bot or of all, in no order. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn resumes(
        &self,
        app: Option<&AppId>,
    ) -> Result<Vec<(AppId, Source, ResumeCopy)>, StateError>;

    /// Removes the copy of a source that was ended. Safe to repeat.
    ///
    /// # Errors
    ///
    /// The state cannot be reached.
    async fn forget_resume(&self, app: &AppId, source: Source) -> Result<(), StateError>;
}

/// Something the state could not do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be reached, or its answer did not come: nobody knows whether it took effect.
    #[error("the state did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered and did nothing: no room, no permission, not yet loaded.
    #[error("the state refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What it holds under a key is not what this release writes there.
    #[error("the state holds something else under {key}")]
    Foreign {
        /// The key.
        key: String,
    },
}
