//! The pool itself: bots, their tokens, and one HTTP client under all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use qqrelay_proto::code::Action;
use qqrelay_proto::command;
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::token::Current;
use reqwest::{Client, redirect, retry};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::Answer;
use super::body;
use super::discovery::{self, Discovery, DiscoveryError, Found};
use super::endpoint::Fetcher;
use super::error::RestError;
use super::hosts::Endpoints;
use super::metrics::Metrics;
use super::token::TokenSource;
use crate::config::{Egress, Secret};
use crate::state::State;
use crate::store::Clock;

/// How long calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// In all, to the last byte of the answer.
    pub total: Duration,
}

impl Default for Limits {
    /// The documents ask for 5 s and more: a message may appear although the answer is late.
    ///
    /// Source: PLATFORM.md, "calls".
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: Duration::from_secs(10) }
    }
}

impl From<&Egress> for Limits {
    fn from(egress: &Egress) -> Self {
        Self { connect: egress.connect_timeout, total: egress.request_timeout }
    }
}

/// Connections that have been idle for longer are not used again: a server that closes one just as
/// a request is written leaves us not knowing what became of it.
const IDLE: Duration = Duration::from_secs(20);

/// Calls of one bot at once: at its rates and answers within a second, more than it can make. Above
/// them there would be a connection for each place that is answered.
const CALLS_MAX: usize = 128;

/// Idle connections that are kept for each host. With fewer than are used at once, every other call
/// pays for a connection of its own, which is most of what it costs.
const IDLE_MAX: usize = 2 * CALLS_MAX;

const UNION_APPID: HeaderName = HeaderName::from_static("x-union-appid");

/// One call, short of host and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// The path with names in place of ids, `/v2/groups/{group_openid}/messages`: a metric label,
    /// and therefore one of a closed set.
    pub route: &'static str,
    /// The path with its ids percent-encoded, from the first slash, query included.
    pub path: String,
    /// JSON, where there is any.
    pub body: Option<Bytes>,
}

impl Call {
    /// A call without a body.
    #[must_use]
    pub fn get(route: &'static str, path: impl Into<String>) -> Self {
        Self { method: Method::GET, route, path: path.into(), body: None }
    }
}

impl From<command::Request> for Call {
    fn from(request: command::Request) -> Self {
        let method = match request.method {
            command::Method::Post => Method::POST,
            command::Method::Put => Method::PUT,
        };
        let route = request.route.template();
        Self { method, route, path: request.path, body: Some(request.body) }
    }
}

/// What the bots of a pool share with other processes.
#[derive(Clone)]
pub struct Sharing {
    /// Where tokens are kept, sealed.
    pub state: Arc<dyn State>,
    /// This process.
    pub owner: OwnerId,
}

/// Calls of the platform, for all bots of a process. Clones share everything.
#[derive(Clone)]
pub struct Pool {
    http: Client,
    endpoints: Arc<Endpoints>,
    bots: Arc<RwLock<HashMap<AppId, Arc<Bot>>>>,
    sharing: Option<Sharing>,
    metrics: Metrics,
    clock: Clock,
}

struct Bot {
    secret: Secret,
    /// Turns to make a call.
    turns: Semaphore,
    token: TokenSource,
    discovery: Discovery,
    appid_header: HeaderValue,
}

/// The pool could not be built.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// No HTTP client: the system has no usable TLS roots, as a rule.
    #[error("no http client")]
    Client(#[source] reqwest::Error),
    /// A bot's id cannot stand in a header, which the configuration's check excludes.
    #[error("app id {0} cannot stand in a header")]
    AppId(AppId),
}

impl Pool {
    /// Builds the pool. Nothing is sent before the first call.
    ///
    /// Must run inside a tokio runtime, whose timers then renew the tokens that were asked for.
    ///
    /// # Errors
    ///
    /// The process cannot make calls at all; say so and end.
    pub fn new(
        endpoints: Endpoints,
        limits: Limits,
        bots: impl IntoIterator<Item = (AppId, Secret)>,
        sharing: Option<Sharing>,
        metrics: Metrics,
    ) -> Result<Self, PoolError> {
        let http = client(limits).map_err(PoolError::Client)?;
        let (endpoints, bots, clock) = (Arc::new(endpoints), bots.into_iter(), Clock::system());
        let pool = Self { http, endpoints, bots: Arc::default(), sharing, metrics, clock };
        pool.set_bots(bots)?;
        Ok(pool)
    }

    /// Calls are made for these bots from now on. Those that were there with the same secret keep
    /// their tokens; calls under way are not touched.
    ///
    /// # Errors
    ///
    /// [`PoolError::AppId`], and nothing has changed.
    pub fn set_bots(
        &self,
        bots: impl IntoIterator<Item = (AppId, Secret)>,
    ) -> Result<(), PoolError> {
        let mut known = self.bots.write().unwrap_or_else(PoisonError::into_inner);
        let bots = bots.into_iter().map(|(app, secret)| {
            let bot = match known.get(&app).filter(|bot| bot.secret == secret) {
                Some(bot) => Arc::clone(bot),
                None => Arc::new(self.new_bot(&app, secret)?),
            };
            Ok((app, bot))
        });
        let bots: HashMap<_, _> = bots.collect::<Result<_, PoolError>>()?;
        for gone in known.keys().filter(|app| !bots.contains_key(app)) {
            self.metrics.forget(gone);
        }
        *known = bots;
        Ok(())
    }

    fn new_bot(&self, app: &AppId, secret: Secret) -> Result<Bot, PoolError> {
        let appid_header =
            HeaderValue::from_str(app.as_str()).map_err(|_| PoolError::AppId(app.clone()))?;
        let fetcher = Fetcher::new(
            self.http.clone(),
            &self.endpoints.token,
            (app.clone(), secret.clone()),
            self.sharing.clone(),
            self.metrics.clone(),
            self.clock.clone(),
        );
        let token = TokenSource::new(fetcher, self.metrics.clone(), self.clock.clone());
        let (turns, discovery) = (Semaphore::new(CALLS_MAX), Discovery::default());
        Ok(Bot { secret, turns, token, discovery, appid_header })
    }

    /// Makes one call for a bot.
    ///
    /// A refused token is renewed and the call repeated once, because the platform did not act on
    /// it; nothing else is ever repeated. Dropping the future may leave a call made.
    ///
    /// # Errors
    ///
    /// The platform did not answer; [`RestError::may_have_acted`] says whether it may have acted.
    pub async fn call(&self, app: &AppId, call: &Call) -> Result<Answer, RestError> {
        let bot = self.bot(app)?;
        let token = bot.token.current().await?;
        let answer = self.send(&bot, &token, call).await?;
        let action = answer.action();
        if !matches!(action, Action::Renew | Action::RenewThenStop) {
            return Ok(answer);
        }
        match bot.token.renewed(token.generation, action).await {
            Some(token) => self.send(&bot, &token, call).await,
            None => Ok(answer),
        }
    }

    /// The bot's access token, for a frame that carries one.
    ///
    /// # Errors
    ///
    /// There is none now.
    pub async fn token(&self, app: &AppId) -> Result<Current, RestError> {
        Ok(self.bot(app)?.token.current().await?)
    }

    /// Says that the platform refused the token of this generation outside of a call, as with
    /// close code 4004. The next [`Pool::token`] waits for a newer word from the token endpoint.
    pub async fn token_refused(&self, app: &AppId, generation: u64) {
        if let Ok(bot) = self.bot(app) {
            bot.token.refused(generation, Action::Renew).await;
        }
    }

    /// Asks where to connect, or answers from memory, of whichever process, if that is at most
    /// `max_age` old.
    ///
    /// # Errors
    ///
    /// No usable answer, or asking again now would break the platform's limit.
    pub async fn gateway(&self, app: &AppId, max_age: Duration) -> Result<Found, DiscoveryError> {
        let (bot, hosts) = (self.bot(app)?, &self.endpoints.hosts);
        let ask = async || {
            let answer = self.call(app, &discovery::call()).await?;
            discovery::read(&answer, hosts)
        };
        let state = self.sharing.as_ref().map(|sharing| &*sharing.state);
        let shared = state.map(|state| discovery::Shared { state, app, hosts });
        bot.discovery.ask(max_age, shared, ask).await
    }

    fn bot(&self, app: &AppId) -> Result<Arc<Bot>, RestError> {
        let bots = self.bots.read().unwrap_or_else(PoisonError::into_inner);
        bots.get(app).cloned().ok_or_else(|| RestError::UnknownBot(app.clone()))
    }

    async fn send(&self, bot: &Bot, token: &Current, call: &Call) -> Result<Answer, RestError> {
        let waiting = self.metrics.waiting();
        let _turn = bot.turns.acquire().await.expect("turns are never over");
        drop(waiting);
        let url = format!("{}{}", self.endpoints.api, call.path);
        let request = self
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, authorization(token))
            .header(UNION_APPID, bot.appid_header.clone());
        let request = match &call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => request,
        };
        let sent = Instant::now();
        let end = self.exchange(request).await;
        let status = end.as_ref().map(|answer| answer.status);
        self.metrics.called(call.route, status, sent.elapsed());
        end
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Answer, RestError> {
        let response = request.send().await.map_err(RestError::of)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let (body, body_end) = body::read(response).await;
        Ok(Answer::new(status, &headers, self.clock.now(), body, body_end))
    }
}

fn authorization(token: &Current) -> HeaderValue {
    let text = format!("QQBot {}", token.token.expose());
    let mut value = HeaderValue::try_from(text).expect("a token is plain ASCII");
    value.set_sensitive(true);
    value
}

fn client(limits: Limits) -> reqwest::Result<Client> {
    // A second call finds a provider installed, and it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_MAX)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .redirect(redirect::Policy::none()) // a token never follows to another host
        .retry(retry::never()) // what is tried again is decided where outcomes are known
        .no_proxy() // egress addresses are on an allow list; a stray variable must not change them
        .user_agent(concat!("qqrelay/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bots = self.bots.read().unwrap_or_else(PoisonError::into_inner);
        let apps: Vec<_> = bots.keys().collect();
        f.debug_struct("Pool").field("api", &self.endpoints.api).field("apps", &apps).finish()
    }
}
