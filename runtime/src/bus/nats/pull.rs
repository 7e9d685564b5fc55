//! Asking one consumer for messages, and noticing when it stops answering.
//!
//! A request stands at the server until it is filled or its time is up, and a heartbeat says that
//! it still stands. A server that dies takes it along without a word, so silence ends it here.

use std::time::Duration;

use async_nats::{Client, Message, PublishError, StatusCode};
use tokio::time::Instant;

/// Messages asked for at once.
pub(super) const BATCH: usize = 256;

/// How long a request stands.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that it stands.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Silence that ends it: two heartbeats, and some.
const SILENCE: Duration = Duration::from_secs(5);

/// The requests to one consumer.
#[derive(Debug)]
pub(super) struct Pull {
    question: String,
    inbox: String,
    /// What the standing requests may still bring, oldest first: their numbers and messages.
    standing: Vec<(u64, usize)>,
    next: u64,
    heard: Instant,
}

/// What a status message says of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing to act upon.
    Nothing,
    /// A request is over; another may stand in its place.
    Over,
    /// The consumer may be gone, or be elsewhere: look.
    Doubtful,
    /// The consumer was deleted.
    Deleted,
}

impl Pull {
    /// Requests whose answers go to subjects below `inbox`.
    pub(super) fn new(stream: &str, consumer: &str, inbox: String) -> Self {
        let question = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        Self { question, inbox, standing: Vec::new(), next: 0, heard: Instant::now() }
    }

    /// Messages that the standing requests may still bring.
    pub(super) fn outstanding(&self) -> usize {
        self.standing.iter().map(|(_, left)| left).sum()
    }

    /// Asks for up to `room` messages more, where half a batch or less is outstanding. With `room`
    /// for what is outstanding only, it asks for nothing.
    pub(super) async fn ask(&mut self, client: &Client, room: usize) -> Result<(), PublishError> {
        let outstanding = self.outstanding();
        let wanted = BATCH.min(room.saturating_sub(outstanding));
        if outstanding > BATCH / 2 || wanted == 0 || (outstanding > 0 && wanted < BATCH / 2) {
            return Ok(());
        }
        let body = format!(
            r#"{{"batch":{wanted},"expires":{},"idle_heartbeat":{}}}"#,
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        );
        let (number, reply) = (self.next, format!("{}.{}", self.inbox, self.next));
        client.publish_with_reply(self.question.clone(), reply, body.into()).await?;
        // From here to the end nothing waits: a dropped future has asked for nothing.
        if self.standing.is_empty() {
            self.heard = Instant::now();
        }
        self.standing.push((number, wanted));
        self.next += 1;
        Ok(())
    }

    /// Whether a status is about one of these requests.
    pub(super) fn is_for(&self, message: &Message) -> bool {
        message.subject.rsplit_once('.').is_some_and(|(inbox, _)| inbox == self.inbox)
    }

    /// A message came: of the oldest request, as the server serves them in order.
    pub(super) fn count_message(&mut self) {
        self.heard = Instant::now();
        if let Some((_, left)) = self.standing.first_mut() {
            *left -= 1;
            if *left == 0 {
                self.standing.remove(0);
            }
        }
    }

    /// Takes in a status of this consumer; the last token of its subject names the request.
    pub(super) fn hear(&mut self, message: &Message) -> Said {
        self.heard = Instant::now();
        let Some(status) = message.status.filter(|status| *status != StatusCode::IDLE_HEARTBEAT)
        else {
            return Said::Nothing;
        };
        let number = message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        self.standing.retain(|(standing, _)| Some(*standing) != number);
        let text = message.description.as_deref().unwrap_or_default();
        match status {
            StatusCode::REQUEST_TERMINATED if text.contains("Consumer Deleted") => Said::Deleted,
            // 404 and 408: nothing came in its time. 409 with these words: enough of it came.
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Said::Over,
            StatusCode::REQUEST_TERMINATED if text.contains("Batch Completed") => Said::Over,
            _ => Said::Doubtful,
        }
    }

    /// Forgets what stood: the connection went, or nobody answered.
    pub(super) fn forget(&mut self) {
        self.standing.clear();
    }

    /// When the silence is too long; `None` while nothing stands.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.standing.is_empty()).then(|| self.heard + SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, text: &str, number: u64) -> Message {
        Message {
            subject: format!("_INBOX.a.0.{number}").into(),
            reply: None,
            payload: Default::default(),
            headers: None,
            status: StatusCode::from_u16(code).ok(),
            description: Some(text.to_owned()),
            length: 0,
        }
    }

    fn pull(standing: &[(u64, usize)]) -> Pull {
        let mut pull = Pull::new("QQ_EV_00", "7-12", "_INBOX.a.0".to_owned());
        pull.standing = standing.to_vec();
        pull
    }

    #[tokio::test]
    async fn messages_count_for_the_oldest_request() {
        let mut pull = pull(&[(3, 2), (4, 5)]);
        for left in [6, 5, 4] {
            pull.count_message();
            assert_eq!(pull.outstanding(), left);
        }
        assert_eq!(pull.standing, [(4, 4)]);
    }

    #[tokio::test]
    async fn a_status_ends_its_request_and_says_whether_to_look() {
        let check = |code, text, expected, left| {
            let mut pull = pull(&[(3, 2), (4, 5)]);
            assert_eq!(pull.hear(&status(code, text, 3)), expected, "{code} {text}");
            assert_eq!(pull.outstanding(), left, "{code} {text}");
        };
        check(100, "Idle Heartbeat", Said::Nothing, 7);
        check(404, "No Messages", Said::Over, 5);
        check(408, "Request Timeout", Said::Over, 5);
        check(409, "Batch Completed", Said::Over, 5);
        check(409, "Leadership Change", Said::Doubtful, 5);
        check(409, "Server Shutdown", Said::Doubtful, 5);
        check(409, "Consumer Deleted", Said::Deleted, 5);
        check(503, "No Responders", Said::Doubtful, 5);
    }
}
