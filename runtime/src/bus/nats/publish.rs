//! Appending to streams that have many writers: commands, results and dead letters.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep};

use super::error::{ApiError, AskError, code};
use super::link::Link;
use super::wire;

/// A message with an id that the stream knows already is not stored again.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The pause before asking again while another publisher is at the same id.
const PAUSE: Duration = Duration::from_millis(5);

/// What a stream answers to a message it took.
#[derive(Debug, Deserialize)]
pub(super) struct Taken {
    /// It was there already, under the same message id.
    #[serde(default)]
    pub(super) duplicate: bool,
}

/// Publishes once and waits for the stream's answer.
pub(super) async fn publish(
    link: &Link,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Taken, AskError> {
    let request = async_nats::Request::new().headers(headers).payload(payload);
    let answer = link.request(link.patience, subject.to_owned(), request).await?;
    if let Some(error) = ApiError::read(&answer) {
        return Err(AskError::Api(error));
    }
    serde_json::from_slice(&answer).map_err(|error| AskError::NoAnswer(error.into()))
}

/// Publishes what is stored once under an id, for as long as the stream remembers ids: the same
/// call again, after an answer that was lost, stores nothing more.
///
/// Of several who publish at once, all but the first are told so; its outcome is known a moment
/// later.
pub(super) async fn publish_once(
    link: &Link,
    subject: &str,
    id: &str,
    mut headers: HeaderMap,
    payload: Bytes,
) -> Result<Taken, AskError> {
    wire::insert(&mut headers, MESSAGE_ID, id);
    let end = Instant::now() + link.patience;
    loop {
        match publish(link, subject, headers.clone(), payload.clone()).await {
            Err(AskError::Api(error))
                if error.err_code == code::DUPLICATE_UNDERWAY && Instant::now() < end =>
            {
                sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}
