//! The control interface over HTTP, under `/_sim/`.
//!
//! It is part of the test and not of the platform: no token, no rates, no trace id.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::Action;
use super::perform::Outcome;
use super::view::{Counters, SessionView};
use crate::journal::Page;
use crate::platform::Platform;

/// Entries of a page where the caller does not say.
const PAGE: usize = 10_000;

pub(crate) fn router() -> Router<Arc<Platform>> {
    Router::new()
        .route("/_sim/health", get(async || Json(json!({"ok": true}))))
        .route("/_sim/actions", post(actions))
        .route("/_sim/sessions", get(sessions))
        .route("/_sim/counters", get(counters))
        .route("/_sim/journal", get(journal))
}

/// One action, or several that happen in order until one cannot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Wanted {
    One(Box<Action>),
    Many(Vec<Action>),
}

async fn actions(State(platform): State<Arc<Platform>>, body: Bytes) -> Response {
    let refused = |message: String| {
        (StatusCode::BAD_REQUEST, Json(json!({"message": message}))).into_response()
    };
    // Read by the first character and not as an untagged enum, which could not say what is wrong.
    let many = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let read = if many {
        serde_json::from_slice(&body).map(Wanted::Many)
    } else {
        serde_json::from_slice(&body).map(Wanted::One)
    };
    match read {
        Ok(Wanted::One(action)) => match platform.perform(&action) {
            Ok(outcome) => Json(outcome).into_response(),
            Err(error) => refused(error.to_string()),
        },
        Ok(Wanted::Many(actions)) => {
            let outcomes: Result<Vec<Outcome>, _> =
                actions.iter().map(|action| platform.perform(action)).collect();
            match outcomes {
                Ok(outcomes) => Json(outcomes).into_response(),
                Err(error) => refused(error.to_string()),
            }
        }
        Err(error) => refused(error.to_string()),
    }
}

async fn sessions(State(platform): State<Arc<Platform>>) -> Json<Vec<SessionView>> {
    Json(platform.session_views())
}

async fn counters(State(platform): State<Arc<Platform>>) -> Json<Counters> {
    Json(platform.counters())
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

async fn journal(State(platform): State<Arc<Platform>>, Query(range): Query<Range>) -> Json<Page> {
    Json(platform.journal.page(range.from, range.limit.unwrap_or(PAGE).min(PAGE)))
}
