//! `[platform]` and `[[bots]]`: whom we talk to, and as whom.

use std::path::PathBuf;

use qqrelay_proto::id::AppId;
use qqrelay_proto::intent::Intents;
use qqrelay_proto::profile::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::form::Count;
use super::secret::Secret;
use super::section::section;

section! {
    /// Which platform the bots live on.
    pub struct Platform {
        /// The set of addresses to start from: "production", "sandbox" or "custom". "custom" has
        /// none of its own and may speak plain http and ws; it is meant for a simulator.
        profile: ProfileName = ProfileName::Production,
        /// Base address of the token endpoint. Written over the profile's.
        #[schemars(example = "https://api.bot.qq.com")]
        token_url: Option<String> = None,
        /// Base address of the REST API. Written over the profile's.
        #[schemars(example = "https://api.bot.qq.com")]
        api_url: Option<String> = None,
        /// Hosts that a gateway address may lie on, each with everything below it, such as
        /// ["sgroup.qq.com"]. Added to the profile's, as is the host of an api_url written here.
        gateway_hosts: Vec<String> = Vec::new(),
    }
}

/// Which addresses a platform starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ProfileName {
    /// The real platform.
    Production,
    /// Its test environment.
    Sandbox,
    /// Nothing but what is written in the file.
    Custom,
}

impl ProfileName {
    /// The addresses that come with the name; `None` of custom.
    #[must_use]
    pub const fn profile(self) -> Option<Profile> {
        match self {
            Self::Production => Some(Profile::PRODUCTION),
            Self::Sandbox => Some(Profile::SANDBOX),
            Self::Custom => None,
        }
    }
}

section! {
    /// One bot account; the section may be repeated.
    pub struct Bot {
        /// The bot's AppID, decimal digits in quotes. Must be given.
        #[schemars(example = "102000001")]
        app_id: AppId = AppId::from(""),
        /// What people call it, in logs and on the status page. Without one, the AppID.
        #[schemars(example = &"helpdesk")]
        name: Option<String> = None,
        /// Its AppSecret. One of secret and secret_file must be given; the file is the better way.
        #[schemars(example = "write-the-AppSecret-here")]
        secret: Secret = Secret::default(),
        /// A file that holds its AppSecret and nothing else; one line break at the end is fine.
        #[schemars(example = "/run/secrets/qq-102000001")]
        secret_file: Option<PathBuf> = None,
        /// What it asks to hear of, as names, ["GUILDS", "GROUP_AND_C2C_EVENT"], or as the number.
        /// Asking for one without permission closes its connection.
        intents: Intents = Intents::DEFAULT,
        /// How many shards its events are split into: "auto" follows the platform's
        /// recommendation, otherwise 1 to 4096.
        shards: Count<4096> = Count::Auto,
        /// Whether its sessions are held and its commands sent.
        enabled: bool = true,
        /// Whether a send whose fate is unknown is tried again where the platform would show it
        /// twice. Without it such a send ends as "ambiguous".
        at_least_once: bool = false,
    }
}

impl Bot {
    /// What people call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.app_id.as_str())
    }
}
