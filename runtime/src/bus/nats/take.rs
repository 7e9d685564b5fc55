//! Taking a lane: its consumers are made anew, so that what is in flight comes first again.
//!
//! A taker's generation is one above the highest it finds, and the consumer on the first event
//! stream decides who has it: the server makes one of that name and no second. On every other
//! stream a higher generation means that a later taker was there. The rule a newcomer would break:
//! the new consumer first, the old one deleted after it, so that a crash between the two never
//! loses how far the lane was.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy};
use futures_util::{StreamExt, TryStreamExt, stream};
use qqrelay_proto::subject::{Lane, Partition};
use serde::Deserialize;

use super::error::{AskError, code};
use super::link::Link;
use super::streams;
use crate::bus::{BusError, UNACKED_MAX, WorkStream};
use crate::random;

/// A delivery that nobody acknowledged comes again after this. Takeovers and the rule about holes
/// do not wait for it.
const ACK_WAIT: Duration = Duration::from_secs(10 * 60);

/// Takers that may be in each other's way on the command stream, before one gives up.
const TRIES: usize = 8;

/// Streams looked at and taken at once.
const AT_ONCE: usize = 8;

const HOLDER: &str = "qqrelay.holder";
const GENERATION: &str = "qqrelay.generation";

/// One of a lane's consumers, as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) of: WorkStream,
    pub(super) name: String,
    generation: u64,
    /// The stream's last number when the lane was taken.
    pub(super) last: u64,
}

/// Who takes or holds a lane.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    lane: Lane,
    /// A name never used before. It tells this holding from every other, and so stands in for the
    /// lease's incarnation, which the bus is not told.
    id: String,
}

/// A consumer as the server describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    name: String,
    config: Config,
    pub(super) delivered: Reached,
    ack_floor: Reached,
}

/// How far a consumer has come.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Reached {
    /// In its deliveries.
    pub(super) consumer_seq: u64,
    /// In the stream.
    pub(super) stream_seq: u64,
}

impl Info {
    fn generation(&self) -> u64 {
        let written = self.config.metadata.get(GENERATION);
        written.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Everything of the lane up to here is finished. A consumer that was just made reads 0 on
    /// three replicas, so that where it began counts, too.
    fn floor(&self) -> u64 {
        let start = match self.config.deliver_policy {
            DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
            _ => 0,
        };
        self.ack_floor.stream_seq.max(start.saturating_sub(1))
    }
}

/// Asks for a consumer's description, which its leader gives.
pub(super) async fn info(link: &Link, of: WorkStream, name: &str) -> Result<Info, AskError> {
    link.read(&format!("CONSUMER.INFO.{of}.{name}"), &()).await
}

/// As [`info`], asked once: for who has other things to do than wait.
pub(super) async fn look(link: &Link, of: WorkStream, name: &str) -> Result<Info, AskError> {
    link.ask(&format!("CONSUMER.INFO.{of}.{name}"), &()).await
}

impl Holder {
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, id: random::id() }
    }

    /// Takes the lane on all `streams`, of which the first decides; commands come last.
    pub(super) async fn take(
        &self,
        link: &Link,
        streams: &[WorkStream],
    ) -> Result<Vec<Held>, BusError> {
        let surveys: Vec<Vec<Info>> = stream::iter(streams.to_vec())
            .map(|of| self.survey(link, of))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let highest = surveys.iter().flatten().map(Info::generation).max();
        let generation = highest.unwrap_or(0) + 1;
        let mut work = streams.iter().copied().zip(surveys);
        let (first, found) = work.next().expect("there is an event stream");
        let mut held = vec![self.make(link, first, generation, found).await?];
        let others: Vec<Held> = stream::iter(work)
            .map(|(of, found)| self.make(link, of, generation, found))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        held.extend(others);
        Ok(held)
    }

    /// Makes one of our consumers anew under the same holding: what it has not acknowledged comes
    /// again from it.
    pub(super) async fn make_again(&self, link: &Link, held: &Held) -> Result<Held, BusError> {
        let found = self.survey(link, held.of).await?;
        if !found.iter().any(|info| self.is_ours(info)) {
            return Err(BusError::Taken);
        }
        let highest = found.iter().map(Info::generation).max();
        let made = self.make(link, held.of, highest.unwrap_or(0) + 1, found).await?;
        Ok(Held { last: held.last, ..made })
    }

    fn is_ours(&self, info: &Info) -> bool {
        info.config.metadata.get(HOLDER) == Some(&self.id)
    }

    /// The lane's consumers on a stream.
    async fn survey(&self, link: &Link, of: WorkStream) -> Result<Vec<Info>, BusError> {
        let mut found = Vec::new();
        for name in self.names(link, of).await? {
            match info(link, of, &name).await {
                Ok(info) => found.push(info),
                // Deleted since it was listed.
                Err(error) if error.code() == code::NO_CONSUMER => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// The names of the lane's consumers. Names come from who assigns them; a list of descriptions
    /// can be incomplete.
    async fn names(&self, link: &Link, of: WorkStream) -> Result<Vec<String>, BusError> {
        #[derive(Deserialize)]
        struct Page {
            total: usize,
            consumers: Option<Vec<String>>,
        }
        let (mut names, mut seen) = (Vec::new(), 0);
        loop {
            let body = serde_json::json!({ "offset": seen });
            let page: Page = link.read(&format!("CONSUMER.NAMES.{of}"), &body).await?;
            let consumers = page.consumers.unwrap_or_default();
            seen += consumers.len();
            let is_last = consumers.is_empty() || seen >= page.total;
            names.extend(consumers.into_iter().filter(|name| self.lane.holder_of(name).is_some()));
            if is_last {
                return Ok(names);
            }
        }
    }

    async fn make(
        &self,
        link: &Link,
        of: WorkStream,
        generation: u64,
        found: Vec<Info>,
    ) -> Result<Held, BusError> {
        // After the floors were read, so that it is behind none of them.
        let last = streams::info(link, &of.to_string()).await?.state.last_seq;
        let name = match of {
            WorkStream::Events(partition) => {
                self.make_for_events(link, partition, generation, &found, last).await?
            }
            WorkStream::Commands => self.make_for_commands(link, generation, found).await?,
        };
        Ok(Held { of, name, generation, last })
    }

    async fn make_for_events(
        &self,
        link: &Link,
        partition: Partition,
        generation: u64,
        found: &[Info],
        last: u64,
    ) -> Result<String, BusError> {
        let of = WorkStream::Events(partition);
        let floor = found.iter().map(Info::floor).max().unwrap_or(0);
        // A start beyond the end would not be moved back: the lane would be deaf.
        let start_sequence = (floor + 1).min(last + 1);
        let name = self.lane.consumer(generation);
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            filter_subject: self.lane.events_in(partition),
            ..self.config(name.clone(), generation)
        };
        self.create(link, of, &config).await.map_err(|error| match error.code() {
            code::CONSUMER_EXISTS => BusError::Taken,
            _ => error.into(),
        })?;
        // A taker who listed before we created does not know of us, and we know of him by now.
        for other in self.names(link, of).await?.iter().filter(|other| **other != name) {
            let other_generation = self.lane.holder_of(other).and_then(|text| text.parse().ok());
            let is_later = other_generation.is_some_and(|other: u64| other > generation);
            let loser = if is_later { &name } else { other };
            delete(link, of, loser).await?;
            if is_later {
                return Err(BusError::Taken);
            }
        }
        Ok(name)
    }

    /// A work queue takes one consumer for a filter, so that here the old one goes first. What it
    /// had acknowledged is gone from the stream, and no floor can be lost.
    async fn make_for_commands(
        &self,
        link: &Link,
        generation: u64,
        mut found: Vec<Info>,
    ) -> Result<String, BusError> {
        let of = WorkStream::Commands;
        for _ in 0..TRIES {
            for other in &found {
                if other.generation() >= generation && !self.is_ours(other) {
                    return Err(BusError::Taken);
                }
                delete(link, of, &other.name).await?;
            }
            // Never the name of before, which a late acknowledgement would hit.
            let name = self.lane.consumer(random::id());
            let config = Config {
                deliver_policy: DeliverPolicy::All,
                filter_subject: self.lane.commands(),
                ..self.config(name.clone(), generation)
            };
            match self.create(link, of, &config).await {
                Ok(()) => return Ok(name),
                Err(error) if error.code() == code::NOT_UNIQUE => {
                    found = self.survey(link, of).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(BusError::Taken)
    }

    fn config(&self, name: String, generation: u64) -> Config {
        let metadata = [(HOLDER, self.id.clone()), (GENERATION, generation.to_string())];
        Config {
            durable_name: Some(name.clone()),
            name: Some(name),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: i64::try_from(UNACKED_MAX).expect("it is a few thousand"),
            metadata: HashMap::from(metadata.map(|(name, value)| (name.to_owned(), value))),
            ..Config::default()
        }
    }

    /// Creates a consumer that must not be there. Asking again is safe: ours is known by its
    /// holder, which is part of what is compared.
    async fn create(&self, link: &Link, of: WorkStream, config: &Config) -> Result<(), AskError> {
        let name = config.name.as_deref().unwrap_or_default();
        let question = format!("CONSUMER.CREATE.{of}.{name}.{}", config.filter_subject);
        let body = serde_json::json!({
            "stream_name": of.to_string(), "config": config, "action": "create",
        });
        link.read::<serde::de::IgnoredAny>(&question, &body).await.map(drop)
    }
}

async fn delete(link: &Link, of: WorkStream, name: &str) -> Result<(), BusError> {
    let question = format!("CONSUMER.DELETE.{of}.{name}");
    match link.read::<serde::de::IgnoredAny>(&question, &()).await {
        Err(error) if error.code() != code::NO_CONSUMER => Err(error.into()),
        _ => Ok(()),
    }
}
