//! `GET /gateway` and `GET /gateway/bot`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode, header::HOST};
use qqrelay_proto::id::AppId;
use serde_json::{Value, json};

use super::fault::SocketFault;
use crate::app::AppHandle;
use crate::clock::WallMs;
use crate::config::Enforcement;
use crate::error::ApiError;
use crate::faults::Occasion;
use crate::journal::Entry;
use crate::lock;
use crate::platform::Platform;

/// Look-ups of one bot: 2 a minute, 10 at once.
///
/// Source: spec/gateway.md §1.2.
#[derive(Debug, Default)]
pub struct Lookups(Mutex<HashMap<AppId, Credit>>);

#[derive(Debug)]
struct Credit {
    /// In look-ups; a whole one is needed.
    left: f64,
    at: WallMs,
}

const BURST: f64 = 10.0;
const PER_MS: f64 = 2.0 / 60_000.0;

impl Lookups {
    /// Takes one; false when there is none.
    pub fn take(&self, app: &AppId, now: WallMs) -> bool {
        let mut credits = lock(&self.0);
        let credit = credits.entry(app.clone()).or_insert(Credit { left: BURST, at: now });
        #[expect(clippy::cast_precision_loss, reason = "an f64 holds milliseconds exactly")]
        let earned = (now - credit.at) as f64 * PER_MS;
        credit.left = (credit.left + earned).min(BURST);
        credit.at = now;
        let granted = credit.left >= 1.0;
        if granted {
            credit.left -= 1.0;
        }
        granted
    }
}

/// `GET /gateway`.
pub(crate) async fn gateway(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let looked_up = look_up(&platform, &headers);
    note(&platform, "/gateway", &looked_up);
    looked_up.map(|_| Json(json!({"url": url(&platform, &headers)})))
}

/// `GET /gateway/bot`.
pub(crate) async fn gateway_bot(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let looked_up = look_up(&platform, &headers);
    note(&platform, "/gateway/bot", &looked_up);
    let app = looked_up?;
    let rules = &platform.config.gateway;
    let left = platform.identifies.left(&app.id, rules.identifies_a_day, platform.now());
    Ok(Json(json!({
        "url": url(&platform, &headers),
        "shards": platform.shards(),
        "session_start_limit": {
            "total": rules.identifies_a_day,
            "remaining": left.remaining,
            "reset_after": u64::try_from(left.reset_after.as_millis()).unwrap_or(u64::MAX),
            "max_concurrency": rules.max_concurrency.max(1),
        },
    })))
}

fn note(platform: &Platform, path: &str, looked_up: &Result<AppHandle, ApiError>) {
    let error = looked_up.as_ref().err();
    platform.journal.record(Entry::Rest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        app: looked_up.as_ref().ok().map(|app| app.id.clone()),
        status: error.map_or(StatusCode::OK, |error| error.status).as_u16(),
        code: error.map(|error| error.code),
        applied: false,
        sent: None,
    });
}

fn look_up(platform: &Platform, headers: &HeaderMap) -> Result<AppHandle, ApiError> {
    let app = platform.authenticate(headers)?;
    let occasion = Occasion { app: Some(&app.id), ..Occasion::default() };
    let here = |fault: &SocketFault| matches!(fault, SocketFault::RefuseLookup { .. });
    if let Some(SocketFault::RefuseLookup { status, code }) =
        platform.faults.socket.strike_if(&occasion, here)
    {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND);
        return Err(ApiError::new(status, code, "look-up failed"));
    }
    let within = platform.lookups.take(&app.id, platform.now());
    if !within && platform.config.gateway.discovery == Enforcement::Enforced {
        let too_many = StatusCode::TOO_MANY_REQUESTS;
        return Err(ApiError::new(too_many, 22_009, "接口调用超过频率限制"));
    }
    Ok(app)
}

/// The address that the caller used, so that it also works from inside a container.
fn url(platform: &Platform, headers: &HeaderMap) -> String {
    if let Some(told) = platform.told_url() {
        return told;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| platform.address().to_string(), str::to_owned);
    format!("ws://{host}/websocket/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_look_ups_at_once_and_then_two_a_minute() {
        let (lookups, app) = (Lookups::default(), AppId::from("1"));
        let granted = (0..20).filter(|_| lookups.take(&app, 0)).count();
        assert_eq!(granted, 10);
        assert!(!lookups.take(&app, 29_000));
        assert!(lookups.take(&app, 59_500));
    }
}
