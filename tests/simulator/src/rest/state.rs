//! What the REST side remembers of each bot: ledgers, messages, uploads, who refuses what.
//!
//! Everything here is bounded; at the bound the oldest is forgotten. No lock is held across a wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use qqrelay_proto::id::{AppId, Scene, Scope};
use serde_json::Value;

use super::place::{is_message, scope_of};
use crate::app::App;
use crate::clock::WallMs;
use crate::events::Event;
use crate::lock;
use crate::rules::Limits;
use crate::rules::proactive::Proactive;
use crate::rules::rates::Rates;
use crate::rules::recent::Recent;
use crate::rules::reply::{Repliable, Replies, ReplyTo};
use crate::rules::standing::Standing;
use crate::rules::stream::Stream;
use crate::rules::wakeup::Wakeup;

/// Users, groups and channels remembered of one bot.
const PLACES_MAX: usize = 100_000;
/// Messages, uploads, interactions, reactions remembered of one bot.
const THINGS_MAX: usize = 50_000;

/// What the REST side remembers.
#[derive(Debug)]
pub struct RestState {
    limits: Limits,
    bots: Mutex<HashMap<AppId, Bot>>,
}

/// What it remembers of one bot.
#[derive(Debug)]
pub(super) struct Bot {
    pub(super) replies: Replies,
    pub(super) proactive: Proactive,
    pub(super) rates: Rates,
    pub(super) standings: Recent<Scope, Standing>,
    pub(super) wakeups: Recent<String, Wakeup>,
    /// Messages that the bot sent and people see, by id.
    pub(super) sent: Recent<String, SentMessage>,
    /// Guild messages that the bot was told of, by id.
    pub(super) seen: Recent<String, Arc<Value>>,
    pub(super) uploads: Recent<String, Upload>,
    pub(super) streams: Recent<String, OpenStream>,
    pub(super) interactions: Recent<String, Interaction>,
    /// The guild of each channel that the bot has heard of.
    pub(super) channels: Recent<String, String>,
    /// The bot's own reactions.
    pub(super) reactions: Recent<Reaction, ()>,
    /// Pinned messages of each channel, oldest first.
    pub(super) pins: Recent<String, Vec<String>>,
    /// Messages per place so far: the next one's `seq_in_channel`.
    pub(super) counts: Recent<Scope, u64>,
}

/// A message that people see.
#[derive(Debug, Clone)]
pub(super) struct SentMessage {
    pub(super) scope: Scope,
    pub(super) at: WallMs,
    /// The object that reading it answers.
    pub(super) body: Value,
}

/// An uploaded file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upload {
    /// The only scene that it can be sent in.
    pub(super) scene: Scene,
    pub(super) at: WallMs,
}

/// A message that is still being written.
#[derive(Debug, Clone)]
pub(super) struct OpenStream {
    pub(super) scope: Scope,
    pub(super) stream: Stream,
}

/// Whether an interaction was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interaction {
    Waiting,
    Answered,
}

/// One emoji beneath one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Reaction {
    pub(super) channel: String,
    pub(super) message: String,
    pub(super) kind: String,
    pub(super) emoji: String,
}

impl RestState {
    /// A state that knows nothing yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), bots: Mutex::default() }
    }

    /// An event is about to be pushed: what may be replied to it is known from here on.
    pub fn pushed(&self, app: &App, event: &Event, now: WallMs) {
        self.with(&app.id, |bot| bot.learn(event, now));
    }

    /// Sets how a bot stands with a user or group, as an event about it would.
    pub fn set_standing(&self, app: &AppId, scope: Scope, standing: Standing) {
        self.with(app, |bot| bot.standings.insert(scope, standing));
    }

    /// Whether an interaction belongs to another bot than `app`.
    pub(super) fn is_anothers_interaction(&self, app: &AppId, id: &str) -> bool {
        let id = id.to_owned();
        let bots = lock(&self.bots);
        bots.iter().any(|(owner, bot)| owner != app && bot.interactions.contains(&id))
    }

    /// The rules in force.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Works with one bot's memory.
    pub(super) fn with<T>(&self, app: &AppId, work: impl FnOnce(&mut Bot) -> T) -> T {
        let mut bots = lock(&self.bots);
        if let Some(bot) = bots.get_mut(app) {
            return work(bot);
        }
        work(bots.entry(app.clone()).or_insert_with(|| Bot::new(&self.limits)))
    }
}

impl Bot {
    fn new(limits: &Limits) -> Self {
        Self {
            replies: Replies::new(limits.reply.clone()),
            proactive: Proactive::new(limits.proactive.clone()),
            rates: Rates::new(&limits.rate),
            standings: Recent::new(PLACES_MAX),
            wakeups: Recent::new(PLACES_MAX),
            sent: Recent::new(THINGS_MAX),
            seen: Recent::new(THINGS_MAX),
            uploads: Recent::new(THINGS_MAX),
            streams: Recent::new(THINGS_MAX),
            interactions: Recent::new(THINGS_MAX),
            channels: Recent::new(PLACES_MAX),
            reactions: Recent::new(THINGS_MAX),
            pins: Recent::new(PLACES_MAX),
            counts: Recent::new(PLACES_MAX),
        }
    }

    fn learn(&mut self, event: &Event, now: WallMs) {
        let (t, d) = (&*event.t, &*event.d);
        if let (Some(channel), Some(guild)) = (d["channel_id"].as_str(), d["guild_id"].as_str()) {
            self.channels.insert(channel.to_owned(), guild.to_owned());
        }
        if t == "INTERACTION_CREATE"
            && let Some(id) = d["id"].as_str()
        {
            self.interactions.entry(&id.to_owned(), || Interaction::Waiting);
        }
        let Some(scope) = scope_of(t, d) else { return };
        if let Some(standing) = Standing::after(t) {
            self.standings.insert(scope.clone(), standing);
        }
        if !is_message(t) {
            if let Some(id) = &event.id {
                let repliable = Repliable::of_event(t, scope.scene);
                self.replies.learn(ReplyTo::Event(id.to_string()), scope, repliable, now);
            }
            return;
        }
        if scope.scene == Scene::C2c {
            self.wakeups.entry(&scope.id.to_string(), Wakeup::default).wrote(now);
        }
        let Some(id) = d["id"].as_str() else { return };
        if matches!(scope.scene, Scene::Channel | Scene::Dm) {
            self.seen.insert(id.to_owned(), Arc::clone(&event.d));
        }
        self.replies.learn(ReplyTo::Message(id.to_owned()), scope, Repliable::Yes, now);
    }
}
