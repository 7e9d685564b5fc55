//! A lane's work: its consumers on all event streams and on commands, as one feed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{Message, Subject, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use qqrelay_proto::record::{Record, Stored};
use qqrelay_proto::subject::Lane;
use tokio::time::{Instant, sleep_until};

use super::cursor::{Cursor, Health, Taken};
use super::delivery::{self, Place};
use super::error::code;
use super::link::{Link, Listener, Notice};
use super::outbox::Outbox;
use super::pull::{Pull, Said};
use super::take::{self, Held, Holder};
use super::wire;
use crate::bus::{BusError, Delivery, Feed, Position, WorkStream};

/// How long to wait before a doubtful consumer is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long a taker waits for the acknowledgements of the holder before it, in the same process.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// How to acknowledge the newest finished piece of each stream once more.
#[derive(Debug, Default)]
pub(super) struct Acked(Mutex<HashMap<WorkStream, Subject>>);

impl Acked {
    fn note(&self, of: WorkStream, ack: Subject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(of, ack);
    }

    /// Waits until the server has worked off what was acknowledged before this call. Consumers take
    /// acknowledgements in order, so that an answer to the newest covers all. In vain where the
    /// consumer is gone: then there is nothing to wait for.
    pub(super) async fn settle(&self, link: &Link) {
        let newest: Vec<Subject> = {
            let mut acked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            acked.drain().map(|(_, ack)| ack).collect()
        };
        let again = newest.into_iter().map(|ack| {
            let request = async_nats::Request::new().payload(Bytes::from_static(delivery::ACK));
            link.request(SETTLE_WITHIN, ack.to_string(), request)
        });
        join_all(again).await;
    }
}

/// The holder's end of a lane.
pub(super) struct LaneFeed {
    link: Arc<Link>,
    holder: Holder,
    streams: Vec<Cursor>,
    /// Everything that comes for this feed, of all consumers.
    messages: Subscriber,
    inbox: String,
    listener: Listener,
    /// Acknowledgements on their way. No more than can be out.
    outbox: Outbox,
    acked: Arc<Acked>,
    is_taken: bool,
    /// When doubtful consumers are looked at.
    look_at: Instant,
    /// Which stream is asked first, so that none starves another.
    turn: usize,
}

impl LaneFeed {
    pub(super) async fn take(
        link: Arc<Link>,
        lane: Lane,
        streams: &[WorkStream],
        acked: Arc<Acked>,
    ) -> Result<Self, BusError> {
        let inbox = link.client.new_inbox();
        let listener = link.listen(format!("$JS.API.CONSUMER.MSG.NEXT.{}", streams[0]));
        let subscribed = link.client.subscribe(format!("{inbox}.>")).await;
        let messages = subscribed.map_err(|error| BusError::Unavailable(error.into()))?;
        let holder = Holder::new(lane);
        let held = holder.take(&link, streams).await?;
        let cursor = |held: Held| {
            let pull = pull(&inbox, &held);
            Cursor::new(held, pull)
        };
        Ok(Self {
            streams: held.into_iter().map(cursor).collect(),
            outbox: Outbox::new(&link.client),
            link,
            holder,
            messages,
            inbox,
            listener,
            acked,
            is_taken: false,
            look_at: Instant::now(),
            turn: 0,
        })
    }

    fn give(&mut self) -> Option<Delivery> {
        let count = self.streams.len();
        for _ in 0..count {
            self.turn = (self.turn + 1) % count;
            if let Some(delivery) = self.streams[self.turn].give() {
                return Some(delivery);
            }
        }
        None
    }

    /// Takes in what has come already.
    fn drain(&mut self) {
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            self.take_in(message);
        }
    }

    fn take_in(&mut self, message: Message) {
        let Some(place) = message.reply.as_ref().and_then(Place::read) else {
            return self.take_status(&message);
        };
        let of = |cursor: &&mut Cursor| {
            cursor.held.name == place.consumer && cursor.held.of.to_string() == place.stream
        };
        // One of a consumer that was made anew since: it comes again from the new one.
        let Some(cursor) = self.streams.iter_mut().find(of) else { return };
        let ack = message.reply.clone().expect("its place was read off it");
        let stored = Stored {
            number: place.number,
            at_ms: place.at_ms,
            record: Record {
                subject: message.subject.to_string(),
                headers: wire::read_headers(message.headers.as_ref()),
                payload: message.payload,
            },
        };
        if let Taken::Finished(ack) = cursor.take_in(&place, stored, ack) {
            self.send_ack(ack);
        }
    }

    fn take_status(&mut self, message: &Message) {
        let Some(cursor) = self.streams.iter_mut().find(|cursor| cursor.pull.is_for(message))
        else {
            return;
        };
        match cursor.pull.hear(message) {
            Said::Nothing | Said::Over => {}
            Said::Doubtful if cursor.health == Health::Good => cursor.health = Health::Doubtful,
            Said::Doubtful => {}
            Said::Deleted => self.is_taken = true,
        }
    }

    fn send_ack(&mut self, subject: Subject) {
        let payload = Bytes::from_static(delivery::ACK);
        self.outbox.push(OutboundMessage { subject, reply: None, payload, headers: None });
    }

    fn notice(&mut self, notice: Notice) -> Result<(), BusError> {
        match notice {
            // What stood at the old connection is gone, and what came over it may be, too.
            Notice::Down | Notice::Up => {
                for cursor in &mut self.streams {
                    cursor.pull.forget();
                    if cursor.health == Health::Good {
                        cursor.health = Health::Doubtful;
                    }
                }
                self.look_at = Instant::now();
                Ok(())
            }
            Notice::Denied(text) => Err(BusError::Refused(text)),
        }
    }

    /// Looks at consumers that are in doubt, and makes those anew that are broken.
    async fn mend(&mut self) -> Result<(), BusError> {
        if self.look_at > Instant::now() || !self.link.is_up() {
            return Ok(());
        }
        for index in 0..self.streams.len() {
            if self.streams[index].health == Health::Doubtful {
                self.look(index).await?;
            }
            if self.streams[index].health == Health::Broken {
                let held = &self.streams[index].held;
                tracing::info!(stream = %held.of, consumer = held.name, "deliveries went missing: made anew");
                let held = self.again(index).await?;
                let pull = pull(&self.inbox, &held);
                self.streams[index].restart(held, pull);
            }
        }
        Ok(())
    }

    async fn look(&mut self, index: usize) -> Result<(), BusError> {
        let Held { of, name, .. } = &self.streams[index].held;
        let found = take::look(&self.link, *of, name).await;
        // What came until now has come before the answer.
        self.drain();
        let cursor = &mut self.streams[index];
        match found {
            Ok(info) if info.delivered.consumer_seq > cursor.delivery => {
                cursor.health = Health::Broken;
            }
            Ok(_) => cursor.health = Health::Good,
            Err(error) if [code::NO_CONSUMER, code::NO_STREAM].contains(&error.code()) => {
                self.is_taken = true;
                return Err(BusError::Taken);
            }
            // Its servers choose a leader, or are away. Other streams go on meanwhile.
            Err(error) if error.is_passing() => self.look_at = Instant::now() + LOOK_AGAIN,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn again(&mut self, index: usize) -> Result<Held, BusError> {
        let made = self.holder.make_again(&self.link, &self.streams[index].held).await;
        if matches!(made, Err(BusError::Taken)) {
            self.is_taken = true;
        }
        made
    }

    /// Keeps requests standing at every consumer with room.
    async fn ask(&mut self) -> Result<(), BusError> {
        if !self.link.is_up() {
            return Ok(());
        }
        for cursor in self.streams.iter_mut().filter(|cursor| cursor.health == Health::Good) {
            let room = cursor.room();
            let asked = cursor.pull.ask(&self.link.client, room).await;
            asked.map_err(|error| BusError::Unavailable(error.into()))?;
        }
        Ok(())
    }

    /// When something has to be done although nothing comes.
    fn deadline(&self) -> Instant {
        let silent = self.streams.iter().filter_map(|cursor| cursor.pull.deadline());
        let doubtful = self.streams.iter().any(|cursor| cursor.health != Health::Good);
        let look = doubtful.then(|| self.look_at.max(Instant::now() + LOOK_AGAIN));
        let far = Instant::now() + Duration::from_secs(60);
        silent.chain(look).min().unwrap_or(far)
    }

    fn end_silence(&mut self) {
        let now = Instant::now();
        for cursor in &mut self.streams {
            if cursor.pull.deadline().is_some_and(|deadline| deadline <= now) {
                cursor.pull.forget();
                if cursor.health == Health::Good {
                    cursor.health = Health::Doubtful;
                }
            }
        }
    }
}

fn pull(inbox: &str, held: &Held) -> Pull {
    let Held { of, name, .. } = held;
    Pull::new(&of.to_string(), name, format!("{inbox}.{of}.{name}"))
}

#[async_trait]
impl Feed for LaneFeed {
    async fn next(&mut self) -> Result<Delivery, BusError> {
        loop {
            self.drain();
            if self.is_taken {
                return Err(BusError::Taken);
            }
            if let Some(delivery) = self.give() {
                // Asked before there is nothing left, so that the next ones are on their way.
                self.ask().now_or_never();
                return Ok(delivery);
            }
            self.mend().await?;
            self.ask().await?;
            let deadline = self.deadline();
            let has_unsent = !self.outbox.is_empty();
            tokio::select! {
                message = self.messages.next() => match message {
                    Some(message) => self.take_in(message),
                    None => return Err(BusError::Unavailable("the client has ended".into())),
                },
                notice = self.listener.next() => self.notice(notice)?,
                () = sleep_until(deadline) => self.end_silence(),
                () = std::future::poll_fn(|cx| self.outbox.poll_send(cx)), if has_unsent => {}
            }
        }
    }

    fn ack(&mut self, position: Position) {
        let of = |cursor: &&mut Cursor| cursor.held.of == position.stream;
        let Some(cursor) = self.streams.iter_mut().find(of) else { return };
        if let Some(ack) = cursor.finish(position.number) {
            self.acked.note(position.stream, ack.clone());
            self.send_ack(ack);
        }
    }
}
