//! A call that the platform did not answer, and whether it may have acted on it.

use std::error::Error;
use std::time::Duration;

use qqrelay_proto::id::AppId;
use qqrelay_proto::token::TokenFailure;

/// A call without an answer.
///
/// Whether it was sent is read conservatively: what is not known to have stayed here counts as
/// gone, because a message sent twice is worse than one that is reported as unsure.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// No byte of the request left: no such host, no connection, no TLS.
    #[error("request was not sent")]
    NotSent(#[source] Box<dyn Error + Send + Sync>),
    /// The request left, or may have, and no answer came.
    #[error("no answer from the platform")]
    Unanswered(#[source] Box<dyn Error + Send + Sync>),
    /// The bot has no access token, so that nothing was sent.
    #[error("no access token")]
    NoToken(#[from] NoToken),
    /// The pool does not know the bot, so that nothing was sent.
    #[error("bot {0} is not configured")]
    UnknownBot(AppId),
}

/// Why a bot has no access token now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("next request for one in {} s", .retry_after.as_secs_f64().ceil())]
pub struct NoToken {
    /// When the next request for one may bring it.
    pub retry_after: Duration,
    /// What became of the last request for one; `None` where the platform refuses a token that its
    /// endpoint gave.
    #[source]
    pub failure: Option<TokenFailure>,
}

impl RestError {
    /// The error's metric label: a closed set, never text from outside.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not_sent",
            Self::Unanswered(_) => "unanswered",
            Self::NoToken(_) => "no_token",
            Self::UnknownBot(_) => "unknown_bot",
        }
    }

    /// Whether the platform may have acted on the call.
    #[must_use]
    pub const fn may_have_acted(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::NotSent(_) | Self::NoToken(_) | Self::UnknownBot(_) => false,
        }
    }

    pub(super) fn of(error: reqwest::Error) -> Self {
        // An address can hold a user's id, and what is written in a log should not.
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            Self::NotSent(error.into())
        } else {
            Self::Unanswered(error.into())
        }
    }
}
