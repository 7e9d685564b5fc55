//! Where a bot's sockets go: the platform's answer to `GET /gateway/bot`, kept for a while.
//!
//! The platform takes two of these calls a minute, and every reconnecting shard of a bot would like
//! to make one. Nobody here makes a third.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::profile::GATEWAY_BOT_PATH;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::Answer;
use super::client::Call;
use super::error::RestError;
use super::hosts::{HostError, Hosts};

/// Calls in any [`CALLS_WINDOW`].
///
/// Source: PLATFORM.md, "gateway discovery".
const CALLS_MAX: usize = 2;

/// The platform's limit is per minute.
const CALLS_WINDOW: Duration = Duration::from_secs(60);

/// What the platform says of a bot's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayBot {
    /// Where to connect, exactly as given; its host is believed.
    pub url: String,
    /// Recommended number of shards, at least 1.
    pub shards: u16,
    /// What may be identified; `None` where the answer does not say.
    pub limit: Option<SessionLimit>,
}

/// How many sessions may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimit {
    /// In a day.
    pub total: u32,
    /// Still, today.
    pub remaining: u32,
    /// Until `remaining` is `total` again.
    pub reset_after: Duration,
    /// In any five seconds, at least 1.
    pub max_concurrency: u16,
}

/// No usable answer to where a bot's sockets go.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Asking now would be one call too many.
    #[error("gateway was asked for twice within a minute")]
    Limited {
        /// When asking is allowed again.
        retry_after: Duration,
    },
    /// The platform did not answer.
    #[error("gateway cannot be asked for")]
    Call(#[from] RestError),
    /// The platform answered and said no; [`Answer::action`] says what follows.
    #[error("platform refused to name a gateway: HTTP status {}, code {:?}", .0.status, .0.code)]
    Refused(Box<Answer>),
    /// The platform's answer has no address in it.
    #[error("answer with HTTP status {status} names no gateway")]
    Unreadable {
        /// The answer's status.
        status: u16,
    },
    /// The address may not be connected to: the answer is not the platform's, or its hosts moved.
    #[error("gateway is not connected to")]
    Host(#[from] HostError),
}

#[derive(Deserialize)]
struct Body {
    url: String,
    #[serde(default)]
    shards: Value,
    #[serde(default)]
    session_start_limit: Option<Limit>,
}

#[derive(Deserialize)]
struct Limit {
    #[serde(default)]
    total: Value,
    #[serde(default)]
    remaining: Value,
    #[serde(default)]
    reset_after: Value,
    #[serde(default)]
    max_concurrency: Value,
}

impl GatewayBot {
    pub(super) fn call() -> Call {
        Call::get(GATEWAY_BOT_PATH, GATEWAY_BOT_PATH)
    }

    /// Reads an answer. Numbers of odd type or size are taken as far as they make sense.
    pub(super) fn read(answer: &Answer, hosts: &Hosts) -> Result<Self, DiscoveryError> {
        let status = answer.status;
        if status != 200 || answer.codes().any(|code| code != 0) {
            return Err(DiscoveryError::Refused(Box::new(answer.clone())));
        }
        let unreadable = |_| DiscoveryError::Unreadable { status };
        let body: Body = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        hosts.check(&body.url)?;
        let limit = body.session_start_limit.map(|limit| SessionLimit {
            total: bounded(&limit.total),
            remaining: bounded(&limit.remaining),
            reset_after: Duration::from_millis(bounded::<u32>(&limit.reset_after).into()),
            max_concurrency: bounded::<u16>(&limit.max_concurrency).max(1),
        });
        Ok(Self { url: body.url, shards: bounded::<u16>(&body.shards).max(1), limit })
    }
}

/// A number as near to what was sent as the type allows; 0 of what is no number.
fn bounded<T: TryFrom<u64> + Bound>(value: &Value) -> T {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    T::try_from(number.unwrap_or(0)).unwrap_or(T::LARGEST)
}

trait Bound {
    const LARGEST: Self;
}

impl Bound for u16 {
    const LARGEST: Self = Self::MAX;
}

impl Bound for u32 {
    const LARGEST: Self = Self::MAX;
}

/// One bot's memory of its gateway. Whoever comes while another asks waits for that answer.
#[derive(Debug, Default)]
pub(super) struct Discovery(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: Option<(Instant, Arc<GatewayBot>)>,
    asked: VecDeque<Instant>,
}

impl Discovery {
    /// Answers from memory, or asks if that is older than `max_age` and asking is allowed.
    pub(super) async fn ask(
        &self,
        max_age: Duration,
        ask: impl AsyncFnOnce() -> Result<GatewayBot, DiscoveryError>,
    ) -> Result<Arc<GatewayBot>, DiscoveryError> {
        let mut known = self.0.lock().await;
        let now = Instant::now();
        if let Some((at, answer)) = &known.last
            && now.saturating_duration_since(*at) <= max_age
        {
            return Ok(answer.clone());
        }
        known.asked.retain(|at| now.saturating_duration_since(*at) < CALLS_WINDOW);
        if known.asked.len() >= CALLS_MAX {
            let retry_after = known.asked[0] + CALLS_WINDOW - now;
            return Err(DiscoveryError::Limited { retry_after });
        }
        known.asked.push_back(now);
        let answer = Arc::new(ask().await?);
        known.last = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }
}
