//! Where a bot's sockets go: the platform's answer to `GET /gateway/bot`, kept for a while and for
//! all processes.
//!
//! The platform takes two of these calls a minute, and every reconnecting shard of a bot would like
//! to make one. Nobody here makes a third.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::bucket::{Per, Quota};
use qqrelay_proto::id::AppId;
use qqrelay_proto::identify::StartLimit;
use qqrelay_proto::profile::GATEWAY_BOT_PATH;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::answer::Answer;
use super::client::Call;
use super::error::RestError;
use super::hosts::{HostError, Hosts};
use crate::state::{Admission, GatewayAnswer, State, Want};

/// Calls of one process in any [`CALLS_WINDOW`].
///
/// Source: PLATFORM.md, "gateway discovery".
const CALLS_MAX: usize = 2;

/// The platform's limit is per minute.
const CALLS_WINDOW: Duration = Duration::from_secs(60);

/// What all processes together may ask: in no minute more than [`CALLS_MAX`].
const SHARED_CALLS: (&str, Quota) = ("gateway_bot", {
    let quota = Quota::new(1, Per::Minute, CALLS_MAX as u32);
    quota.expect("both are from 1 to a million")
});

/// How long an answer is kept for other processes: longer than any of them takes an old one.
const SHARED_FOR: Duration = Duration::from_secs(60 * 60);

/// How long another process's answer is waited for, and how often it is looked for.
const ANOTHER_ASKS: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the platform says of a bot's sockets.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it said. The address is to be used exactly as given; its host is believed.
    pub answer: Arc<GatewayAnswer>,
    /// When this process asked; `None` where another did.
    pub asked: Option<Instant>,
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

pub(super) fn call() -> Call {
    Call::get(GATEWAY_BOT_PATH, GATEWAY_BOT_PATH)
}

/// Reads an answer. Numbers of odd type or size are taken as far as they make sense.
pub(super) fn read(answer: &Answer, hosts: &Hosts) -> Result<GatewayAnswer, DiscoveryError> {
    let status = answer.status;
    if status != 200 || answer.codes().any(|code| code != 0) {
        return Err(DiscoveryError::Refused(Box::new(answer.clone())));
    }
    let unreadable = |_| DiscoveryError::Unreadable { status };
    let body: Body = serde_json::from_slice(&answer.body).map_err(unreadable)?;
    hosts.check(&body.url)?;
    let limit = body.session_start_limit.map(|limit| StartLimit {
        total: bounded(&limit.total),
        remaining: bounded(&limit.remaining),
        reset_after: Duration::from_millis(bounded::<u32>(&limit.reset_after).into()),
        max_concurrency: bounded::<u32>(&limit.max_concurrency).max(1),
    });
    Ok(GatewayAnswer { url: body.url, shards: bounded::<u16>(&body.shards).max(1), limit })
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
pub(super) struct Discovery(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    last: Option<(Instant, Found)>,
    asked: VecDeque<Instant>,
}

/// Where processes find each other's answers, and for which bot.
pub(super) struct Shared<'a> {
    pub(super) state: &'a dyn State,
    pub(super) app: &'a AppId,
    pub(super) hosts: &'a Hosts,
}

impl Discovery {
    /// Answers from memory, this process's or everybody's, or asks if that is older than `max_age` and
    /// asking is allowed.
    pub(super) async fn ask(
        &self,
        max_age: Duration,
        shared: Option<Shared<'_>>,
        ask: impl AsyncFnOnce() -> Result<GatewayAnswer, DiscoveryError>,
    ) -> Result<Found, DiscoveryError> {
        let mut memory = self.0.lock().await;
        if let Some((at, found)) = &memory.last
            && at.elapsed() <= max_age
        {
            return Ok(found.clone());
        }
        if let Some(shared) = &shared
            && let Some((at, answer)) = shared.find(max_age).await?
        {
            let found = Found { answer: Arc::new(answer), asked: None };
            memory.last = Some((at, found.clone()));
            return Ok(found);
        }
        let now = Instant::now();
        memory.asked.retain(|at| now.saturating_duration_since(*at) < CALLS_WINDOW);
        if memory.asked.len() >= CALLS_MAX {
            let retry_after = memory.asked[0] + CALLS_WINDOW - now;
            return Err(DiscoveryError::Limited { retry_after });
        }
        memory.asked.push_back(now);
        let answer = ask().await?;
        if let Some(shared) = &shared {
            shared.share(&answer).await;
        }
        let found = Found { answer: Arc::new(answer), asked: Some(now) };
        memory.last = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

impl Shared<'_> {
    /// Another process's answer and when it was given; `None` where this one may ask itself. While the
    /// state is away every process counts its own calls.
    async fn find(
        &self,
        max_age: Duration,
    ) -> Result<Option<(Instant, GatewayAnswer)>, DiscoveryError> {
        let (bucket, quota) = SHARED_CALLS;
        let deadline = Instant::now() + ANOTHER_ASKS;
        loop {
            let Ok(known) = self.state.gateway(self.app).await else { return Ok(None) };
            let known = known
                .filter(|(answer, age)| *age <= max_age && self.hosts.check(&answer.url).is_ok());
            if let Some((answer, age)) = known {
                let now = Instant::now();
                return Ok(Some((now.checked_sub(age).unwrap_or(now), answer)));
            }
            match self.state.admit(self.app, &[Want { bucket, quota }]).await {
                Ok(Admission::Admitted) | Err(_) => return Ok(None),
                Ok(Admission::RetryAfter { wait, .. }) if Instant::now() >= deadline => {
                    return Err(DiscoveryError::Limited { retry_after: wait });
                }
                Ok(Admission::RetryAfter { .. }) => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn share(&self, answer: &GatewayAnswer) {
        if let Err(error) = self.state.put_gateway(self.app, answer, SHARED_FOR).await {
            tracing::debug!(%error, "the gateway's address is not shared");
        }
    }
}
