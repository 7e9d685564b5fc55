//! Appending to streams that have many writers: commands, results and dead letters.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;

use super::error::{ApiError, AskError};
use super::link::Link;

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
