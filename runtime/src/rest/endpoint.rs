//! Fetching an access token: from the shared state, else from the platform's token endpoint.
//!
//! Where there is a shared state, one process of the installation asks the platform and the others
//! take what it got. Without an answer of the state each asks for itself, which is safe: two
//! processes' tokens hold side by side.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use qqrelay_proto::id::AppId;
use qqrelay_proto::profile::TOKEN_PATH;
use qqrelay_proto::token::{AccessToken, Grant, TokenFailure};
use reqwest::Client;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::body;
use super::client::Sharing;
use super::error::RestError;
use super::metrics::Metrics;
use crate::config::Secret;
use crate::state::seal::Seal;
use crate::state::{Flight, SealedToken};
use crate::store::Clock;

/// How long a process may take to fetch a token before another does: a whole call, and some.
const FLIGHT_TTL: Duration = Duration::from_secs(15);

/// How often a process looks whether another has fetched it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A shared token with less than this left is about to be replaced.
///
/// Source: PLATFORM.md, "access token".
const LAST: Duration = Duration::from_secs(60);

/// Fetches one bot's tokens.
pub(super) struct Fetcher {
    http: Client,
    url: String,
    app: AppId,
    secret: Secret,
    share: Option<Share>,
    metrics: Metrics,
    clock: Clock,
}

struct Share {
    sharing: Sharing,
    seal: Seal,
}

impl Fetcher {
    pub(super) fn new(
        http: Client,
        base: &str,
        (app, secret): (AppId, Secret),
        sharing: Option<Sharing>,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let seal = |sharing| Share { sharing, seal: Seal::new(app.clone(), secret.expose()) };
        let share = sharing.map(seal);
        Self { http, url: format!("{base}{TOKEN_PATH}"), app, secret, share, metrics, clock }
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app
    }

    /// Fetches a token. One that another process shares is taken unless it is the one that is
    /// `held`, which is about to end or was refused.
    pub(super) async fn fetch(&self, held: Option<AccessToken>) -> Result<Grant, TokenFailure> {
        let Some(share) = &self.share else { return self.ask().await };
        match self.turn(share, held).await {
            Turn::Theirs(grant) => Ok(grant),
            Turn::Ours => {
                let grant = self.ask().await?;
                self.hand_on(share, &grant).await;
                Ok(grant)
            }
        }
    }

    /// Waits for another process's token, or for being the one to ask.
    async fn turn(&self, share: &Share, held: Option<AccessToken>) -> Turn {
        let (state, owner) = (&share.sharing.state, &share.sharing.owner);
        let give_up = Instant::now() + FLIGHT_TTL;
        loop {
            match state.token(&self.app).await {
                Ok(sealed) => {
                    let grant = sealed.and_then(|sealed| self.open(share, &sealed));
                    let another = |grant: &Grant| held.as_ref() != Some(&grant.token);
                    if let Some(grant) = grant.filter(|g| g.life > LAST && another(g)) {
                        return Turn::Theirs(grant);
                    }
                }
                Err(error) => {
                    debug!(app = %self.app, error = %error, "token is not shared for now");
                    return Turn::Ours;
                }
            }
            match state.token_flight(&self.app, owner, FLIGHT_TTL).await {
                Ok(Flight::Anothers) if Instant::now() < give_up => sleep(LOOK_EVERY).await,
                Ok(Flight::Ours | Flight::Anothers) | Err(_) => return Turn::Ours,
            }
        }
    }

    fn open(&self, share: &Share, sealed: &SealedToken) -> Option<Grant> {
        let text = share.seal.open(&sealed.sealed);
        let text = text.inspect_err(|error| {
            // The secret was changed, or another has it: the endpoint will tell.
            warn!(app = %self.app, error = %error, "shared token cannot be used");
        });
        let token = AccessToken::new(&text.ok()?)?;
        let life = sealed.expires_at.since(self.clock.now());
        Some(Grant { token, life })
    }

    /// Stores a token for the other processes and ends the flight. Losing it costs a request each.
    async fn hand_on(&self, share: &Share, grant: &Grant) {
        let Ok(sealed) = share.seal.seal(grant.token.expose()) else { return };
        let expires_at = self.clock.now().plus(grant.life);
        let token = SealedToken { expires_at, sealed };
        if let Err(error) = share.sharing.state.put_token(&self.app, &token).await {
            debug!(app = %self.app, error = %error, "token is not shared for now");
        }
    }

    /// Asks the platform.
    async fn ask(&self) -> Result<Grant, TokenFailure> {
        let sent = Instant::now();
        let answer = self.exchange().await;
        let end = answer.as_ref().map(|(status, _)| *status);
        self.metrics.called(TOKEN_PATH, end, sent.elapsed());
        match answer {
            Ok((status, body)) => Grant::read(status, &body),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                debug!(app = %self.app, error = %error, cause, "token endpoint did not answer");
                Err(TokenFailure::Unanswered)
            }
        }
    }

    async fn exchange(&self) -> Result<(u16, Bytes), RestError> {
        let body = json!({ "appId": self.app.as_str(), "clientSecret": self.secret.expose() });
        let request = self.http.post(&self.url).header(CONTENT_TYPE, "application/json");
        let response = request.body(body.to_string()).send().await.map_err(RestError::of)?;
        let status = response.status().as_u16();
        Ok((status, body::read(response).await.0))
    }
}

enum Turn {
    /// Another process has one.
    Theirs(Grant),
    /// We ask.
    Ours,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("app", &self.app).field("url", &self.url).finish()
    }
}
