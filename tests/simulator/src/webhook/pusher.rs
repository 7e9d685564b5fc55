//! Posts events to callback URLs, again and again until they are taken or patience is at its end.
//!
//! Every callback of an event carries the same id and its own timestamp. Nothing here waits for a
//! slow receiver but the event itself: the order of callbacks is not promised, as on the platform.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use qqrelay_proto::id::AppId;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::key::CallbackKey;
use crate::app::AppHandle;
use crate::events::Event;
use crate::journal::Entry;
use crate::platform::Platform;
use crate::rules::callback::{CallbackLimits, acknowledged};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What the journal calls the validation of a URL, which has no event.
const VALIDATION: &str = "op 13";

/// Makes the callbacks of all bots. A platform without callback URLs never builds its HTTP client.
#[derive(Debug, Default)]
pub struct Webhooks {
    line: OnceLock<Line>,
    /// The `s` of the last callback, which means nothing to anybody.
    serial: AtomicU64,
    dropped: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What callbacks share once there are any.
#[derive(Debug, Clone)]
struct Line {
    client: reqwest::Client,
    limits: CallbackLimits,
    /// Turns: callbacks that may be under way.
    turns: Arc<Semaphore>,
    /// Room: events that may wait.
    room: Arc<Semaphore>,
}

/// Why a callback URL was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// A bot without a secret can sign nothing.
    #[error("the bot has no secret")]
    NoSecret,
    /// The request was not answered in time, or not at all.
    #[error("the callback URL did not answer")]
    Unanswered(#[source] reqwest::Error),
    /// The answer has the wrong status.
    #[error("the callback URL answered with status {0}")]
    Status(u16),
    /// The answer does not return the token.
    #[error("the callback URL did not return the token it was given")]
    WrongToken,
    /// The answer's signature is not the bot's.
    #[error("the callback URL's signature does not hold")]
    WrongSignature,
}

impl Webhooks {
    /// Calls an event back to the bot's URL, where it has one; returns at once.
    pub fn push(&self, platform: &Arc<Platform>, app: &AppHandle, event: &Event, injection: u64) {
        let (Some(url), Some(key)) = (&app.webhook, CallbackKey::new(&app.secret)) else { return };
        let line = self.line(platform).clone();
        let Ok(room) = Arc::clone(&line.room).try_acquire_owned() else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let callback = Callback {
            app: app.id.clone(),
            key,
            url: url.clone(),
            event_id: event.id.as_deref().unwrap_or_default().to_owned(),
            body: event.envelope(1 + self.serial.fetch_add(1, Ordering::Relaxed)),
            injection: Some(injection),
        };
        let (platform, stop) = (Arc::clone(platform), self.stop.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(line.deliver(&platform, callback, room)).await;
        });
    }

    /// Asks a callback URL to prove that it knows the bot's secret, as saving it in the portal does.
    ///
    /// # Errors
    /// It did not answer, or not with the token and a signature that holds.
    pub async fn validate(
        &self,
        platform: &Arc<Platform>,
        app: &AppHandle,
        url: &str,
    ) -> Result<(), ValidationError> {
        let key = CallbackKey::new(&app.secret).ok_or(ValidationError::NoSecret)?;
        let token = platform.dice.hex(20);
        let event_ts = timestamp(platform);
        let body = json!({"op": 13, "d": {"plain_token": token, "event_ts": event_ts}}).to_string();
        let callback = Callback {
            app: app.id.clone(),
            key: key.clone(),
            url: url.to_owned(),
            event_id: VALIDATION.to_owned(),
            body,
            injection: None,
        };
        let answer = self.line(platform).post(platform, &callback).await;
        let status = answer.as_ref().ok().map(|(status, _)| *status);
        let verdict = match answer {
            Err(error) => Err(ValidationError::Unanswered(error)),
            Ok((200, body)) => judge(&key, &token, &event_ts, &body),
            Ok((status, _)) => Err(ValidationError::Status(status)),
        };
        callback.note(platform, 1, status, verdict.is_ok());
        verdict
    }

    /// Events that found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Gives up what is under way and waits until it is gone.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn line(&self, platform: &Platform) -> &Line {
        self.line.get_or_init(|| Line::new(platform.config.limits.callback.clone()))
    }
}

/// One event on its way to one URL.
#[derive(Debug)]
struct Callback {
    app: AppId,
    key: CallbackKey,
    url: String,
    event_id: String,
    body: String,
    injection: Option<u64>,
}

impl Callback {
    fn note(&self, platform: &Platform, attempt: u32, status: Option<u16>, acknowledged: bool) {
        platform.journal.record(Entry::Webhook {
            app: self.app.clone(),
            event_id: self.event_id.clone(),
            attempt,
            status,
            acknowledged,
            injection: self.injection,
        });
    }
}

impl Line {
    fn new(limits: CallbackLimits) -> Self {
        // Somebody else in this process may have installed one; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent("QQBot-Callback")
            .timeout(limits.patience)
            .redirect(reqwest::redirect::Policy::none())
            // Callbacks go to the machine at hand; a proxy from the environment would break them.
            .no_proxy()
            .build()
            .expect("a client with a provider and no certificates of its own can be built");
        Self {
            client,
            turns: Arc::new(Semaphore::new(limits.at_once.max(1))),
            room: Arc::new(Semaphore::new(limits.waiting.max(1))),
            limits,
        }
    }

    /// Sends until it is taken or the repeats are used up. The turn is given back between tries, so
    /// that a dead receiver does not hold up the others.
    async fn deliver(&self, platform: &Platform, callback: Callback, _room: OwnedSemaphorePermit) {
        for attempt in 1..=1 + self.limits.repeats {
            if attempt > 1 {
                tokio::time::sleep(self.limits.pause).await;
            }
            let turn = self.turns.acquire().await.expect("the semaphore is never closed");
            let answer = self.post(platform, &callback).await.ok();
            drop(turn);
            let taken = answer.as_ref().is_some_and(|(status, body)| acknowledged(*status, body));
            callback.note(platform, attempt, answer.map(|(status, _)| status), taken);
            if taken {
                return;
            }
        }
    }

    async fn post(
        &self,
        platform: &Platform,
        callback: &Callback,
    ) -> Result<(u16, Vec<u8>), reqwest::Error> {
        let timestamp = timestamp(platform);
        let signature = callback.key.sign(&timestamp, callback.body.as_bytes());
        let mut response = self
            .client
            .post(&callback.url)
            .header("Content-Type", "application/json")
            .header("X-Bot-Appid", callback.app.as_str())
            .header("X-Signature-Ed25519", signature)
            .header("X-Signature-Timestamp", timestamp)
            .header("X-Tps-trace-ID", platform.dice.hex(32).to_lowercase())
            .body(callback.body.clone())
            .send()
            .await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok((response.status().as_u16(), body))
    }
}

fn timestamp(platform: &Platform) -> String {
    (platform.now() / 1_000).to_string()
}

fn judge(
    key: &CallbackKey,
    token: &str,
    event_ts: &str,
    body: &[u8],
) -> Result<(), ValidationError> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if answer["plain_token"] != token {
        return Err(ValidationError::WrongToken);
    }
    let signature = answer["signature"].as_str().unwrap_or_default();
    if !key.verify(event_ts, token.as_bytes(), signature) {
        return Err(ValidationError::WrongSignature);
    }
    Ok(())
}
