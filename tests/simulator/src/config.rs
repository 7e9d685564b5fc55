//! How a simulated platform is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::AppConfig;
use crate::flood::FloodConfig;
use crate::journal::JournalConfig;
use crate::rules::Limits;
use crate::scenario::Scenario;
use crate::shard::GrouplessRule;
use crate::span;

/// Everything about a platform. The default is the real one's behaviour as far as the official SDKs
/// can live with it, without any bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bots that exist.
    pub apps: Vec<AppConfig>,
    /// The number of shards it recommends.
    pub shards: u32,
    /// The rules of the REST side.
    pub limits: Limits,
    /// The rules of the gateway.
    pub gateway: GatewayRules,
    /// What a session keeps for those who resume.
    pub replay: Replay,
    /// What Hello announces.
    #[serde(with = "span")]
    pub heartbeat_interval: Duration,
    /// How long an access token holds.
    #[serde(with = "span")]
    pub token_life: Duration,
    /// The log for checkers.
    pub journal: JournalConfig,
    /// Where all chance comes from.
    pub seed: u64,
    /// Whether sessions are flooded with events, and how fast.
    pub flood: Option<FloodConfig>,
    /// What happens by itself.
    pub scenario: Option<Scenario>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            apps: Vec::new(),
            shards: 1,
            limits: Limits::default(),
            gateway: GatewayRules::default(),
            replay: Replay::default(),
            heartbeat_interval: Duration::from_millis(45_000),
            token_life: Duration::from_secs(7_200),
            journal: JournalConfig::default(),
            seed: 1,
            flood: None,
            scenario: None,
        }
    }
}

impl Config {
    /// Enforces also what the official SDKs overstep: identify pacing and count, the rate of
    /// gateway look-ups, and the end of the old token scheme.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.gateway.identify = Enforcement::Enforced;
        self.gateway.discovery = Enforcement::Enforced;
        self.gateway.legacy_scheme = LegacyScheme::Refused;
        self.gateway.normal_close = NormalClose::EndsSession;
        self
    }

    /// Floods every session, at so many events a second over all of them or, for 0, as fast as they
    /// are taken. The REST side then limits nothing, because it does not remember a flood's messages
    /// one by one.
    #[must_use]
    pub fn flooded(mut self, events_per_second: u64) -> Self {
        self.flood = Some(FloodConfig::of(events_per_second));
        self.limits = Limits::off();
        self
    }
}

/// Whether a limit is only counted or also enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// Counted, and told where the platform tells it.
    Counted,
    /// Refused beyond it.
    Enforced,
}

/// The old `Bot <id>.<token>` scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegacyScheme {
    /// It works, as until the end of 2025: the Node SDK knows no other.
    Accepted,
    /// It is answered 11245.
    Refused,
}

/// What a client that closes with 1000 or 1001 on its own account does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormalClose {
    /// Nothing: it can be resumed.
    KeepsSession,
    /// It ends it. Nobody has documented it, so a client had better not rely on the other.
    EndsSession,
}

/// What happens when a session that has a socket is resumed on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondSocket {
    /// The newest has it; the older one is closed with 4902.
    NewestWins,
    /// The older one keeps it; the newest is closed with 4902.
    OldestWins,
}

/// How an IDENTIFY or RESUME is turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Op 9 `false`, then a close with this code.
    InvalidSession(u16),
    /// Op 9 `true`, then a close with this code.
    ComeAgain(u16),
    /// A close with this code alone.
    Close(u16),
    /// The bytes just end.
    HangUp,
}

/// The rules of the gateway's sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayRules {
    /// IDENTIFYs: `max_concurrency` in 5 s, and so many in a day.
    pub identify: Enforcement,
    /// IDENTIFYs that may start within 5 s; told by `/gateway/bot`, at least 1.
    pub max_concurrency: u32,
    /// IDENTIFYs in 24 h; told by `/gateway/bot`.
    pub identifies_a_day: u32,
    /// The rate of gateway look-ups: 2 a minute, 10 at once.
    pub discovery: Enforcement,
    /// Silence after which a socket is closed with 4009. Where nothing is said, two intervals, and
    /// at least a minute, because botpy beats every 30 s whatever Hello said.
    #[serde(with = "span::maybe")]
    pub heartbeat_timeout: Option<Duration>,
    /// How long a socket may live without IDENTIFY or RESUME.
    #[serde(with = "span")]
    pub handshake_timeout: Duration,
    /// Frames a client may send in 60 s before it is closed with 4008; absent is any number.
    pub frames_a_minute: Option<u32>,
    /// How long a socket lives before op 7 and 4009: 30 minutes in production, absent is for ever.
    #[serde(with = "span::maybe")]
    pub cycle: Option<Duration>,
    /// How long after op 7 or op 9 the platform closes by itself.
    #[serde(with = "span")]
    pub close_delay: Duration,
    /// Two sockets for one session.
    pub second_socket: SecondSocket,
    /// The old token scheme.
    pub legacy_scheme: LegacyScheme,
    /// A close with 1000 or 1001 by the client.
    pub normal_close: NormalClose,
    /// A RESUME of a session that there is not, or no longer. The default is what all official SDKs
    /// understand: botpy gives up only after op 9, the Node SDK only after the close.
    pub unknown_session: Refusal,
    /// A RESUME from a sequence that was never given out.
    pub bad_seq: Refusal,
    /// A RESUME from a sequence whose successors are no longer kept.
    pub too_old: Refusal,
    /// The shard of events without a guild.
    pub groupless: GrouplessRule,
}

impl Default for GatewayRules {
    fn default() -> Self {
        Self {
            identify: Enforcement::Counted,
            max_concurrency: 1,
            identifies_a_day: 1_000,
            discovery: Enforcement::Counted,
            heartbeat_timeout: None,
            handshake_timeout: Duration::from_secs(60),
            frames_a_minute: Some(120),
            cycle: None,
            close_delay: Duration::from_millis(200),
            second_socket: SecondSocket::NewestWins,
            legacy_scheme: LegacyScheme::Accepted,
            normal_close: NormalClose::KeepsSession,
            unknown_session: Refusal::InvalidSession(4006),
            bad_seq: Refusal::InvalidSession(4007),
            too_old: Refusal::InvalidSession(4006),
            groupless: GrouplessRule::Hash,
        }
    }
}

/// What a session keeps for those who resume. The platform's own depth is not documented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// Frames kept after they were sent.
    pub frames: usize,
    /// How long they are kept, and how long a session without a socket lives.
    #[serde(with = "span")]
    pub window: Duration,
    /// Frames that may wait for a slow socket; at the bound it is closed with 4009.
    pub waiting: usize,
    /// Whether a RESUMED frame is sent again as part of a later replay.
    pub resumed: ResumedFrames,
}

/// What becomes of a RESUMED frame, which has a sequence of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumedFrames {
    /// Kept like any other frame, so that a replay has no holes.
    Kept,
    /// Not kept: a later replay has a hole at its sequence.
    Forgotten,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            frames: 1_000,
            window: Duration::from_secs(300),
            waiting: 100_000,
            resumed: ResumedFrames::Kept,
        }
    }
}
