//! Events at a rate, as a busy bot sees them.

use qqrelay_proto::id::AppId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::dice::Dice;
use crate::events::Injection;

/// Events at a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traffic {
    /// How many, over all bots.
    pub events_per_second: f64,
    /// Only for this bot; for all of them in turn where nothing is said.
    pub app: Option<AppId>,
    /// The share that the platform pushes a second time, under a new sequence.
    pub again: f64,
    /// Different groups.
    pub groups: u64,
    /// Different users of single chats.
    pub users: u64,
    /// Different guilds, each with one channel.
    pub guilds: u64,
    /// Which events.
    pub mix: Mix,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            events_per_second: 10.0,
            app: None,
            again: 0.0,
            groups: 20,
            users: 50,
            guilds: 10,
            mix: Mix::default(),
        }
    }
}

/// Which events, by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// Group messages that mention the bot.
    pub group_at: u64,
    /// Messages in single chats.
    pub c2c: u64,
    /// Channel messages that mention the bot.
    pub at: u64,
    /// Guilds' direct messages.
    pub direct: u64,
    /// Members who join a guild.
    pub member: u64,
    /// Buttons pressed in groups.
    pub button: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { group_at: 4, c2c: 3, at: 2, direct: 1, member: 1, button: 1 }
    }
}

impl Mix {
    const fn weights(&self) -> [u64; 6] {
        [self.group_at, self.c2c, self.at, self.direct, self.member, self.button]
    }
}

impl Traffic {
    /// Whether there is any.
    pub(super) fn is_some(&self) -> bool {
        let rate = self.events_per_second;
        rate.is_finite() && rate > 0.0 && self.mix.weights().iter().any(|weight| *weight > 0)
    }

    /// Whose the next event is, and which.
    pub(super) fn event(&self, apps: &[AppId], n: u64, dice: &Dice) -> Option<(AppId, Injection)> {
        let turn = usize::try_from(n).unwrap_or(0);
        let app = match &self.app {
            Some(app) => app.clone(),
            None => apps.get(turn.checked_rem(apps.len())?)?.clone(),
        };
        Some((app, self.draw(n, dice)))
    }

    fn draw(&self, n: u64, dice: &Dice) -> Injection {
        let weights = self.mix.weights();
        let mut draw = dice.below(weights.iter().sum());
        let kind = weights.iter().position(|weight| {
            let hit = draw < *weight;
            draw = draw.saturating_sub(*weight);
            hit
        });
        let text = format!("/ping {n}");
        let group = || format!("{:032X}", 0xa0_0000 + dice.below(self.groups));
        let user = || format!("{:032X}", 0xb0_0000 + dice.below(self.users));
        // Guild ids whose upper part differs, so that they spread over shards.
        let guild = |base: u64| (base + dice.below(self.guilds) * 0x0040_0001).to_string();
        const GUILDS: u64 = 46_646_271_634_786_417;
        const DIRECT: u64 = 56_646_271_634_786_417;
        match kind {
            Some(0) => Injection::group_at(&group(), &user(), &text),
            Some(1) => Injection::c2c(&user(), &text),
            Some(2) => {
                let guild = guild(GUILDS);
                Injection::at(&guild, &guild, "1158788878435714165", &text)
            }
            Some(3) => Injection::direct(&guild(DIRECT), "1158788878435714165", &text),
            Some(4) => Injection::of("GUILD_MEMBER_ADD").with(json!({"guild_id": guild(GUILDS)})),
            _ => Injection::group_button(&group(), &user(), &text),
        }
    }
}
