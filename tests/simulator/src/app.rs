//! The bots that exist on the simulated platform.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use qqrelay_proto::id::AppId;
use serde::{Deserialize, Serialize};

use crate::lock;

/// A bot, shared by everything that serves it.
pub type AppHandle = Arc<App>;

/// How a bot is set up in the portal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// The application id, decimal digits.
    pub id: AppId,
    /// The secret that buys access tokens and signs callbacks.
    pub secret: String,
    /// The static token of the old `Bot <id>.<token>` scheme; the secret where nothing is said.
    #[serde(default)]
    pub legacy_token: Option<String>,
    /// The bot's user id, decimal digits; derived from the application id where nothing is said.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The bot's name.
    #[serde(default = "default_name")]
    pub name: String,
    /// Public or private domain.
    #[serde(default)]
    pub domain: Domain,
    /// The intents it was granted; everything its domain may have where nothing is said.
    #[serde(default)]
    pub intents: Option<u32>,
    /// Where events are called back to, in addition to its sockets.
    #[serde(default)]
    pub webhook: Option<String>,
}

/// Chosen once for a bot: whether it sees every message of a guild or those addressed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// For everybody's guilds.
    #[default]
    Public,
    /// For the owner's guilds, with rights a public bot cannot have.
    Private,
}

impl AppConfig {
    /// A public bot with every permission.
    #[must_use]
    pub fn new(id: impl Into<AppId>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            legacy_token: None,
            user_id: None,
            name: default_name(),
            domain: Domain::Public,
            intents: None,
            webhook: None,
        }
    }
}

/// A text that does not describe a bot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a bot is written as ID:SECRET, such as 102000001:a-secret")]
pub struct AppTextError;

/// `ID:SECRET`, as on the command line. A secret may hold further colons.
impl FromStr for AppConfig {
    type Err = AppTextError;

    fn from_str(text: &str) -> Result<Self, AppTextError> {
        match text.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(Self::new(id, secret)),
            _ => Err(AppTextError),
        }
    }
}

/// Prints no secret.
impl fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppConfig").field("id", &self.id).finish_non_exhaustive()
    }
}

fn default_name() -> String {
    "simulated bot".to_owned()
}

/// Bits that a frame may ask for at all.
///
/// Source: spec/events.md §1.
pub const KNOWN_INTENTS: u32 = PUBLIC_INTENTS | PRIVATE_INTENTS;

/// Bits only a private-domain bot may have: every guild message (9) and forum events (28).
pub const PRIVATE_INTENTS: u32 = 1 << 9 | 1 << 28;

/// All other bits that exist; the platform grants some of them on application only.
pub const PUBLIC_INTENTS: u32 = 1
    | 1 << 1
    | 1 << 10
    | 1 << 12
    | 1 << 18
    | 1 << 19
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | 1 << 26
    | 1 << 27
    | 1 << 29
    | 1 << 30;

/// A bot and what the platform currently holds against it.
pub struct App {
    /// The application id.
    pub id: AppId,
    /// The secret.
    pub secret: String,
    /// The static token of the old scheme.
    pub legacy_token: String,
    /// The bot's user id.
    pub user_id: String,
    /// The bot's name.
    pub name: String,
    /// Public or private domain.
    pub domain: Domain,
    /// Intents granted.
    pub intents: u32,
    /// Where events are called back to.
    pub webhook: Option<String>,
    standing: Mutex<Standing>,
}

/// What the platform holds against a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Standing {
    /// The close code that ends each of its connections: 4914 (offline) or 4915 (banned).
    pub ban: Option<u16>,
    /// Its calls come from an address that is not on its list: 11298.
    pub ip_blocked: bool,
}

impl App {
    /// The bot that a configuration describes.
    #[must_use]
    pub fn new(config: AppConfig) -> Self {
        let all = match config.domain {
            Domain::Public => PUBLIC_INTENTS,
            Domain::Private => KNOWN_INTENTS,
        };
        // botpy parses the bot's own id as a number, so an id of digits is made from any text.
        let derived = || crate::shard::fnv1a64(config.id.as_str().as_bytes()).to_string();
        Self {
            user_id: config.user_id.unwrap_or_else(derived),
            legacy_token: config.legacy_token.unwrap_or_else(|| config.secret.clone()),
            intents: config.intents.unwrap_or(all),
            id: config.id,
            secret: config.secret,
            name: config.name,
            domain: config.domain,
            webhook: config.webhook,
            standing: Mutex::default(),
        }
    }

    /// What the platform holds against it now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *lock(&self.standing)
    }

    /// Changes what the platform holds against it.
    pub fn set_standing(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }
}

/// Prints no secret.
impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_is_read_from_one_argument() {
        let app: AppConfig = "102:a:b".parse().unwrap();
        assert_eq!((app.id.as_str(), app.secret.as_str()), ("102", "a:b"));
        for text in ["", "102", "102:", ":secret"] {
            assert!(text.parse::<AppConfig>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let config = AppConfig::new("102", "canary");
        assert!(!format!("{config:?} {:?}", App::new(config.clone())).contains("canary"));
    }
}
