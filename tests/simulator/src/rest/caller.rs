//! Who calls, when, and under which rules: what every handler starts from.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::state::Bot;
use crate::app::AppHandle;
use crate::clock::WallMs;
use crate::error::ApiError;
use crate::platform::Platform;
use crate::rules::Refusal;
use crate::rules::limits::{AuditMode, Limits};
use crate::rules::rates::Route;

/// An authenticated call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) platform: Arc<Platform>,
    pub(super) app: AppHandle,
    pub(super) now: WallMs,
    /// Set where a fault sends this one message to review.
    pub(super) audit: Option<AuditMode>,
}

impl Caller {
    pub(super) fn limits(&self) -> &Limits {
        self.platform.rest.limits()
    }

    /// Works with the bot's memory.
    pub(super) fn bot<T>(&self, work: impl FnOnce(&mut Bot) -> T) -> T {
        self.platform.rest.with(&self.app.id, work)
    }

    /// Counts the call.
    pub(super) fn count(&self, route: &Route) -> Result<(), Refusal> {
        self.bot(|bot| bot.rates.take(route, self.now))
    }
}

/// The layer around every handler has put it into the request.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // A route outside of that layer is as if nobody had authenticated.
        let missing = || ApiError::new(http::StatusCode::UNAUTHORIZED, 11241, "token missing");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}
