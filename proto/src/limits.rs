//! Which rate limits a command meets, and how far we go in each.
//!
//! The platform publishes most of its numbers and not whether its windows slide, so each default
//! leaves room for both: in no window of the published length can more pass than is published.
//! Every number is an operator's to change, because the platform changes them oftener than we
//! release; a bot of a verified company may have twice as much.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bucket::{Per, Quota};
use crate::command::{Action, Command};
use crate::id::{NameError, Scene};

/// A limit's setting: a quota as in `"4/s burst 2"`, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Nothing is counted.
    Off,
    /// No more than this.
    Quota(Quota),
}

impl Rate {
    const fn at(count: u32, per: Per, burst: u32) -> Self {
        Self::Quota(Quota::new(count, per, burst).expect("the table's numbers are in range"))
    }

    /// The quota to keep, if any.
    #[must_use]
    pub const fn quota(self) -> Option<Quota> {
        match self {
            Self::Off => None,
            Self::Quota(quota) => Some(quota),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Quota(quota) => quota.fmt(f),
        }
    }
}

impl FromStr for Rate {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::Quota) }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(off|[0-9]+/(s|min|day)( burst [0-9]+)?)$",
        })
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// All of the bot's.
    App,
    /// Those for one guild.
    Guild,
    /// Those for one channel, group, user or conversation.
    Place,
}

/// One row: what it limits, whose requests, what is published, and our default.
struct Row {
    name: &'static str,
    of: Of,
    published: Option<(u32, Per)>,
    default: Rate,
}

macro_rules! limits {
    ($($(#[$doc:meta])+ $limit:ident $name:ident: $of:expr, $published:expr => $default:expr;)*) => {
        /// One limit that commands can meet.
        ///
        /// Source: PLATFORM.md, "rates".
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit {
            $($(#[$doc])+ $limit,)*
        }

        impl Limit {
            /// Every limit, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$limit,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$limit => Row {
                        name: stringify!($name),
                        of: $of,
                        published: $published,
                        default: $default,
                    },)*
                }
            }
        }

        /// How much of each limit is used: a rate such as "4/s", "30/min burst 5" or "1000/day",
        /// or "off".
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(extend("x-order" = [$(stringify!($name)),*]))]
        pub struct Limits {
            $($(#[$doc])+ pub $name: Rate,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: Limit::$limit.row().default,)* }
            }
        }

        impl Limits {
            /// The setting of one limit.
            #[must_use]
            pub const fn rate(&self, limit: Limit) -> Rate {
                match limit {
                    $(Limit::$limit => self.$name,)*
                }
            }
        }
    };
}

limits! {
    /// Messages to one guild, all its channels together. The documents count per channel; one
    /// older page says guild.
    Guild guild: Of::Guild, Some((5, Per::Second)) => Rate::Off;
    /// Messages to one channel.
    Channel channel: Of::Place, Some((5, Per::Second)) => Rate::at(4, Per::Second, 2);
    /// Messages to one guild-side private conversation.
    Dm dm: Of::Place, Some((2, Per::Second)) => Rate::at(2, Per::Second, 1);
    /// Messages to one group. No number is published: it keeps one group from using up the bot's.
    Group group: Of::Place, None => Rate::at(20, Per::Second, 20);
    /// Messages to one user. No number is published: it keeps one user from using up the bot's.
    C2c c2c: Of::Place, None => Rate::at(20, Per::Second, 20);
    /// Messages of one bot to all its groups.
    GroupApp group_app: Of::App, Some((100, Per::Second)) => Rate::at(80, Per::Second, 20);
    /// Messages of one bot to all its users.
    C2cApp c2c_app: Of::App, Some((100, Per::Second)) => Rate::at(80, Per::Second, 20);
    /// Messages to groups that answer nothing, of one bot. Twice as many for a verified company.
    GroupPushApp group_push_app: Of::App, Some((30, Per::Minute)) => Rate::at(24, Per::Minute, 7);
    /// Messages to one group that answer nothing.
    GroupPush group_push: Of::Place, Some((20, Per::Minute)) => Rate::at(15, Per::Minute, 5);
    /// Messages to one group that answer nothing, a day.
    GroupPushDay group_push_day: Of::Place, Some((1_000, Per::Day)) => Rate::at(800, Per::Day, 200);
    /// Messages to users that answer nothing, of one bot, a second. Twice as many for a verified
    /// company or person.
    C2cPushApp c2c_push_app: Of::App, Some((5, Per::Second)) => Rate::at(4, Per::Second, 2);
    /// Messages to users that answer nothing, of one bot, a minute. None for a verified company or
    /// person.
    C2cPushAppMinute c2c_push_app_minute: Of::App, Some((30, Per::Minute))
        => Rate::at(24, Per::Minute, 7);
    /// Messages to one user that answer nothing.
    C2cPush c2c_push: Of::Place, Some((20, Per::Minute)) => Rate::at(15, Per::Minute, 5);
    /// Messages to one user that answer nothing, a day.
    C2cPushDay c2c_push_day: Of::Place, Some((1_000, Per::Day)) => Rate::at(800, Per::Day, 200);
    /// Acknowledgements of button presses, of one bot.
    Interactions interactions: Of::App, Some((50, Per::Second)) => Rate::at(40, Per::Second, 10);
}

/// Room that a command needs in one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Which limit it is, for metrics.
    pub limit: Limit,
    /// The bucket's name, unique within the bot; may hold any text that an id can.
    pub bucket: String,
    /// How much the bucket takes.
    pub quota: Quota,
}

impl Limit {
    /// Its name in configuration, bucket names and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Whether it counts one place, all of whose commands are one worker's.
    #[must_use]
    pub const fn is_of_place(self) -> bool {
        matches!(self.row().of, Of::Place)
    }

    /// The limit of a command's own place, which a refusal for rate closes: one busy group must
    /// not slow its neighbours. `None` of what has no place.
    #[must_use]
    pub const fn of_place(command: &Command) -> Option<Self> {
        match (&command.action, command.scene) {
            (Action::Acknowledge { .. }, _) | (_, Scene::Guild | Scene::App) => None,
            (Action::Send { .. }, Scene::Channel) => Some(Self::Channel),
            (Action::Send { .. }, Scene::Dm) => Some(Self::Dm),
            (Action::Send { .. }, Scene::Group) => Some(Self::Group),
            (Action::Send { .. }, Scene::C2c) => Some(Self::C2c),
        }
    }

    /// Every limit that a command meets.
    #[must_use]
    pub const fn of(command: &Command) -> &'static [Self] {
        match (&command.action, command.scene, &command.reply) {
            (Action::Acknowledge { .. }, ..) => &[Self::Interactions],
            (Action::Send { .. }, Scene::Guild | Scene::App, _) => &[],
            (Action::Send { .. }, Scene::Channel, _) => &[Self::Channel, Self::Guild],
            (Action::Send { .. }, Scene::Dm, _) => &[Self::Dm],
            (Action::Send { .. }, Scene::Group, Some(_)) => &[Self::Group, Self::GroupApp],
            (Action::Send { .. }, Scene::C2c, Some(_)) => &[Self::C2c, Self::C2cApp],
            (Action::Send { .. }, Scene::Group, None) => &[
                Self::Group,
                Self::GroupApp,
                Self::GroupPush,
                Self::GroupPushDay,
                Self::GroupPushApp,
            ],
            (Action::Send { .. }, Scene::C2c, None) => &[
                Self::C2c,
                Self::C2cApp,
                Self::C2cPush,
                Self::C2cPushDay,
                Self::C2cPushApp,
                Self::C2cPushAppMinute,
            ],
        }
    }

    /// The bucket in which a command is counted for this limit; `None` where the command does not
    /// say what it is counted by.
    #[must_use]
    pub fn bucket(self, command: &Command) -> Option<String> {
        let Row { name, of, .. } = self.row();
        match of {
            Of::App => Some(name.to_owned()),
            Of::Guild => command.guild.as_ref().map(|guild| format!("{name}:{guild}")),
            Of::Place => Some(format!("{name}:{}", command.scope)),
        }
    }
}

impl Limits {
    /// Settings under which more can pass in some window than the platform publishes: right for a
    /// bot that was given more, worth a warning otherwise.
    pub fn beyond_published(&self) -> impl Iterator<Item = Limit> {
        Limit::ALL.iter().copied().filter(|&limit| {
            limit.row().published.is_some_and(|(count, per)| match self.rate(limit) {
                Rate::Off => limit.row().default != Rate::Off,
                Rate::Quota(quota) => quota.per() == per && quota.most_in_a_window() > count,
            })
        })
    }

    /// The buckets that a command needs room in, all at once.
    #[must_use]
    pub fn needs(&self, command: &Command) -> Vec<Need> {
        let need = |&limit: &Limit| {
            let quota = self.rate(limit).quota()?;
            Some(Need { limit, bucket: limit.bucket(command)?, quota })
        };
        Limit::of(command).iter().filter_map(need).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::{Content, ReplyTo};
    use crate::id::Scope;

    fn push(scene: Scene) -> Command {
        let place = Scope::new(scene, "A:1");
        Command::send("c".into(), "102".into(), place, Content::Text("pong".into()))
    }

    fn reply(scene: Scene) -> Command {
        Command { reply: Some(ReplyTo::MsgId("m".into()).into()), ..push(scene) }
    }

    fn buckets(limits: &Limits, command: &Command) -> Vec<String> {
        limits.needs(command).into_iter().map(|need| need.bucket).collect()
    }

    #[test]
    fn no_default_passes_more_than_is_published_in_any_window() {
        assert_eq!(Limits::default().beyond_published().count(), 0);
        let units = |limit: &&Limit| {
            let row = limit.row();
            row.default.quota().zip(row.published).is_none_or(|(ours, (_, per))| ours.per() == per)
        };
        assert!(Limit::ALL.iter().all(|limit| units(&limit)), "or they could not be compared");
    }

    #[test]
    fn settings_beyond_what_is_published_are_known() {
        let limits = r#"{"channel":"5/s burst 2","dm":"off","group":"off","interactions":"50/s"}"#;
        let limits: Limits = serde_json::from_str(limits).unwrap();
        assert!(limits.beyond_published().eq([Limit::Channel, Limit::Dm]));
    }

    #[test]
    fn each_send_needs_the_buckets_of_its_scene() {
        let check = |command: Command, expected: &[&str]| {
            assert_eq!(buckets(&Limits::default(), &command), expected);
        };
        check(reply(Scene::Channel), &["channel:A:1"]);
        check(push(Scene::Channel), &["channel:A:1"]);
        check(reply(Scene::Dm), &["dm:A:1"]);
        check(reply(Scene::Group), &["group:A:1", "group_app"]);
        check(reply(Scene::C2c), &["c2c:A:1", "c2c_app"]);
        check(
            push(Scene::Group),
            &["group:A:1", "group_app", "group_push:A:1", "group_push_day:A:1", "group_push_app"],
        );
        check(
            push(Scene::C2c),
            &[
                "c2c:A:1",
                "c2c_app",
                "c2c_push:A:1",
                "c2c_push_day:A:1",
                "c2c_push_app",
                "c2c_push_app_minute",
            ],
        );
        let action = Action::Acknowledge { interaction: "i".into(), code: 0 };
        check(Command { action, ..push(Scene::Group) }, &["interactions"]);
    }

    #[test]
    fn a_guild_is_counted_where_an_operator_wants_it_and_the_command_names_it() {
        let limits: Limits = serde_json::from_str(r#"{"guild":"4/s burst 2"}"#).unwrap();
        let mut command = reply(Scene::Channel);
        assert_eq!(buckets(&limits, &command), ["channel:A:1"]);
        command.guild = Some("7".into());
        assert_eq!(buckets(&limits, &command), ["channel:A:1", "guild:7"]);
    }

    #[test]
    fn what_is_off_is_not_counted_and_what_is_misspelt_is_refused() {
        let limits: Limits = serde_json::from_str(r#"{"channel":"off"}"#).unwrap();
        assert!(limits.needs(&reply(Scene::Channel)).is_empty());
        assert!(serde_json::from_str::<Limits>(r#"{"chanel":"off"}"#).is_err());
        assert!(serde_json::from_str::<Limits>(r#"{"channel":"4"}"#).is_err());
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits);
    }

    #[test]
    fn the_place_that_a_refusal_closes_is_one_the_command_is_counted_in() {
        for scene in Command::SEND_SCENES {
            let command = push(scene);
            let place = Limit::of_place(&command).expect("a message has a place");
            assert!(Limit::of(&command).contains(&place));
            assert!(place.bucket(&command).is_some_and(|bucket| bucket.ends_with(":A:1")));
        }
    }

    #[test]
    fn no_two_limits_share_a_bucket() {
        let names: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
