//! The names of things: text end to end, whatever they look like today.
//!
//! Platform ids are strings on the wire and stay strings here. A guild id becomes a number in one
//! place only, the shard formula of [`ShardId::of_guild`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(transparent)]
        pub struct $name(#[schemars(with = "String")] Arc<str>);

        impl $name {
            /// The id as the platform wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }
    )*};
}

text_ids! {
    /// One bot account, decimal digits today: `102000001`.
    AppId
    /// A guild; of a direct message, the virtual guild made for it.
    GuildId
    /// A channel inside a guild.
    ChannelId
    /// A QQ group, opaque: 32 upper-case hex characters today.
    GroupId
    /// A user, in the id space of the scene it is seen in; never compared across scenes.
    UserId
    /// A message, such as `ROBOT1.0_…`; may hold `!`, `-`, `_`, `.`.
    MessageId
    /// What READY creates and RESUME continues, UUID form today.
    SessionId
    /// A process that owns partitions: unique for each start of each process.
    OwnerId
}

/// The platform's per-session event counter (`s`): READY is 1, each dispatch one more.
pub type Seq = u64;

/// What kind of place an event happened in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scene {
    /// A guild as a whole: its members, its channels' existence.
    Guild,
    /// One channel of a guild.
    Channel,
    /// A guild-side private conversation.
    Dm,
    /// A QQ group.
    Group,
    /// A single chat.
    C2c,
    /// Nothing narrower than the bot itself.
    App,
}

impl Scene {
    /// Every scene, in declaration order.
    pub const ALL: [Self; 6] =
        [Self::Guild, Self::Channel, Self::Dm, Self::Group, Self::C2c, Self::App];

    /// The name used in subjects, metric labels, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guild => "guild",
            Self::Channel => "channel",
            Self::Dm => "dm",
            Self::Group => "group",
            Self::C2c => "c2c",
            Self::App => "app",
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not one of a closed set of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct NameError {
    /// What stood there.
    pub found: String,
    /// What was wanted, for people.
    pub expected: &'static str,
}

impl FromStr for Scene {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| NameError {
            found: text.into(),
            expected: "a scene: guild, channel, dm, group, c2c or app",
        })
    }
}

/// One place of one scene; order holds within it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Scope {
    /// What kind of place.
    pub scene: Scene,
    /// Its id in that scene.
    #[serde(rename = "scope")]
    #[schemars(with = "String")]
    pub id: Arc<str>,
}

impl Scope {
    /// The place `id` of `scene`.
    pub fn new(scene: Scene, id: impl Into<Arc<str>>) -> Self {
        Self { scene, id: id.into() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scene, self.id)
    }
}

/// One slice of an app's events: `[index, count]` on the wire, `<count>-<index>` in subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u16; 2]", into = "[u16; 2]")]
pub struct ShardId {
    index: u16,
    count: u16,
}

impl JsonSchema for ShardId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ShardId".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <[u16; 2]>::json_schema(generator)
    }
}

impl ShardId {
    /// Shard `index` of `count`; `None` unless `index < count`.
    #[must_use]
    pub const fn new(index: u16, count: u16) -> Option<Self> {
        if index < count { Some(Self { index, count }) } else { None }
    }

    /// The shards of a set of `count`, in order.
    pub fn all(count: u16) -> impl Iterator<Item = Self> {
        (0..count).map(move |index| Self { index, count })
    }

    /// The shard that carries a guild's events; `None` where the id is no number.
    ///
    /// Group and single-chat events have no such rule: they are taken from whatever shard
    /// brings them, so this must never be asked about them.
    ///
    /// Source: PLATFORM.md, "sharding".
    #[must_use]
    pub fn of_guild(guild: &GuildId, count: u16) -> Option<Self> {
        let number: u64 = guild.as_str().parse().ok()?;
        let index = (number >> 22).checked_rem(u64::from(count))?;
        Self::new(u16::try_from(index).ok()?, count)
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// How many shards its set has.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.count, self.index)
    }
}

impl FromStr for ShardId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let (count, index) = text.split_once('-')?;
            let shard = Self::new(index.parse().ok()?, count.parse().ok()?)?;
            (shard.to_string() == text).then_some(shard)
        };
        parse()
            .ok_or_else(|| NameError { found: text.into(), expected: "a shard, <count>-<index>" })
    }
}

impl TryFrom<[u16; 2]> for ShardId {
    type Error = NameError;

    fn try_from([index, count]: [u16; 2]) -> Result<Self, NameError> {
        Self::new(index, count).ok_or_else(|| NameError {
            found: format!("[{index},{count}]"),
            expected: "a shard pair [index,count] with index below count",
        })
    }
}

impl From<ShardId> for [u16; 2] {
    fn from(shard: ShardId) -> Self {
        [shard.index, shard.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_outside_its_set_cannot_be_built() {
        assert!(ShardId::new(0, 0).is_none());
        assert!(ShardId::new(4, 4).is_none());
        assert!(serde_json::from_str::<ShardId>("[5,4]").is_err());
        assert!("4-4".parse::<ShardId>().is_err());
        assert!("04-0".parse::<ShardId>().is_err());
        assert_eq!("4-0".parse::<ShardId>().unwrap().to_string(), "4-0");
    }

    #[test]
    fn a_guild_belongs_to_the_shard_the_documents_say() {
        let check = |guild: &str, count, expected: Option<u16>| {
            let shard = ShardId::of_guild(&guild.into(), count);
            assert_eq!(shard.map(ShardId::index), expected, "{guild} of {count}");
        };
        check("46646271634786417", 4, Some(((46_646_271_634_786_417_u64 >> 22) % 4) as u16));
        check("0", 4, Some(0));
        check("18446744073709551615", 1, Some(0));
        check("not a number", 4, None);
        check("1", 0, None);
    }
}
