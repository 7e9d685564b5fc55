//! What a handler hands back: the answer for the client, and what the journal is to know.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;

use crate::error::ApiError;
use crate::journal::Sent;
use crate::rules::Refusal;

/// The outcome of one call.
#[derive(Debug)]
pub(super) struct Answer {
    reply: Reply,
    effect: Seen,
}

#[derive(Debug)]
enum Reply {
    Json(Value),
    NoContent,
    Refused(ApiError),
}

/// What people see of a call; travels to the journal as an extension of the response.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Whether they see anything new.
    pub(super) applied: bool,
    /// The message that was to be sent.
    pub(super) sent: Option<Box<Sent>>,
}

impl Answer {
    /// 200 with this body.
    pub(super) fn json(body: Value) -> Self {
        Self { reply: Reply::Json(body), effect: Seen::default() }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self { reply: Reply::NoContent, effect: Seen::default() }
    }

    /// An error, or what has an error's shape.
    pub(super) fn refused(error: impl Into<ApiError>) -> Self {
        Self { reply: Reply::Refused(error.into()), effect: Seen::default() }
    }

    /// It changed what people see.
    pub(super) fn applied(mut self) -> Self {
        self.effect.applied = true;
        self
    }

    /// Adds a member to the body of a success.
    pub(super) fn with(mut self, name: &str, member: Value) -> Self {
        if let Reply::Json(body) = &mut self.reply {
            body[name] = member;
        }
        self
    }

    /// The id that the message got; none where it was not shown.
    pub(super) fn message_id(&self) -> Option<String> {
        self.effect.sent.as_ref()?.id.clone()
    }

    /// It was about this message.
    pub(super) fn about(mut self, sent: Sent) -> Self {
        self.effect.sent = Some(Box::new(sent));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.reply {
            Reply::Json(body) => Json(body).into_response(),
            Reply::NoContent => StatusCode::NO_CONTENT.into_response(),
            Reply::Refused(error) => error.into_response(),
        };
        response.extensions_mut().insert(self.effect);
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status())
            .expect("every refusal in the table has a status that exists");
        Self::new(status, refusal.code(), refusal.message())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        ApiError::from(self).into_response()
    }
}
