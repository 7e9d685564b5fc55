//! `POST /app/getAppAccessToken`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::post;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::AppHandle;
use crate::faults::Occasion;
use crate::journal::Entry;
use crate::platform::Platform;
use crate::span;

/// What goes wrong at the token endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFault {
    /// A refusal with this code, under HTTP 200 as all of them.
    Code(u32),
    /// This HTTP status with a page that is no JSON.
    Status(u16),
    /// The right answer, late.
    Slow(#[serde(with = "span")] Duration),
    /// `expires_in` holds this, of whatever type.
    ExpiresIn(Value),
    /// The bytes end in the middle of the answer.
    Torn,
}

const OK: u32 = 0;
const APP_INVALID: u32 = 100_007;
const WRONG_SECRET: u32 = 100_016;
const BAD_BODY: u32 = 12_002;

pub(crate) fn router() -> Router<Arc<Platform>> {
    Router::new().route("/app/getAppAccessToken", post(issue))
}

/// Source: spec/auth.md §2. A failure has HTTP 200 and a code; `expires_in` is a string.
async fn issue(State(platform): State<Arc<Platform>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = request["appId"].as_str().unwrap_or_default().to_owned();
    let app = check(&platform, &id, &request["clientSecret"]);
    let occasion = Occasion { app: app.as_ref().ok().map(|app| &app.id), ..Occasion::default() };
    let fault = platform.faults.token.strike(&occasion);
    if let Some(TokenFault::Slow(by)) = fault {
        tokio::time::sleep(by).await;
    }
    let (code, response) = match (fault, app) {
        (Some(TokenFault::Code(code)), _) => (code, refusal(code)),
        (Some(TokenFault::Status(status)), _) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (OK, (status, Html("<html><body>bad gateway</body></html>")).into_response())
        }
        (Some(TokenFault::Torn), Ok(_)) => {
            (OK, ([("content-type", "application/json")], "{\"access_tok").into_response())
        }
        (Some(TokenFault::ExpiresIn(value)), Ok(app)) => (OK, grant(&platform, &app, Some(value))),
        (_, Ok(app)) => (OK, grant(&platform, &app, None)),
        (_, Err(code)) => (code, refusal(code)),
    };
    platform.journal.record(Entry::Token { app: id, status: response.status().as_u16(), code });
    response
}

fn check(platform: &Platform, id: &str, secret: &Value) -> Result<AppHandle, u32> {
    let secret = secret.as_str().ok_or(BAD_BODY)?;
    let app = platform.app(id).ok_or(APP_INVALID)?;
    if app.secret == secret { Ok(Arc::clone(app)) } else { Err(WRONG_SECRET) }
}

fn grant(platform: &Platform, app: &AppHandle, expires_in: Option<Value>) -> Response {
    let now = platform.now();
    let issued = platform.tokens.issue(&app.id, now);
    let left = ((issued.expires_at - now) / 1_000).to_string();
    let expires_in = expires_in.unwrap_or_else(|| left.into());
    Json(json!({"access_token": issued.token, "expires_in": expires_in})).into_response()
}

fn refusal(code: u32) -> Response {
    let message = match code {
        100_001 => "too many requests",
        100_002 => "internal error",
        APP_INVALID => "appid invalid",
        WRONG_SECRET => "invalid appid or secret",
        BAD_BODY => "bad request body",
        10_004 => "bot not exist",
        _ => "failed",
    };
    Json(json!({"code": code, "message": message})).into_response()
}
