//! Reactions to what somebody wrote.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::place::Ids;
use super::{Event, Facts, Text};
use crate::lenient::{Raw, members};

/// A reaction that was set or taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reaction<'a> {
    /// Whose it is.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    /// What it is on.
    #[serde(borrow)]
    pub target: Typed<'a>,
    /// The emoji: `system` with a number, or `unicode`.
    #[serde(borrow)]
    pub emoji: Typed<'a>,
}

/// An id and what it is an id of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Typed<'a> {
    /// The id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// Its type by name, or as the platform wrote it where we know no name.
    #[serde(rename = "type", borrow, default, skip_serializing_if = "Option::is_none")]
    pub id_type: Option<Text<'a>>,
}

/// Targets are numbers in the documents and texts on the wire, one of them misspelt.
///
/// Source: PLATFORM.md, "reactions".
const TARGETS: &[(&str, &str)] = &[
    ("0", "message"),
    ("1", "thread"),
    ("2", "post"),
    ("3", "reply"),
    ("ReactionTargetType_MSG", "message"),
    ("ReactionTargetType_FEED", "thread"),
    ("ReactionTargetType_COMMNENT", "post"),
    ("ReactionTargetType_COMMENT", "post"),
    ("ReactionTargetType_REPLY", "reply"),
];

/// Source: PLATFORM.md, "reactions".
const EMOJI: &[(&str, &str)] = &[("1", "system"), ("2", "unicode")];

members!(Members { user_id, target, emoji });
members!(TypedMembers { id, kind "type" });

/// Reads MESSAGE_REACTION_ADD and MESSAGE_REACTION_REMOVE.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    event.reaction = Some(Box::new(Reaction {
        user: Text::read(read.user_id),
        target: typed(read.target, TARGETS),
        emoji: typed(read.emoji, EMOJI),
    }));
    Facts { ids: Ids::read(d), own_id: None, time: None }
}

fn typed<'a>(raw: Raw<'a>, names: &[(&str, &'static str)]) -> Typed<'a> {
    let read = TypedMembers::read(raw);
    let id_type = Text::read(read.kind).map(|wire| {
        let known = names.iter().find(|(written, _)| *written == &*wire);
        known.map_or(wire, |(_, name)| (*name).into())
    });
    Typed { id: Text::read(read.id), id_type }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_name_however_it_is_written() {
        let check = |kind: &str, expected: Option<&str>| {
            let json = format!(r#"{{"id":"M","type":{kind}}}"#);
            let raw: &serde_json::value::RawValue = serde_json::from_str(&json).expect("JSON");
            let target = typed(raw.into(), TARGETS);
            assert_eq!(target.id.as_deref(), Some("M"));
            assert_eq!(target.id_type.as_deref(), expected, "{kind}");
        };
        check("0", Some("message"));
        check("\"ReactionTargetType_MSG\"", Some("message"));
        check("\"ReactionTargetType_COMMNENT\"", Some("post"));
        check("3", Some("reply"));
        check("9", Some("9"));
        check("\"ReactionTargetType_NEW\"", Some("ReactionTargetType_NEW"));
        check("null", None);
    }
}
