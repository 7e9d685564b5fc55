//! One partition as whoever wants to own it sees it: records out in a pipeline, answers in by
//! number, and the marker batch.
//!
//! Every record carries the number it must follow, and nothing else that a server could answer by.
//! The rules a newcomer would break: no message id here (a repeat would be answered as success and
//! everything behind it would fail), and no second attempt, which is the chain's to decide.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::message::OutboundMessage;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use qqrelay_proto::record::{Record, Stored};
use qqrelay_proto::subject::Partition;
use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Shared;
use super::error::{ApiError, AskError, code};
use super::link::{Link, Listener, Notice};
use super::outbox::Outbox;
use super::{mark, stored, streams, wire};
use crate::bus::{Answer, BusError, Extent, Log, Refusal};

/// Says which number a record must follow.
const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";

/// A handle on one partition.
pub(super) struct PartitionLog {
    link: Arc<Link>,
    shared: Arc<Shared>,
    stream: String,
    /// What its subjects begin with.
    prefix: String,
    window: usize,
    listener: Listener,
    /// Answers to everything this handle sends, each under the number of its sending.
    answers: Subscriber,
    inbox: String,
    /// Sent and not answered, and answered ones that wait for those before them.
    sent: VecDeque<Sent>,
    /// The number of the oldest sending in `sent`.
    first_sending: u64,
    /// Records on their way out. No more than `sent` has.
    outbox: Outbox,
    ready: VecDeque<Answer>,
    answer_within: Duration,
    /// When the oldest sending is given up.
    alarm: Pin<Box<Sleep>>,
    is_alarm_set: bool,
}

struct Sent {
    number: u64,
    at: Instant,
    is_answered: bool,
}

impl PartitionLog {
    pub(super) async fn open(
        link: Arc<Link>,
        partition: Partition,
        shared: Arc<Shared>,
    ) -> Result<Self, BusError> {
        let inbox = link.client.new_inbox();
        let subscribed = link.client.subscribe(format!("{inbox}.*")).await;
        let answers = subscribed.map_err(|error| BusError::Unavailable(error.into()))?;
        let prefix = partition.all().trim_end_matches('>').to_owned();
        Ok(Self {
            stream: partition.stream(),
            listener: link.listen(prefix.as_str()),
            outbox: Outbox::new(&link.client),
            link,
            prefix,
            window: usize::from(shared.layout.window),
            answer_within: shared.answer_within,
            shared,
            answers,
            inbox,
            sent: VecDeque::new(),
            first_sending: 0,
            ready: VecDeque::new(),
            alarm: Box::pin(sleep_until(Instant::now())),
            is_alarm_set: false,
        })
    }

    /// The message of a record, without the condition it is sent under.
    pub(super) fn message(&self, record: Record) -> Result<OutboundMessage, Refusal> {
        if !record.subject.starts_with(&self.prefix) {
            let text = format!("{:?} is no subject of {}", record.subject, self.stream);
            return Err(Refusal::Never(text));
        }
        let headers = wire::headers(&record.headers);
        Ok(OutboundMessage {
            subject: record.subject.into(),
            reply: None,
            payload: record.payload,
            headers: Some(headers),
        })
    }

    /// The link, for what waits for one answer.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Lets out what was published and found no room.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.outbox.poll_send(cx)
    }

    /// Takes in the answer to one sending.
    fn hear(&mut self, sending: Option<u64>, answer: &Bytes, is_nobody: bool) {
        let index = sending.and_then(|sending| sending.checked_sub(self.first_sending));
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(sent) = index.and_then(|index| self.sent.get_mut(index)) else { return };
        if std::mem::replace(&mut sent.is_answered, true) {
            return; // given up before
        }
        let number = sent.number;
        let refusal = if is_nobody {
            Some(Refusal::Busy("no server keeps the stream now".to_owned()))
        } else {
            refusal_of(answer, number)
        };
        self.ready.push_back(match refusal {
            None => Answer::Stored { number },
            Some(refusal) => Answer::Refused { number, refusal },
        });
        self.forget_answered();
    }

    fn forget_answered(&mut self) {
        while self.sent.front().is_some_and(|sent| sent.is_answered) {
            self.sent.pop_front();
            self.first_sending += 1;
        }
    }

    /// Gives the same answer to all that is in flight and `which` takes.
    fn refuse(&mut self, refusal: &Refusal, which: impl Fn(&Sent) -> bool) {
        for sent in self.sent.iter_mut().filter(|sent| !sent.is_answered && which(sent)) {
            sent.is_answered = true;
            let refusal = refusal.clone();
            self.ready.push_back(Answer::Refused { number: sent.number, refusal });
        }
        self.forget_answered();
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Up => {}
            Notice::Denied(text) => self.refuse(&Refusal::Forbidden(text), |_| true),
            Notice::Down => {
                // With nothing in flight, nothing is unknown.
                if !self.sent.is_empty() {
                    self.first_sending += self.sent.len() as u64;
                    self.sent.clear();
                    self.outbox.clear();
                    self.ready.push_back(Answer::Disconnected);
                }
            }
        }
    }

    /// Gives up what had its time.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(oldest) = self.sent.front().map(|sent| sent.at) else { return Poll::Pending };
        if !self.is_alarm_set {
            self.alarm.as_mut().reset(oldest + self.answer_within);
            self.is_alarm_set = true;
        }
        if self.alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.is_alarm_set = false;
        let (now, within) = (Instant::now(), self.answer_within);
        let refusal = Refusal::Unknown(format!("none within {within:?}"));
        self.refuse(&refusal, |sent| sent.at + within <= now);
        Poll::Ready(())
    }
}

/// What an answer to a record refuses; `None` of one that says it is stored under its number.
fn refusal_of(answer: &Bytes, number: u64) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Read {
        #[serde(default)]
        seq: u64,
        error: Option<ApiError>,
    }
    match serde_json::from_slice::<Read>(answer) {
        Ok(Read { error: Some(error), .. }) => Some(error.refusal()),
        Ok(Read { seq, .. }) if seq == number => None,
        Ok(Read { seq, .. }) => Some(Refusal::Unknown(format!("stored as number {seq}"))),
        Err(error) => Some(Refusal::Unknown(error.to_string())),
    }
}

/// Reads the number of a sending off the subject of its answer.
fn sending_of(subject: &str) -> Option<u64> {
    subject.rsplit_once('.')?.1.parse().ok()
}

#[async_trait]
impl Log for PartitionLog {
    fn publish(&mut self, number: u64, record: Record) {
        let refused = |refusal| Answer::Refused { number, refusal };
        if self.sent.len() >= self.window {
            let text = format!("{} records wait for their answers", self.window);
            self.ready.push_back(refused(Refusal::Busy(text)));
            return;
        }
        let mut message = match self.message(record) {
            Ok(message) => message,
            Err(refusal) => return self.ready.push_back(refused(refusal)),
        };
        let headers = message.headers.get_or_insert_default();
        wire::insert(headers, EXPECTED_LAST, &number.saturating_sub(1).to_string());
        let (size, most) =
            (wire::size(headers, message.payload.len()), self.link.client.max_payload());
        if size > most {
            let text = format!("it has {size} bytes and the server takes {most}");
            return self.ready.push_back(refused(Refusal::Never(text)));
        }
        let sending = self.first_sending + self.sent.len() as u64;
        message.reply = Some(format!("{}.{sending}", self.inbox).into());
        self.sent.push_back(Sent { number, at: Instant::now(), is_answered: false });
        self.outbox.push(message);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Poll::Ready(answer);
            }
            let _ = self.outbox.poll_send(cx);
            // What was heard before the connection went is true all the same.
            if let Poll::Ready(Some(message)) = self.answers.poll_next_unpin(cx) {
                let is_nobody = message.status == Some(async_nats::StatusCode::NO_RESPONDERS);
                self.hear(sending_of(&message.subject), &message.payload, is_nobody);
            } else if let Poll::Ready(notice) = self.listener.poll(cx) {
                self.notice(notice);
            } else if self.poll_alarm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    async fn mark(&mut self, records: Vec<Record>) -> Result<u64, Refusal> {
        let last = mark::mark(self, records).await?;
        // What was in flight before cannot fit behind a batch, and takes no room in the window.
        self.refuse(&Refusal::Unknown("a batch was written behind it".to_owned()), |_| true);
        Ok(last)
    }

    async fn last(&mut self, filter: &str) -> Result<Option<Stored>, Refusal> {
        match stored::last(&self.link, &self.stream, filter).await {
            Err(error) if error.code() == code::NO_STREAM => {
                let Shared { nats, layout, limits, .. } = &*self.shared;
                tracing::error!(stream = self.stream, "the stream is gone and is made anew");
                streams::again(&self.link, nats, *layout, limits, &self.stream).await?;
                Ok(stored::last(&self.link, &self.stream, filter).await?)
            }
            last => Ok(last?),
        }
    }

    async fn range(
        &mut self,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, Refusal> {
        Ok(stored::range(&self.link, &self.stream, filter, from, limit).await?)
    }

    async fn extent(&mut self) -> Result<Extent, Refusal> {
        let info = streams::info(&self.link, &self.stream).await?;
        let created: Timestamp =
            info.created.parse().map_err(|error: jiff::Error| AskError::NoAnswer(error.into()))?;
        let last = info.state.last_seq;
        Ok(Extent {
            first: if info.state.messages == 0 { last + 1 } else { info.state.first_seq },
            last,
            created_ms: u64::try_from(created.as_millisecond()).unwrap_or(0),
            bytes: info.state.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_stored_only_under_the_number_it_was_sent_for() {
        let check = |answer: &'static str, expected: Option<Refusal>| {
            assert_eq!(refusal_of(&Bytes::from_static(answer.as_bytes()), 7), expected, "{answer}");
        };
        check(r#"{"stream":"QQ_EV_00","seq":7}"#, None);
        let other = Refusal::Unknown("stored as number 6".into());
        check(r#"{"stream":"QQ_EV_00","seq":6,"duplicate":true}"#, Some(other));
        let mismatch = r#"{"error":{"code":400,"err_code":10071,"description":"d"},"seq":0}"#;
        check(mismatch, Some(Refusal::Mismatch));
        for nothing in ["", "+OK", "[]"] {
            let refusal = refusal_of(&Bytes::from_static(nothing.as_bytes()), 7);
            assert!(matches!(refusal, Some(Refusal::Unknown(_))), "{nothing:?}: {refusal:?}");
        }
    }

    #[test]
    fn an_answers_subject_ends_in_the_number_of_its_sending() {
        assert_eq!(sending_of("_INBOX.abc.41"), Some(41));
        assert_eq!(sending_of("_INBOX.abc.x"), None);
    }
}
