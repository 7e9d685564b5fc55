//! What a bot asks to hear of: the bits of the identify mask, as one table.
//!
//! Asking for a bit without the permission closes the connection, so a mask is an operator's
//! setting and only [`Intents::DEFAULT`] is ours. A bit that the table lacks may be set by number:
//! the platform adds some without asking us.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who may set a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Any bot, without asking.
    Everyone,
    /// A bot that applied for it.
    Approval,
    /// A bot that may be used in groups or single chats.
    GroupScene,
    /// A bot of the private domain.
    PrivateBots,
    /// A bot of the public domain.
    PublicBots,
    /// A bot made for audio channels.
    AudioBots,
    /// Nobody said.
    Undocumented,
}

/// One bit of the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Its place, from 0.
    pub bit: u8,
    /// Its name in the platform's documents.
    pub name: &'static str,
    /// Who may set it.
    pub grant: Grant,
    /// The types of events that it brings, as in a frame's `t`.
    pub events: &'static [&'static str],
}

/// Every bit the platform gives a meaning.
///
/// Source: PLATFORM.md, "intents".
#[rustfmt::skip]
const TABLE: &[Intent] = &[
    Intent { bit: 0, name: "GUILDS", grant: Grant::Everyone, events: &[
        "GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE",
        "CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE"] },
    Intent { bit: 1, name: "GUILD_MEMBERS", grant: Grant::Everyone, events: &[
        "GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_REMOVE"] },
    Intent { bit: 9, name: "GUILD_MESSAGES", grant: Grant::PrivateBots, events: &[
        "MESSAGE_CREATE", "MESSAGE_DELETE"] },
    Intent { bit: 10, name: "GUILD_MESSAGE_REACTIONS", grant: Grant::Approval, events: &[
        "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE"] },
    Intent { bit: 12, name: "DIRECT_MESSAGE", grant: Grant::Approval, events: &[
        "DIRECT_MESSAGE_CREATE", "DIRECT_MESSAGE_DELETE"] },
    Intent { bit: 18, name: "OPEN_FORUM_EVENT", grant: Grant::PublicBots, events: &[
        "OPEN_FORUM_THREAD_CREATE", "OPEN_FORUM_THREAD_UPDATE", "OPEN_FORUM_THREAD_DELETE",
        "OPEN_FORUM_POST_CREATE", "OPEN_FORUM_POST_DELETE",
        "OPEN_FORUM_REPLY_CREATE", "OPEN_FORUM_REPLY_DELETE"] },
    Intent { bit: 19, name: "AUDIO_OR_LIVE_CHANNEL_MEMBER", grant: Grant::Approval, events: &[
        "AUDIO_OR_LIVE_CHANNEL_MEMBER_ENTER", "AUDIO_OR_LIVE_CHANNEL_MEMBER_EXIT"] },
    Intent { bit: 23, name: "ENTER_AIO", grant: Grant::Undocumented, events: &["ENTER_AIO"] },
    Intent { bit: 24, name: "GROUP_MEMBER_EVENT", grant: Grant::Approval, events: &[
        "GROUP_MEMBER_ADD", "GROUP_MEMBER_REMOVE", "GROUP_JOIN_REQUEST"] },
    Intent { bit: 25, name: "GROUP_AND_C2C_EVENT", grant: Grant::GroupScene, events: &[
        "C2C_MESSAGE_CREATE", "FRIEND_ADD", "FRIEND_DEL", "C2C_MSG_REJECT", "C2C_MSG_RECEIVE",
        "GROUP_AT_MESSAGE_CREATE", "GROUP_MESSAGE_CREATE", "GROUP_ADD_ROBOT", "GROUP_DEL_ROBOT",
        "GROUP_MSG_REJECT", "GROUP_MSG_RECEIVE", "SUBSCRIBE_MESSAGE_STATUS"] },
    Intent { bit: 26, name: "INTERACTION", grant: Grant::Approval, events: &[
        "INTERACTION_CREATE"] },
    Intent { bit: 27, name: "MESSAGE_AUDIT", grant: Grant::Approval, events: &[
        "MESSAGE_AUDIT_PASS", "MESSAGE_AUDIT_REJECT"] },
    Intent { bit: 28, name: "FORUMS_EVENT", grant: Grant::PrivateBots, events: &[
        "FORUM_THREAD_CREATE", "FORUM_THREAD_UPDATE", "FORUM_THREAD_DELETE",
        "FORUM_POST_CREATE", "FORUM_POST_DELETE", "FORUM_REPLY_CREATE", "FORUM_REPLY_DELETE",
        "FORUM_PUBLISH_AUDIT_RESULT"] },
    Intent { bit: 29, name: "AUDIO_ACTION", grant: Grant::AudioBots, events: &[
        "AUDIO_START", "AUDIO_FINISH", "AUDIO_ON_MIC", "AUDIO_OFF_MIC"] },
    Intent { bit: 30, name: "PUBLIC_GUILD_MESSAGES", grant: Grant::Everyone, events: &[
        "AT_MESSAGE_CREATE", "PUBLIC_MESSAGE_DELETE"] },
];

/// Names that one official client copied from another platform: bits 2 to 8, 11, 13 and 14.
const NEVER: Intents = Intents(0b0110_1001_1111_1100);

impl Intent {
    /// Every bit the platform gives a meaning, lowest first.
    pub const ALL: &[Self] = TABLE;

    /// The bit that brings events of a type; `None` of READY, RESUMED and what we do not know.
    #[must_use]
    pub fn of_wire(wire: &str) -> Option<&'static Self> {
        TABLE.iter().find(|intent| intent.events.contains(&wire))
    }

    /// A mask of this bit alone.
    #[must_use]
    pub const fn mask(&self) -> Intents {
        Intents(1 << self.bit)
    }
}

/// The identify mask: a set of intents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intents(u32);

impl Intents {
    /// What a bot asks for unless told otherwise: guilds and their members, direct messages,
    /// groups and single chats, interactions, public guild messages.
    pub const DEFAULT: Self = Self(1_174_409_219);

    /// The mask of this number, as it would stand in an identify frame.
    ///
    /// # Errors
    ///
    /// An empty mask brings nothing, and some bits must never be set.
    pub const fn from_bits(bits: u32) -> Result<Self, IntentError> {
        match bits & NEVER.0 {
            _ if bits == 0 => Err(IntentError::Empty),
            0 => Ok(Self(bits)),
            meaningless => Err(IntentError::Meaningless(meaningless)),
        }
    }

    /// The number in the identify frame.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of these are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether events of this type can arrive; `None` of a type we do not know.
    #[must_use]
    pub fn brings(self, wire: &str) -> Option<bool> {
        Intent::of_wire(wire).map(|intent| self.contains(intent.mask()))
    }

    /// The bits in it that need a permission or that we do not know: what is left of the mask
    /// without them is `None` if that is nothing.
    #[must_use]
    pub fn unprivileged(self) -> Option<Self> {
        let free = TABLE.iter().filter(|intent| intent.grant == Grant::Everyone);
        let left = self.0 & free.fold(0, |bits, intent| bits | intent.mask().0);
        (left != 0).then_some(Self(left))
    }

    /// The intents we have a name for, lowest bit first.
    pub fn named(self) -> impl Iterator<Item = &'static Intent> {
        TABLE.iter().filter(move |intent| self.contains(intent.mask()))
    }
}

impl Default for Intents {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The names, or the number where a bit has none.
impl fmt::Display for Intents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.named().fold(0, |bits, intent| bits | intent.mask().0);
        if known != self.0 || known == 0 {
            return self.0.fmt(f);
        }
        for (place, intent) in self.named().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            f.write_str(intent.name)?;
        }
        Ok(())
    }
}

/// What is wrong with a mask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// No bit is set.
    #[error("no intent is set, so no event would arrive")]
    Empty,
    /// Bits that mean nothing to the platform.
    #[error("bits {0:#x} mean nothing to the platform and must not be set")]
    Meaningless(u32),
    /// A name that the table lacks.
    #[error("{0:?} is not an intent; known are {known}", known = known_names())]
    Unknown(String),
}

fn known_names() -> String {
    TABLE.iter().map(|intent| intent.name).collect::<Vec<_>>().join(", ")
}

/// Reads a number, or names in any case with commas, bars or blanks between them.
impl FromStr for Intents {
    type Err = IntentError;

    fn from_str(text: &str) -> Result<Self, IntentError> {
        if let Ok(bits) = text.trim().parse() {
            return Self::from_bits(bits);
        }
        let names = text.split([',', '|', ' ']).filter(|name| !name.is_empty());
        Self::from_names(names)
    }
}

impl Intents {
    fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, IntentError> {
        let mut bits = 0;
        for name in names {
            let known = TABLE.iter().find(|intent| intent.name.eq_ignore_ascii_case(name));
            bits |= known.ok_or_else(|| IntentError::Unknown(name.into()))?.mask().0;
        }
        Self::from_bits(bits)
    }
}

impl Serialize for Intents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

/// Takes a number, a text of names, or a list of names.
impl<'de> Deserialize<'de> for Intents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntentsVisitor)
    }
}

struct IntentsVisitor;

impl<'de> Visitor<'de> for IntentsVisitor {
    type Value = Intents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("intents, as a number or as names")
    }

    fn visit_u64<E: de::Error>(self, bits: u64) -> Result<Intents, E> {
        let bits = u32::try_from(bits).map_err(E::custom)?;
        Intents::from_bits(bits).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, bits: i64) -> Result<Intents, E> {
        let bits = u64::try_from(bits).map_err(E::custom)?;
        self.visit_u64(bits)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Intents, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Intents, A::Error> {
        let mut listed: Vec<String> = Vec::new();
        while let Some(name) = names.next_element()? {
            listed.push(name);
        }
        Intents::from_names(listed.iter().map(String::as_str)).map_err(de::Error::custom)
    }
}

impl JsonSchema for Intents {
    fn schema_name() -> Cow<'static, str> {
        "Intents".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<_> = TABLE.iter().map(|intent| intent.name).collect();
        schemars::json_schema!({
            "description": "What the bot asks to hear of: the mask as a number, or names.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
                { "type": "string" },
                { "type": "array", "items": { "type": "string", "enum": names } },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn every_type_we_know_is_brought_by_exactly_one_bit() {
        let known = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Unknown);
        let mut count = 0;
        for wire in known.flat_map(|kind| kind.wire_types()) {
            let bits = TABLE.iter().filter(|intent| intent.events.contains(wire)).count();
            assert_eq!(bits, 1, "{wire}");
            count += 1;
        }
        assert_eq!(TABLE.iter().map(|intent| intent.events.len()).sum::<usize>(), count);
        assert_eq!(Intent::of_wire("READY"), None);
        assert_eq!(Intent::of_wire("SOMETHING_NEW"), None);
    }

    #[test]
    fn the_default_is_what_the_documents_suggest() {
        let bits: Vec<_> = Intents::DEFAULT.named().map(|intent| intent.bit).collect();
        assert_eq!(bits, [0, 1, 12, 25, 26, 30]);
        assert_eq!(Intents::from_bits(Intents::DEFAULT.bits()), Ok(Intents::DEFAULT));
        assert_eq!(Intents::DEFAULT.brings("GROUP_AT_MESSAGE_CREATE"), Some(true));
        assert_eq!(Intents::DEFAULT.brings("MESSAGE_CREATE"), Some(false));
        assert_eq!(Intents::DEFAULT.brings("SOMETHING_NEW"), None);
    }

    #[test]
    fn a_mask_is_read_from_names_or_a_number() {
        let check = |text: &str, expected: u32| {
            assert_eq!(text.parse::<Intents>().map(Intents::bits), Ok(expected), "{text}");
        };
        check("1174409219", 1_174_409_219);
        check("guilds", 1);
        check("GUILDS,GUILD_MEMBERS", 3);
        check("interaction | guilds", 1 << 26 | 1);
        check(&Intents::DEFAULT.to_string(), Intents::DEFAULT.bits());
        check("2147483648", 1 << 31);

        let check = |json: &str, expected: u32| {
            let mask: Intents = serde_json::from_str(json).expect("a valid mask");
            assert_eq!(mask.bits(), expected, "{json}");
        };
        check("513", 513);
        check(r#""GUILDS""#, 1);
        check(r#"["GUILDS","INTERACTION"]"#, 1 << 26 | 1);
    }

    #[test]
    fn a_mask_that_cannot_work_is_refused_with_the_reason() {
        let check = |text: &str, expected: IntentError| {
            assert_eq!(text.parse::<Intents>(), Err(expected), "{text}");
        };
        check("0", IntentError::Empty);
        check("", IntentError::Empty);
        check("4294967295", IntentError::Meaningless(NEVER.0));
        for bit in [2, 3, 4, 5, 6, 7, 8, 11, 13, 14] {
            check(&(1_u32 << bit).to_string(), IntentError::Meaningless(1 << bit));
        }
        check("GUILDS,PRESENCE", IntentError::Unknown("PRESENCE".into()));
        for json in ["-1", "4294967296", "[]", "true", "{}", "[1]"] {
            assert!(serde_json::from_str::<Intents>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_needs_no_permission_is_left_when_the_platform_refuses() {
        let free = Intents::DEFAULT.unprivileged().map(Intents::bits);
        assert_eq!(free, Some(1 | 2 | 1 << 30));
        assert_eq!(Intents(1 << 25).unprivileged(), None);
    }
}
