//! What the simulated platform enforces: the real platform by default, each rule switchable.
//!
//! A missing member means the real platform's value, so a scenario names only what it changes.
//!
//! Source: PLATFORM.md, "reply windows", "proactive messages", "rates", "sizes".

use std::time::Duration;

use qqrelay_proto::id::Scene;
use serde::{Deserialize, Serialize};

use super::allowance::Allowance;
use super::callback::CallbackLimits;

/// Every rule of the REST side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Replies to messages and events.
    pub reply: ReplyLimits,
    /// Calls and messages per second.
    pub rate: RateLimits,
    /// Messages that nobody asked for.
    pub proactive: ProactiveLimits,
    /// Sizes of what is sent.
    pub content: ContentLimits,
    /// What a send meets when the bot has no session.
    pub session: SessionLimits,
    /// Human review of messages.
    pub audit: AuditMode,
    /// How callbacks are made.
    pub callback: CallbackLimits,
}

/// How long and how often a message or an event may be replied to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyLimits {
    /// In a single chat.
    pub c2c: Allowance,
    /// In a group.
    pub group: Allowance,
    /// In a channel.
    pub channel: Allowance,
    /// In a guild's direct message.
    pub dm: Allowance,
    /// Which messages and events may be replied to.
    pub origins: Origins,
    /// What happens to a `msg_seq` used a second time for the same message or event.
    pub repeats: Repeats,
    /// How long after sending a message the bot may take it back (v2).
    pub recall: Allowance,
    /// How many messages and events one bot's ledger remembers; beyond it the oldest is forgotten.
    pub remembered: usize,
}

/// Which messages and events may be replied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origins {
    /// Those that this platform pushed to this bot in this place.
    Pushed,
    /// Any id at all; its window starts when it is first used. For floods, whose events are not
    /// remembered one by one, and for suites that bring ids of their own.
    Any,
}

/// What happens to a `msg_seq` used a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeats {
    /// Refused with 40054005.
    Refused,
    /// Shown again.
    Shown,
}

impl ReplyLimits {
    /// The rule of one scene; none where nothing can be said at all.
    #[must_use]
    pub const fn of(&self, scene: Scene) -> Allowance {
        match scene {
            Scene::C2c => self.c2c,
            Scene::Group => self.group,
            Scene::Channel => self.channel,
            Scene::Dm => self.dm,
            Scene::Guild | Scene::App => Allowance::Off,
        }
    }
}

impl Default for ReplyLimits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            c2c: Allowance::Of { count: 4, within: minutes(60) },
            group: Allowance::Of { count: 5, within: minutes(5) },
            channel: Allowance::Any { within: minutes(5) },
            dm: Allowance::Any { within: minutes(5) },
            origins: Origins::Pushed,
            repeats: Repeats::Refused,
            recall: Allowance::Any { within: minutes(2) },
            remembered: 500_000,
        }
    }
}

/// How many messages or calls in how much time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Messages into one channel.
    pub channel: Allowance,
    /// Messages into one direct message session.
    pub dm: Allowance,
    /// Messages into all single chats of a bot.
    pub c2c: Allowance,
    /// Messages into all groups of a bot.
    pub group: Allowance,
    /// Chunks of streamed messages of a bot.
    pub stream: Allowance,
    /// Uploads of a bot.
    pub upload: Allowance,
    /// Messages taken back by a bot.
    pub recall: Allowance,
    /// Interactions answered by a bot.
    pub interaction: Allowance,
    /// Questions about groups, each path of a bot on its own.
    pub group_read: Allowance,
    /// Every other call, each method and path of a bot on its own.
    pub other: Allowance,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            channel: Allowance::per_second(5),
            dm: Allowance::per_second(2),
            c2c: Allowance::per_second(100),
            group: Allowance::per_second(100),
            stream: Allowance::per_second(50),
            upload: Allowance::per_second(50),
            recall: Allowance::per_second(10),
            interaction: Allowance::per_second(50),
            group_read: Allowance::per_minute(30),
            other: Allowance::per_second(50),
        }
    }
}

/// Messages that nobody asked for: an unverified person's bot, as the documents of 2026-09 have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProactiveLimits {
    /// Whether the bot may write first to a user or a group at all.
    pub v2: ProactiveRight,
    /// To all users of a bot, in a short while.
    pub c2c_burst: Allowance,
    /// To all users of a bot.
    pub c2c: Allowance,
    /// To one user.
    pub user: Allowance,
    /// To one user in a day.
    pub user_day: Allowance,
    /// To all groups of a bot.
    pub groups: Allowance,
    /// To one group.
    pub group: Allowance,
    /// To one group in a day.
    pub group_day: Allowance,
    /// Into one channel in a day.
    pub channel_day: Allowance,
    /// Into this many different channels of one guild in a day.
    pub guild_channels_day: Allowance,
    /// To one user by direct message in a day.
    pub dm_day: Allowance,
    /// To all users by direct message in a day.
    pub dms_day: Allowance,
}

/// Whether a bot may write first. The platform grants and withdraws it per bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProactiveRight {
    /// It may, within the limits.
    Granted,
    /// It may not: 40034105.
    Refused,
}

impl Default for ProactiveLimits {
    fn default() -> Self {
        Self {
            v2: ProactiveRight::Granted,
            c2c_burst: Allowance::per_second(5),
            c2c: Allowance::per_minute(30),
            user: Allowance::per_minute(20),
            user_day: Allowance::per_day(1000),
            groups: Allowance::per_minute(30),
            group: Allowance::per_minute(20),
            group_day: Allowance::per_day(1000),
            channel_day: Allowance::per_day(20),
            guild_channels_day: Allowance::per_day(2),
            dm_day: Allowance::per_day(2),
            dms_day: Allowance::per_day(200),
        }
    }
}

/// Sizes of what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContentLimits {
    /// Characters of a text or of a markdown's text. The platform publishes none; its own SDK of
    /// 2026 splits at this many.
    pub text_characters: usize,
    /// Rows of a keyboard, and buttons of a row.
    pub keyboard_side: usize,
    /// What text beside markdown means.
    pub beside_markdown: BesideMarkdown,
    /// Bytes of an uploaded file.
    pub upload_bytes: usize,
    /// Life of an upload's `file_info` in seconds; 0 is for ever.
    pub upload_ttl_seconds: u64,
    /// Pinned messages of a channel.
    pub pins: usize,
}

/// What text beside markdown means: the documents of 2026 forbid it, those of 2025 did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BesideMarkdown {
    /// Refused with 50037.
    Refused,
    /// Not shown.
    Ignored,
}

impl Default for ContentLimits {
    fn default() -> Self {
        Self {
            text_characters: 4_000,
            keyboard_side: 5,
            beside_markdown: BesideMarkdown::Refused,
            upload_bytes: 20 << 20,
            upload_ttl_seconds: 3_600,
            pins: 20,
        }
    }
}

/// What a send meets when the bot has no session. A bot with a callback URL needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionLimits {
    /// In channels and direct messages.
    pub guild: WithoutSession,
    /// In groups and single chats.
    pub v2: WithoutSession,
}

/// What becomes of a message sent without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutSession {
    /// It is shown.
    Shown,
    /// It is refused with 304018, as documented.
    Refused,
    /// It is answered with success and never shown, as seen in the field.
    Vanishes,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { guild: WithoutSession::Refused, v2: WithoutSession::Shown }
    }
}

/// Whether people review messages before they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum AuditMode {
    /// Nobody does.
    #[default]
    Off,
    /// Every message is passed.
    Pass {
        /// When the verdict is told.
        #[serde(default)]
        told: Told,
    },
    /// Every message is rejected.
    Reject {
        /// When the verdict is told.
        #[serde(default)]
        told: Told,
    },
    /// Every message waits for ever.
    Never,
}

/// When an audit's verdict is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Right after the answer to the send.
    #[default]
    After,
    /// Before the send is answered, which a client must not mistake for another message's.
    Before,
}

impl Limits {
    /// Nothing is limited, every id may be replied to; messages must still be well formed.
    #[must_use]
    pub fn off() -> Self {
        const OFF: Allowance = Allowance::Off;
        Self {
            reply: ReplyLimits {
                c2c: OFF,
                group: OFF,
                channel: OFF,
                dm: OFF,
                origins: Origins::Any,
                recall: OFF,
                ..ReplyLimits::default()
            },
            rate: RateLimits {
                channel: OFF,
                dm: OFF,
                c2c: OFF,
                group: OFF,
                stream: OFF,
                upload: OFF,
                recall: OFF,
                interaction: OFF,
                group_read: OFF,
                other: OFF,
            },
            proactive: ProactiveLimits {
                v2: ProactiveRight::Granted,
                c2c_burst: OFF,
                c2c: OFF,
                user: OFF,
                user_day: OFF,
                groups: OFF,
                group: OFF,
                group_day: OFF,
                channel_day: OFF,
                guild_channels_day: OFF,
                dm_day: OFF,
                dms_day: OFF,
            },
            content: ContentLimits::default(),
            session: SessionLimits { guild: WithoutSession::Shown, v2: WithoutSession::Shown },
            audit: AuditMode::Off,
            callback: CallbackLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_names_only_what_it_changes() {
        let limits: Limits = toml::from_str(
            r#"
            [reply]
            group = "off"
            [rate]
            channel = "50/1s"
            [audit]
            verdict = "pass"
            "#,
        )
        .unwrap();
        assert_eq!(limits.reply.group, Allowance::Off);
        assert_eq!(limits.rate.channel, Allowance::per_second(50));
        assert_eq!(limits.audit, AuditMode::Pass { told: Told::After });
        assert_eq!(limits.reply.c2c, Limits::default().reply.c2c);
    }

    #[test]
    fn a_misspelt_limit_is_an_error_and_not_the_default() {
        assert!(toml::from_str::<Limits>("[rate]\nchanel = \"5/s\"").is_err());
    }

    #[test]
    fn limits_read_back_as_they_were_written() {
        for limits in [Limits::default(), Limits::off()] {
            let text = toml::to_string(&limits).unwrap();
            assert_eq!(toml::from_str::<Limits>(&text).unwrap(), limits);
        }
    }
}
