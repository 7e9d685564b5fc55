//! Questions to somebody on NATS who is no server, and their answers.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use super::error::AskError;
use super::{NatsBus, wire};
use crate::bus::BusError;

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody subscribes there.
    #[error("nobody subscribes there")]
    NoResponders,
    /// It is larger than a message may be.
    #[error("{0}")]
    TooLarge(String),
    /// The subject is forbidden.
    #[error("the NATS user has no permission: {0}; deploy/nats.conf shows what a worker needs")]
    Denied(String),
    /// No answer in time, or no connection.
    #[error("no answer in time")]
    NoAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NatsBus {
    /// Asks once. Values of headers must have no line break.
    ///
    /// # Errors
    ///
    /// There is no answer within `limit`, or there will be none.
    pub async fn request(
        &self,
        subject: &str,
        headers: &[(&'static str, &str)],
        payload: Bytes,
        limit: Duration,
    ) -> Result<Bytes, RequestError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            wire::insert(&mut map, name, value);
        }
        let request = async_nats::Request::new().headers(map).payload(payload);
        let link = self.link().await?;
        Ok(link.request(limit, subject.to_owned(), request).await?)
    }
}

impl From<BusError> for RequestError {
    fn from(error: BusError) -> Self {
        Self::NoAnswer(error.into())
    }
}

impl From<AskError> for RequestError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NoResponders => Self::NoResponders,
            AskError::TooLarge(text) => Self::TooLarge(text),
            AskError::Denied(text) => Self::Denied(text),
            error @ (AskError::Api(_) | AskError::NoAnswer(_)) => Self::NoAnswer(error.into()),
        }
    }
}
