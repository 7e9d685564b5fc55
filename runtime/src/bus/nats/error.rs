//! What a server's refusals mean to us, by their numbers.
//!
//! The rule a newcomer would break: what is not known to be refused is unknown, never refused. A
//! time-out says nothing about what was stored.

use bytes::Bytes;
use serde::Deserialize;

use crate::bus::{BusError, Refusal};

/// The numbers of JetStream's errors that we act on.
pub(super) mod code {
    /// No leader, or too few servers.
    pub(in crate::bus::nats) const UNAVAILABLE: u64 = 10008;
    pub(in crate::bus::nats) const NOT_LEADER: u64 = 10009;
    pub(in crate::bus::nats) const NO_CONSUMER: u64 = 10014;
    pub(in crate::bus::nats) const NO_RESOURCES: u64 = 10023;
    pub(in crate::bus::nats) const NO_MESSAGE: u64 = 10037;
    pub(in crate::bus::nats) const NO_JETSTREAM: [u64; 2] = [10039, 10076];
    pub(in crate::bus::nats) const TOO_LARGE: [u64; 3] = [10054, 10097, 10199];
    /// What the streams may hold together is more than the servers have.
    pub(in crate::bus::nats) const NO_ROOM: u64 = 10047;
    /// There is a stream of this name that is otherwise.
    pub(in crate::bus::nats) const STREAM_EXISTS: u64 = 10058;
    pub(in crate::bus::nats) const NO_STREAM: u64 = 10059;
    /// Of a command or a first result: somebody else was first.
    pub(in crate::bus::nats) const WRONG_LAST: [u64; 2] = [10071, 10164];
    pub(in crate::bus::nats) const STORE_FAILED: u64 = 10077;
    /// A work queue has a consumer for this filter.
    pub(in crate::bus::nats) const NOT_UNIQUE: u64 = 10100;
    pub(in crate::bus::nats) const SEALED: u64 = 10109;
    pub(in crate::bus::nats) const CONSUMER_EXISTS: u64 = 10148;
    /// Another publisher is at the same message id just now.
    pub(in crate::bus::nats) const DUPLICATE_UNDERWAY: u64 = 10158;
    pub(in crate::bus::nats) const NO_ATOMIC: u64 = 10174;
}

/// An error as the server writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} ({err_code})")]
pub(super) struct ApiError {
    code: u16,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    description: String,
}

impl ApiError {
    /// The error of an answer; `None` of an answer without one.
    pub(super) fn read(answer: &Bytes) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            error: Option<ApiError>,
        }
        serde_json::from_slice::<Answer>(answer).ok()?.error
    }

    /// Whether the same question may be answered a moment later.
    fn is_passing(&self) -> bool {
        self.code == 503 && !code::NO_JETSTREAM.contains(&self.err_code)
            || [code::UNAVAILABLE, code::NOT_LEADER, code::NO_RESOURCES].contains(&self.err_code)
    }

    /// What it means for a record or a batch.
    pub(super) fn refusal(&self) -> Refusal {
        let text = || self.to_string();
        match self.err_code {
            number if code::WRONG_LAST.contains(&number) => Refusal::Mismatch,
            number if code::TOO_LARGE.contains(&number) => Refusal::Never(text()),
            code::SEALED | code::NO_ATOMIC => Refusal::Forbidden(text()),
            number if code::NO_JETSTREAM.contains(&number) => Refusal::Forbidden(text()),
            code::STORE_FAILED => Refusal::Busy(text()),
            // Too many at once, of bytes or of requests.
            _ if self.is_passing() || self.code == 429 => Refusal::Busy(text()),
            _ => Refusal::Unknown(text()),
        }
    }
}

/// A question that has no answer of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The server refused it.
    #[error("the server refused it")]
    Api(#[source] ApiError),
    /// Permissions forbid it.
    #[error("the NATS user has no permission: {0}")]
    Denied(String),
    /// Nobody is there who could answer; it was not taken.
    #[error("no server is there to answer")]
    NoResponders,
    /// No answer, or one that cannot be read: it may have been taken.
    #[error("no answer of the server")]
    NoAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is larger than the server takes.
    #[error("it is larger than the server takes: {0}")]
    TooLarge(String),
}

impl AskError {
    /// The number of the server's error, 0 without one.
    pub(super) const fn code(&self) -> u64 {
        match self {
            Self::Api(error) => error.err_code,
            _ => 0,
        }
    }

    /// Whether the same question may be answered a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Api(error) => error.is_passing(),
            Self::NoResponders | Self::NoAnswer(_) => true,
            Self::Denied(_) | Self::TooLarge(_) => false,
        }
    }
}

impl From<async_nats::RequestError> for AskError {
    fn from(error: async_nats::RequestError) -> Self {
        match error.kind() {
            async_nats::RequestErrorKind::NoResponders => Self::NoResponders,
            async_nats::RequestErrorKind::MaxPayloadExceeded => Self::TooLarge(error.to_string()),
            _ => Self::NoAnswer(error.into()),
        }
    }
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Api(error) => error.refusal(),
            AskError::Denied(text) => Self::Forbidden(text),
            AskError::NoResponders => Self::Busy(error.to_string()),
            AskError::NoAnswer(cause) => Self::Unknown(cause.to_string()),
            AskError::TooLarge(text) => Self::Never(text),
        }
    }
}

impl From<AskError> for BusError {
    fn from(error: AskError) -> Self {
        match &error {
            AskError::Api(api) => match api.refusal() {
                Refusal::Busy(text) if api.err_code == code::STORE_FAILED => Self::Full(text),
                Refusal::Never(text) | Refusal::Forbidden(text) => Self::Refused(text),
                Refusal::Busy(_) | Refusal::Mismatch | Refusal::Unknown(_) => {
                    Self::Unavailable(error.into())
                }
            },
            AskError::Denied(_) | AskError::TooLarge(_) => Self::Refused(error.to_string()),
            AskError::NoResponders | AskError::NoAnswer(_) => Self::Unavailable(error.into()),
        }
    }
}

impl From<Refusal> for BusError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Never(text) | Refusal::Forbidden(text) => Self::Refused(text),
            refusal @ (Refusal::Mismatch | Refusal::Busy(_) | Refusal::Unknown(_)) => {
                Self::Unavailable(refusal.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, err_code: u64) -> Refusal {
        let text = format!(
            r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"d"}},"seq":0}}"#
        );
        ApiError::read(&text.into()).expect("it is an error").refusal()
    }

    #[test]
    fn a_refusal_is_known_by_its_number() {
        let check = |code, err_code, expected: fn(String) -> Refusal| {
            assert_eq!(refusal(code, err_code), expected(format!("d ({err_code})")));
        };
        check(400, 10071, |_| Refusal::Mismatch);
        check(400, 10164, |_| Refusal::Mismatch);
        check(400, 10054, Refusal::Never);
        check(400, 10097, Refusal::Never);
        check(503, 10077, Refusal::Busy);
        check(503, 10008, Refusal::Busy);
        check(429, 10167, Refusal::Busy);
        check(503, 10039, Refusal::Forbidden);
        check(400, 10174, Refusal::Forbidden);
        check(400, 10176, Refusal::Unknown);
        check(500, 0, Refusal::Unknown);
    }

    #[test]
    fn an_answer_without_an_error_has_none() {
        assert_eq!(ApiError::read(&Bytes::from_static(br#"{"stream":"S","seq":7}"#)), None);
        assert_eq!(ApiError::read(&Bytes::from_static(b"")), None);
    }
}
