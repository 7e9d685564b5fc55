//! Which shard an event belongs to, as the platform decides it.
//!
//! Written from the specification and on purpose not shared with the relay: a simulator that takes
//! the client's formula cannot show that the formula is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A slice `[index, count]` of a bot's events, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Shard {
    /// Counted from 0.
    pub index: u32,
    /// How many slices there are; the whole is `[0, 1]`.
    pub count: u32,
}

impl Shard {
    /// All of a bot's events.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// True of a pair that the platform takes: an index inside a count.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.index < self.count
    }
}

impl From<(u32, u32)> for Shard {
    fn from((index, count): (u32, u32)) -> Self {
        Self { index, count }
    }
}

impl From<Shard> for (u32, u32) {
    fn from(shard: Shard) -> Self {
        (shard.index, shard.count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.count, self.index)
    }
}

/// Where events go that carry no guild id: nobody has documented it, so a client must live with any
/// of these.
///
/// Source: spec/gateway.md §6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrouplessRule {
    /// By the hash of the group's or user's open id.
    #[default]
    Hash,
    /// Everything to shard 0.
    FirstShard,
    /// Every shard gets its own copy, under its own sequence.
    EveryShard,
}

/// What an event's shard is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A numeric guild id: the documented formula applies.
    Guild(u64),
    /// An open id: a group or a user.
    OpenId(String),
    /// Nothing to go by.
    Nowhere,
}

impl Place {
    /// Reads it out of a payload, whatever the event's type.
    #[must_use]
    pub fn of(t: &str, d: &Value) -> Self {
        if t.starts_with("GUILD_")
            && !t.starts_with("GUILD_MEMBER_")
            && let Some(guild) = numeric(&d["id"])
        {
            return Self::Guild(guild);
        }
        if let Some(guild) = numeric(&d["guild_id"]).or_else(|| numeric(&d["message"]["guild_id"]))
        {
            return Self::Guild(guild);
        }
        let open_ids = [
            &d["group_openid"],
            &d["author"]["user_openid"],
            &d["user_openid"],
            &d["openid"],
            &d["group_id"],
        ];
        let open_id = open_ids.into_iter().filter_map(Value::as_str).find(|id| !id.is_empty());
        open_id.map_or(Self::Nowhere, |id| Self::OpenId(id.to_owned()))
    }

    /// True when `shard` is to get an event of this place.
    #[must_use]
    pub fn goes_to(&self, shard: Shard, rule: GrouplessRule) -> bool {
        let count = u64::from(shard.count.max(1));
        let home = match (self, rule) {
            (Self::Guild(guild), _) => (guild >> 22) % count,
            (_, GrouplessRule::EveryShard) => return true,
            (_, GrouplessRule::FirstShard) | (Self::Nowhere, GrouplessRule::Hash) => 0,
            (Self::OpenId(id), GrouplessRule::Hash) => fnv1a64(id.as_bytes()) % count,
        };
        u64::from(shard.index) == home
    }
}

/// Ids are strings on the wire, but a few documented examples print numbers.
fn numeric(id: &Value) -> Option<u64> {
    id.as_u64().or_else(|| id.as_str()?.parse().ok())
}

/// FNV-1a with 64 bits.
#[must_use]
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_guild_formula_is_the_documented_one() {
        let check = |guild: u64, count, index| {
            let place = Place::of("CHANNEL_CREATE", &json!({"guild_id": guild.to_string()}));
            assert_eq!(place, Place::Guild(guild));
            for other in 0..count {
                let shard = Shard { index: other, count };
                assert_eq!(place.goes_to(shard, GrouplessRule::EveryShard), other == index);
            }
        };
        check(0, 4, 0);
        check(1 << 22, 4, 1);
        check((7 << 22) | 12_345, 4, 3);
        check(46_646_271_634_786_417, 8, 3);
        check(u64::MAX, 3, ((u64::MAX >> 22) % 3) as u32);
    }

    #[test]
    fn every_kind_of_payload_tells_its_place() {
        let check = |t, d: Value, expected| assert_eq!(Place::of(t, &d), expected, "{t} {d}");
        check("GUILD_CREATE", json!({"id": "9"}), Place::Guild(9));
        check("GUILD_MEMBER_ADD", json!({"guild_id": "9", "user": {"id": "8"}}), Place::Guild(9));
        check("MESSAGE_DELETE", json!({"message": {"guild_id": "9"}}), Place::Guild(9));
        check("FORUM_THREAD_CREATE", json!({"guild_id": 9}), Place::Guild(9));
        let open = |id: &str| Place::OpenId(id.to_owned());
        check("GROUP_AT_MESSAGE_CREATE", json!({"group_openid": "G", "id": "1"}), open("G"));
        check("C2C_MESSAGE_CREATE", json!({"author": {"user_openid": "U"}}), open("U"));
        check("FRIEND_ADD", json!({"openid": "U"}), open("U"));
        check("INTERACTION_CREATE", json!({"user_openid": "U", "group_openid": ""}), open("U"));
        check("ENTER_AIO", json!({}), Place::Nowhere);
    }

    #[test]
    fn an_open_id_lands_by_the_rule_in_force() {
        let place = Place::OpenId("G1".into());
        let homes = |rule| {
            let at = |index| place.goes_to(Shard { index, count: 5 }, rule);
            (0..5).filter(|&index| at(index)).collect::<Vec<u32>>()
        };
        assert_eq!(homes(GrouplessRule::Hash), [(fnv1a64(b"G1") % 5) as u32]);
        assert_eq!(homes(GrouplessRule::FirstShard), [0]);
        assert_eq!(homes(GrouplessRule::EveryShard), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn fnv_gives_the_published_values() {
        assert_eq!(fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
