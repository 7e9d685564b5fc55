//! The access token's life: when to fetch one, which one holds, what a refusal of it means.
//!
//! The driver says what happened and when, through [`TokenLife::handle`], drains
//! [`TokenLife::poll`], and wakes again at [`TokenLife::deadline`]. There is one request at a time,
//! and nothing a platform can answer makes a loop of them: asked before the last minute of a
//! token's life it gives the same token back, which is no news but a new date.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::backoff::Doubling;
use crate::code::{self, Action};

/// The platform credential. It is text that nothing prints: `Debug` hides it and there is no
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<str>);

impl AccessToken {
    /// The longest text that is taken for a token, in bytes.
    const MAX: usize = 4096;

    /// Takes a text that can stand in a header; `None` of any other.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits =
            (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The token itself, for the header or frame that carries it and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(hidden)")
    }
}

/// A token as the endpoint gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token.
    pub token: AccessToken,
    /// How long it lives from now on, within what is believed.
    pub life: Duration,
}

/// A token request that brought no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFailure {
    /// No answer came.
    #[error("no answer from the token endpoint")]
    Unanswered,
    /// An answer that is none of the endpoint's: a proxy's page, half a body.
    #[error("answer of the token endpoint with HTTP status {status} cannot be read")]
    Unreadable {
        /// Its HTTP status.
        status: u16,
    },
    /// The endpoint said no.
    #[error("token endpoint refused with code {code}: {meaning}", meaning = meaning(*code))]
    Refused {
        /// Its code.
        code: u32,
    },
}

fn meaning(code: u32) -> &'static str {
    code::token_meaning(code).unwrap_or("a code nobody knows")
}

#[derive(Deserialize)]
struct Answer {
    code: Option<u32>,
    access_token: Option<String>,
    expires_in: Option<Value>,
}

impl Grant {
    /// Lives outside this are not believed. No token of the platform's lives longer than 7,200 s,
    /// and one that is said to be dead was given out all the same.
    const LIFE_MIN_SECS: i64 = 30;
    const LIFE_MAX_SECS: i64 = 7_200;

    /// Reads the endpoint's answer. Failures come with HTTP status 200, too.
    ///
    /// # Errors
    ///
    /// There is no token in it; [`Input::Failed`] knows what follows.
    pub fn read(status: u16, body: &[u8]) -> Result<Self, TokenFailure> {
        let unreadable = TokenFailure::Unreadable { status };
        let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Err(unreadable) };
        if let Some(code) = answer.code.filter(|&code| code != 0) {
            return Err(TokenFailure::Refused { code });
        }
        let token = answer.access_token.as_deref().and_then(AccessToken::new);
        let Some(token) = token.filter(|_| status == 200) else { return Err(unreadable) };
        let secs = answer.expires_in.as_ref().and_then(whole_secs).unwrap_or(Self::LIFE_MIN_SECS);
        let secs = secs.clamp(Self::LIFE_MIN_SECS, Self::LIFE_MAX_SECS);
        Ok(Self { token, life: Duration::from_secs(secs.unsigned_abs()) })
    }
}

/// `expires_in` is a string on the wire and a number in the documents.
fn whole_secs(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().map(|secs| secs as i64))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Something that happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The request brought a token.
    Granted(Grant),
    /// The request brought none.
    Failed(TokenFailure),
    /// A call made with the token of this generation was refused, and the platform's answer asks
    /// for this. What does not ask for another token is passed over.
    Refused {
        /// The token's generation, as [`Current`] had it.
        generation: u64,
        /// What [`code::action`] says of the answer.
        action: Action,
    },
    /// The bot's secret is another now.
    SecretChanged,
}

/// Something the driver must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Ask the endpoint, and say [`Input::Granted`] or [`Input::Failed`].
    Fetch,
    /// Wake a person: this code does not mend itself. The endpoint is asked now and then.
    Park {
        /// The endpoint's code.
        code: u32,
    },
}

/// The token that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// The token.
    pub token: AccessToken,
    /// Which one it is, counted from 1 by this process; say it with a refusal.
    pub generation: u64,
}

/// One bot's token; see the module.
#[derive(Debug)]
pub struct TokenLife {
    held: Option<Held>,
    generations: u64,
    flight: Flight,
    /// When to ask next; while a request is under way, not before it has ended.
    due: Instant,
    /// Requests that failed in a row.
    failures: u32,
    /// Renewals that refusals have forced, not long apart.
    forced: u32,
    forced_at: Option<Instant>,
    parked: bool,
    outputs: VecDeque<Output>,
    /// Share of the spread to wait, in `0.0..1.0`.
    jitter: f64,
}

#[derive(Debug)]
struct Held {
    token: AccessToken,
    generation: u64,
    expires: Instant,
    /// The platform refused it, and no newer word has come from the endpoint.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    None,
    UnderWay,
    /// Under way with a secret that has been replaced.
    Outdated,
}

impl TokenLife {
    /// How long before its end a token is replaced: earlier, the endpoint gives the same one.
    ///
    /// Source: PLATFORM.md, "access token".
    const LAST: Duration = Duration::from_secs(60);
    /// Over this part of the last minute the requests of many bots are spread. What is left is
    /// enough for an endpoint that takes half a minute to answer.
    const SPREAD: Duration = Duration::from_secs(20);
    /// A token is not used in its last moments: calls take time.
    const MARGIN: Duration = Duration::from_secs(5);
    /// Time between two requests that succeeded, whatever lives the endpoint tells.
    const PAUSE: Duration = Duration::from_secs(10);
    /// How often a bot that a person must mend is tried.
    const PROBE: Duration = Duration::from_secs(10 * 60);
    /// Refusals further apart than this have nothing to do with each other.
    const FORGET: Duration = Duration::from_secs(10 * 60);

    /// A bot without a token; one is asked for at once. `jitter` is a share in `0.0..1.0`.
    #[must_use]
    pub fn new(now: Instant, jitter: f64) -> Self {
        debug_assert!((0.0..1.0).contains(&jitter));
        Self {
            held: None,
            generations: 0,
            flight: Flight::None,
            due: now,
            failures: 0,
            forced: 0,
            forced_at: None,
            parked: false,
            outputs: VecDeque::new(),
            jitter,
        }
    }

    /// Applies one input, then asks for a token if it is time.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Tick => {}
            Input::Granted(grant) => self.granted(now, grant),
            Input::Failed(failure) => self.failed(now, &failure),
            Input::Refused { generation, action } => self.refused(now, generation, action),
            Input::SecretChanged => self.secret_changed(now),
        }
        if self.flight == Flight::None && self.due <= now {
            self.flight = Flight::UnderWay;
            self.outputs.push_back(Output::Fetch);
        }
    }

    /// The next thing to do, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to apply the next [`Input::Tick`]; `None` while a request is under way.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.flight == Flight::None).then_some(self.due)
    }

    /// The token to use now; `None` while there is none, or none that the platform takes.
    #[must_use]
    pub fn current(&self, now: Instant) -> Option<Current> {
        let held = self.held.as_ref().filter(|held| !held.refused && now < held.expires)?;
        Some(Current { token: held.token.clone(), generation: held.generation })
    }

    /// When the held token ends, for a gauge.
    #[must_use]
    pub fn expires(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.expires)
    }

    /// Whether a person must mend something before there can be a token.
    #[must_use]
    pub const fn is_parked(&self) -> bool {
        self.parked
    }

    fn granted(&mut self, now: Instant, grant: Grant) {
        let Grant { token, life } = grant;
        let generation = match &self.held {
            Some(held) if held.token == token => held.generation,
            _ => {
                self.generations += 1;
                self.generations
            }
        };
        let expires = now + life.saturating_sub(Self::MARGIN);
        self.held = Some(Held { token, generation, expires, refused: false });
        (self.failures, self.parked) = (0, false);
        let wait = life.saturating_sub(Self::LAST) + Self::SPREAD.mul_f64(self.jitter);
        self.landed(now, now + wait.max(Self::PAUSE));
    }

    fn failed(&mut self, now: Instant, failure: &TokenFailure) {
        self.failures = self.failures.saturating_add(1);
        let wait = match failure {
            TokenFailure::Refused { code } if code::token_action(*code) == Action::Stop => {
                if !self.parked {
                    self.outputs.push_back(Output::Park { code: *code });
                }
                self.parked = true;
                Self::PROBE
            }
            TokenFailure::Refused { .. }
            | TokenFailure::Unanswered
            | TokenFailure::Unreadable { .. } => Doubling::TOKEN.delay(self.failures, self.jitter),
        };
        self.landed(now, now + wait);
    }

    /// The request has ended; the next one is due then, or at once where the secret changed.
    fn landed(&mut self, now: Instant, due: Instant) {
        self.due = if self.flight == Flight::Outdated { now } else { due };
        self.flight = Flight::None;
    }

    fn refused(&mut self, now: Instant, generation: u64, action: Action) {
        let renews =
            matches!(action, Action::Renew | Action::RenewThenStop | Action::RetryOnceThenRenew);
        let Some(held) = self.held.as_mut().filter(|held| held.generation == generation) else {
            return;
        };
        // One refusal counts; those of the other calls that were on their way say nothing new.
        if !renews || held.refused {
            return;
        }
        held.refused = true;
        if self.flight != Flight::None || self.parked {
            return;
        }
        let earlier = self.forced_at.filter(|&at| now.saturating_duration_since(at) < Self::FORGET);
        self.forced = if earlier.is_some() { self.forced.saturating_add(1) } else { 0 };
        let pause = match self.forced {
            0 => Duration::ZERO,
            forced => Doubling::TOKEN.delay(forced, self.jitter),
        };
        self.forced_at = Some(now);
        self.due = self.due.min(now + pause);
    }

    fn secret_changed(&mut self, now: Instant) {
        (self.failures, self.parked, self.due) = (0, false, now);
        if self.flight == Flight::UnderWay {
            self.flight = Flight::Outdated;
        }
    }
}

#[cfg(test)]
mod tests;
