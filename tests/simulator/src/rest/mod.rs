//! The REST side.

use axum::Router;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::app::App;
use crate::clock::WallMs;
use crate::events::Event;
use crate::platform::Platform;
use crate::rules::Limits;

/// What the REST side remembers.
#[derive(Debug)]
pub struct RestState {}

impl RestState {
    /// A state that knows nothing yet.
    #[must_use]
    pub fn new(_limits: &Limits) -> Self {
        Self {}
    }

    /// An event is about to be pushed: what may be replied to it is known from here on.
    pub fn pushed(&self, _app: &App, _event: &Event, _now: WallMs) {}
}

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {}

/// Every route of the REST side.
pub fn router() -> Router<Arc<Platform>> {
    Router::new()
}
