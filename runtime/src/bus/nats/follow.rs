//! Following one stream without taking anything from anybody.
//!
//! An ephemeral consumer that acknowledges nothing, kept in one server's memory. When it is lost,
//! or something of it did not arrive, another one begins behind the last record that did.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy};
use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use qqrelay_proto::record::{Record, Stored};
use tokio::time::{Instant, sleep, sleep_until};

use super::delivery::Place;
use super::error::AskError;
use super::link::{Link, Listener, Notice};
use super::pull::{BATCH, Pull, Said};
use super::{streams, wire};
use crate::bus::BusError;
use crate::random;

/// How long the server keeps a consumer that nobody asks.
const UNASKED: Duration = Duration::from_secs(60);

/// The pause before another consumer is made.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a reader that jumps over numbers looks whether records are gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Oldest,
    New,
}

/// A stream that is followed.
pub(super) struct Follow {
    stream: String,
    filter: String,
    /// The last number that was given, or lies before the beginning.
    seen: u64,
    /// The number of the newest delivery.
    delivery: u64,
    consumer: String,
    pull: Pull,
    inbox: String,
    messages: Subscriber,
    listener: Listener,
    /// When it was last looked whether records are gone.
    looked: Instant,
    /// A record to give once it was said what is missing before it.
    held_back: Option<Stored>,
    is_broken: bool,
}

impl Follow {
    pub(super) async fn open(
        link: &Link,
        stream: &str,
        filter: &str,
        from: From,
    ) -> Result<Self, BusError> {
        let state = streams::info(link, stream).await?.state;
        let seen = match from {
            From::Oldest => state.first_seq.max(1) - 1,
            From::New => state.last_seq,
        };
        let inbox = link.client.new_inbox();
        let subscribed = link.client.subscribe(format!("{inbox}.>")).await;
        let messages = subscribed.map_err(|error| BusError::Unavailable(error.into()))?;
        let consumer = create(link, stream, filter, seen).await?;
        Ok(Self {
            pull: Pull::new(stream, &consumer, format!("{inbox}.{consumer}")),
            listener: link.listen(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}")),
            stream: stream.to_owned(),
            filter: filter.to_owned(),
            seen,
            delivery: 0,
            consumer,
            inbox,
            messages,
            looked: Instant::now(),
            held_back: None,
            is_broken: false,
        })
    }

    /// The next record. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, link: &Link) -> Result<Stored, BusError> {
        loop {
            if let Some(stored) = self.held_back.take() {
                self.seen = stored.number;
                return Ok(stored);
            }
            if self.is_broken {
                self.begin_again(link).await?;
            }
            if link.is_up() {
                let asked = self.pull.ask(&link.client, 2 * BATCH).await;
                asked.map_err(|error| BusError::Unavailable(error.into()))?;
            }
            let far = Instant::now() + UNASKED;
            tokio::select! {
                message = self.messages.next() => {
                    let Some(message) = message else {
                        return Err(BusError::Unavailable("the client has ended".into()));
                    };
                    let Some(stored) = self.take_in(message) else { continue };
                    let jumps = stored.number > self.seen + 1;
                    self.held_back = Some(stored);
                    if jumps && self.looked.elapsed() >= LOOK_EVERY {
                        self.look(link).await?;
                    }
                }
                notice = self.listener.next() => match notice {
                    Notice::Down | Notice::Up => self.is_broken = true,
                    Notice::Denied(text) => return Err(BusError::Refused(text)),
                },
                () = sleep_until(self.pull.deadline().unwrap_or(far)) => self.is_broken = true,
            }
        }
    }

    fn take_in(&mut self, message: Message) -> Option<Stored> {
        let Some(place) = message.reply.as_ref().and_then(Place::read) else {
            if self.pull.is_for(&message) {
                self.is_broken |=
                    matches!(self.pull.hear(&message), Said::Doubtful | Said::Deleted);
            }
            return None;
        };
        if place.consumer != self.consumer || self.is_broken {
            return None;
        }
        self.pull.count_message();
        if place.delivery != self.delivery + 1 {
            self.is_broken = true;
            return None;
        }
        self.delivery = place.delivery;
        Some(Stored {
            number: place.number,
            at_ms: place.at_ms,
            record: Record {
                subject: message.subject.to_string(),
                headers: wire::read_headers(message.headers.as_ref()),
                payload: message.payload,
            },
        })
    }

    /// Another consumer, behind what was given.
    async fn begin_again(&mut self, link: &Link) -> Result<(), BusError> {
        while !link.is_up() {
            // A notice tells, and a look now and then does where it was heard before.
            tokio::select! {
                _ = self.listener.next() => {}
                () = sleep(PAUSE) => {}
            }
        }
        self.look(link).await?;
        let consumer = create(link, &self.stream, &self.filter, self.seen).await?;
        self.pull = Pull::new(&self.stream, &consumer, format!("{}.{consumer}", self.inbox));
        (self.consumer, self.delivery, self.is_broken) = (consumer, 0, false);
        Ok(())
    }

    /// Says it where records behind the last given one are gone.
    async fn look(&mut self, link: &Link) -> Result<(), BusError> {
        let state = streams::info(link, &self.stream).await?.state;
        self.looked = Instant::now();
        if state.first_seq > self.seen + 1 {
            let up_to = state.first_seq - 1;
            self.seen = up_to;
            return Err(BusError::Behind { up_to });
        }
        Ok(())
    }
}

async fn create(link: &Link, stream: &str, filter: &str, seen: u64) -> Result<String, AskError> {
    let name = format!("r-{}", random::id());
    let config = Config {
        name: Some(name.clone()),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: seen + 1 },
        ack_policy: AckPolicy::None,
        max_deliver: -1,
        filter_subject: filter.to_owned(),
        inactive_threshold: UNASKED,
        num_replicas: 1,
        memory_storage: true,
        ..Config::default()
    };
    let body = serde_json::json!({ "stream_name": stream, "config": config, "action": "create" });
    let question = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
    link.read::<serde::de::IgnoredAny>(&question, &body).await?;
    Ok(name)
}
