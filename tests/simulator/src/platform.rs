//! The platform behind all of its entrances: bots, tokens, sessions, rules, faults, the journal.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use qqrelay_proto::id::{AppId, SessionId};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, AppHandle};
use crate::clock::{Clock, WallMs};
use crate::config::{Config, LegacyScheme};
use crate::dice::Dice;
use crate::error::ApiError;
use crate::events::{Event, Injection, Maker, intent_of};
use crate::faults::Board;
use crate::flood::Flood;
use crate::gateway::budget::IdentifyBudget;
use crate::gateway::discovery::Lookups;
use crate::gateway::fault::SocketFault;
use crate::gateway::links::Links;
use crate::gateway::session::{Cause, Session};
use crate::gateway::sessions::Sessions;
use crate::journal::Journal;
use crate::lock;
use crate::rest::{self, RestState};
use crate::shard::{Place, Shard};
use crate::token_endpoint::TokenFault;
use crate::tokens::TokenBook;
use crate::webhook::Webhooks;

/// Everything the platform knows, shared by all who serve it.
#[derive(Debug)]
pub struct Platform {
    /// How it was set up.
    pub config: Config,
    /// Its time.
    pub clock: Arc<Clock>,
    /// Its chance; fork it for whatever must be reproducible alone.
    pub dice: Dice,
    /// The log for checkers.
    pub journal: Arc<Journal>,
    /// What shall go wrong.
    pub faults: Faults,
    /// Access tokens.
    pub tokens: TokenBook,
    /// Gateway sessions.
    pub sessions: Sessions,
    /// Gateway sockets.
    pub links: Links,
    /// What is left of each bot's IDENTIFYs.
    pub identifies: IdentifyBudget,
    /// What is left of each bot's gateway look-ups.
    pub lookups: Lookups,
    /// What the REST side remembers.
    pub rest: RestState,
    /// Callbacks.
    pub webhooks: Webhooks,
    /// The flood that sessions get, if any.
    pub flood: Option<Arc<Flood>>,
    /// Everything that runs for the platform.
    pub(crate) tasks: TaskTracker,
    /// Tells all of it to end.
    pub(crate) stop: CancellationToken,
    /// Is cancelled when the scenario has come to its end.
    pub(crate) scenario_ended: CancellationToken,
    address: OnceLock<SocketAddr>,
    told_url: Mutex<Option<String>>,
    shards: AtomicU32,
    connections: AtomicU64,
    apps: BTreeMap<AppId, AppHandle>,
    recent: Mutex<VecDeque<(u64, AppId, Event)>>,
    injections: AtomicU64,
    /// Numbers made-up messages in the order in which they are made up.
    serials: AtomicU64,
}

/// The boards of armed faults.
#[derive(Debug)]
pub struct Faults {
    /// Of REST calls.
    pub rest: Board<rest::Fault>,
    /// Of token requests.
    pub token: Board<TokenFault>,
    /// Of sockets that are yet to come.
    pub socket: Board<SocketFault>,
}

/// Where an event went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The injection's number, to push it again.
    pub injection: u64,
    /// Each session that got it, and under which sequence.
    pub placed: Vec<Placed>,
}

/// An event in one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The slice of the session.
    pub shard: Shard,
    /// The session.
    pub session: SessionId,
    /// The sequence it got there.
    pub seq: u64,
}

/// Events that can be pushed again; older ones are forgotten.
const RECENT: usize = 10_000;

impl Platform {
    /// A platform with the bots of the configuration.
    ///
    /// # Errors
    ///
    /// When the journal's file cannot be created.
    pub fn open(config: Config) -> std::io::Result<Arc<Self>> {
        let clock = Arc::new(Clock::new());
        let journal = Arc::new(Journal::open(&config.journal, Arc::clone(&clock))?);
        let seed = |label: &str| Dice::new(config.seed).fork(label);
        let apps = config.apps.iter().map(|app| (app.id.clone(), Arc::new(App::new(app.clone()))));
        Ok(Arc::new(Self {
            dice: seed("platform"),
            faults: Faults {
                rest: Board::new(seed("rest faults")),
                token: Board::new(seed("token faults")),
                socket: Board::new(seed("socket faults")),
            },
            tokens: TokenBook::new(config.token_life, seed("tokens")),
            sessions: Sessions::default(),
            links: Links::default(),
            identifies: IdentifyBudget::default(),
            lookups: Lookups::default(),
            rest: RestState::new(&config.limits),
            webhooks: Webhooks::default(),
            flood: config.flood.clone().map(|flood| Arc::new(Flood::new(flood, &seed("flood")))),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            scenario_ended: CancellationToken::new(),
            address: OnceLock::new(),
            told_url: Mutex::default(),
            shards: AtomicU32::new(config.shards),
            connections: AtomicU64::new(1),
            apps: apps.collect(),
            recent: Mutex::default(),
            injections: AtomicU64::new(1),
            serials: AtomicU64::new(1),
            config,
            clock,
            journal,
        }))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> WallMs {
        self.clock.wall_ms()
    }

    /// Where it listens; the configured address until it does.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.get().copied().unwrap_or(self.config.listen)
    }

    /// Notes where it listens.
    pub(crate) fn listens_at(&self, address: SocketAddr) {
        let known = self.address.set(address).is_err();
        debug_assert!(!known, "a platform listens once");
    }

    /// The gateway address it tells instead of its own.
    #[must_use]
    pub fn told_url(&self) -> Option<String> {
        lock(&self.told_url).clone()
    }

    /// Tells another gateway address from now on; none is its own again.
    pub fn tell_url(&self, url: Option<String>) {
        *lock(&self.told_url) = url;
    }

    /// The number of shards it recommends now.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.shards.load(Ordering::Relaxed).max(1)
    }

    /// Recommends another number of shards from now on.
    pub fn recommend_shards(&self, count: u32) {
        self.shards.store(count, Ordering::Relaxed);
    }

    /// The number of the next gateway socket.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// The bot of this id.
    #[must_use]
    pub fn app(&self, id: &str) -> Option<&AppHandle> {
        self.apps.get(&AppId::from(id))
    }

    /// Every bot, in the order of their ids.
    pub fn apps(&self) -> impl Iterator<Item = &AppHandle> {
        self.apps.values()
    }

    /// Whose REST call this is.
    ///
    /// # Errors
    ///
    /// The documented 401, to be answered as it is.
    ///
    /// Source: spec/auth.md §3, §7.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<AppHandle, ApiError> {
        let refused = |code, message| ApiError::new(StatusCode::UNAUTHORIZED, code, message);
        let presented = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(presented) = presented.filter(|text| !text.is_empty()) else {
            return Err(refused(11241, "token missing"));
        };
        let app = self.credential(presented).map_err(|problem| match problem {
            BadCredential::Malformed => refused(11243, "token wrong"),
            BadCredential::Unknown => refused(11244, "token not exist or expire"),
            BadCredential::Retired => refused(11245, "fixed token disabled"),
        })?;
        if app.standing().ip_blocked {
            return Err(refused(11298, "接口访问源IP不在白名单").with_err_code(40_023_002));
        }
        Ok(app)
    }

    /// Whose credential this is: `QQBot <access token>` or the old `Bot <id>.<token>`.
    ///
    /// # Errors
    ///
    /// When it is nobody's.
    pub fn credential(&self, text: &str) -> Result<AppHandle, BadCredential> {
        match text.split_once(' ') {
            Some(("QQBot", token)) => self.access_token(token),
            Some(("Bot", pair)) => self.legacy_token(pair),
            _ => Err(BadCredential::Malformed),
        }
    }

    /// Whose access token this is.
    ///
    /// # Errors
    ///
    /// When it is nobody's, or no longer holds.
    pub fn access_token(&self, token: &str) -> Result<AppHandle, BadCredential> {
        let owner = self.tokens.owner(token, self.now()).ok_or(BadCredential::Unknown)?;
        self.apps.get(&owner).cloned().ok_or(BadCredential::Unknown)
    }

    fn legacy_token(&self, pair: &str) -> Result<AppHandle, BadCredential> {
        let (id, token) = pair.split_once('.').ok_or(BadCredential::Malformed)?;
        let app = self.app(id).ok_or(BadCredential::Unknown)?;
        if self.config.gateway.legacy_scheme == LegacyScheme::Refused {
            return Err(BadCredential::Retired);
        }
        if app.legacy_token != token {
            return Err(BadCredential::Malformed);
        }
        Ok(Arc::clone(app))
    }

    /// Whether a bot has a session with a socket.
    #[must_use]
    pub fn has_live_session(&self, app: &AppId) -> bool {
        self.sessions.of(app, self.now()).iter().any(|session| session.link().is_some())
    }

    /// How many sessions of all bots have a socket.
    #[must_use]
    pub fn live_sessions(&self) -> usize {
        let live = |session: &&Arc<Session>| session.link().is_some();
        self.sessions.all(self.now()).iter().filter(live).count()
    }

    /// Gives an event to all of a bot's sessions whose shard and intents it belongs to, and to its
    /// callback URL.
    pub fn push(self: &Arc<Self>, app: &AppHandle, event: Event) -> Pushed {
        let injection = self.injections.fetch_add(1, Ordering::Relaxed);
        // First, so that a reply finds its message however fast it is.
        self.rest.pushed(app, &event, self.now());
        self.place(app, event, Cause { injection, repeat_of: None })
    }

    /// Completes what a test asks for, and pushes it.
    pub fn inject(self: &Arc<Self>, app: &AppHandle, injection: &Injection) -> Pushed {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let maker = Maker::new(&self.dice, app, &injection.d, self.now(), serial);
        let event = injection.complete(&maker);
        self.push(app, event)
    }

    /// Pushes a recent event again, under new sequences; none when it is no longer remembered.
    pub fn push_again(self: &Arc<Self>, injection: u64) -> Option<Pushed> {
        let (app, event) = {
            let recent = lock(&self.recent);
            let found = recent.iter().find(|(number, ..)| *number == injection)?;
            (self.apps.get(&found.1).cloned()?, found.2.clone())
        };
        let number = self.injections.fetch_add(1, Ordering::Relaxed);
        Some(self.place(&app, event, Cause { injection: number, repeat_of: Some(injection) }))
    }

    fn place(self: &Arc<Self>, app: &AppHandle, event: Event, cause: Cause) -> Pushed {
        let now = self.now();
        let intent = intent_of(&event.t);
        let place = Place::of(&event.t, &event.d);
        let rule = self.config.gateway.groupless;
        let mut placed = Vec::new();
        for session in self.sessions.of(&app.id, now) {
            let wanted = intent.is_none_or(|bit| session.intents & bit != 0);
            if !wanted || !place.goes_to(session.shard, rule) {
                continue;
            }
            if let Some(seq) = session.push(&event, cause, now) {
                placed.push(Placed { shard: session.shard, session: session.id.clone(), seq });
            }
        }
        if app.webhook.is_some() {
            self.webhooks.push(self, app, &event, cause.injection);
        }
        let mut recent = lock(&self.recent);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back((cause.injection, app.id.clone(), event));
        Pushed { injection: cause.injection, placed }
    }
}

/// Why a credential is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCredential {
    /// It has no form that exists, or the wrong secret.
    Malformed,
    /// No bot has it, or has it any longer.
    Unknown,
    /// It is of the old scheme, which no longer works.
    Retired,
}
