//! Who a message mentions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Text, is_false};
use crate::id::UserId;
use crate::lenient::{Raw, members};

/// Whom a mention is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MentionOf {
    /// The bot that got the message.
    Bot,
    /// Somebody else, perhaps another bot.
    User,
    /// All who are there.
    Everyone,
}

/// One mention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mention<'a> {
    /// Whom it is of.
    pub of: MentionOf,
    /// The user, in the id space of the scene.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// The name to show.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// Whether it is a bot.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bot: bool,
}

members!(Members { scope, id, member_openid, username, bot, is_you });

impl<'a> Mention<'a> {
    /// Reads the list of a message; `bot` is the bot's own id in guilds, where it is known.
    pub(super) fn read_all(list: Raw<'a>, everyone: Raw<'a>, bot: Option<&UserId>) -> Vec<Self> {
        let mut mentions = Vec::new();
        list.each_item(|item| mentions.push(Self::read(item, bot)));
        if everyone.flag() == Some(true) && mentions.iter().all(|it| it.of != MentionOf::Everyone) {
            mentions.push(Self { of: MentionOf::Everyone, id: None, name: None, bot: false });
        }
        mentions
    }

    fn read(item: Raw<'a>, bot: Option<&UserId>) -> Self {
        let read = Members::read(item);
        let id = Text::read(read.member_openid.or(read.id));
        let is_own = bot.is_some() && id.as_deref() == bot.map(UserId::as_str);
        // A mention of everybody says `is_you` as well.
        let of = if read.scope.text().as_deref() == Some("all") {
            MentionOf::Everyone
        } else if is_own || read.is_you.flag() == Some(true) {
            MentionOf::Bot
        } else {
            MentionOf::User
        };
        Self { of, id, name: Text::read(read.username), bot: read.bot.flag().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_of_the_bot_of_another_or_of_everyone() {
        let check = |list: &str, everyone: &str, expected: &[MentionOf]| {
            let [list, everyone]: [&serde_json::value::RawValue; 2] =
                [list, everyone].map(|json| serde_json::from_str(json).expect("JSON"));
            let mentions = Mention::read_all(list.into(), everyone.into(), Some(&"77".into()));
            let of: Vec<_> = mentions.iter().map(|mention| mention.of).collect();
            assert_eq!(of, expected, "{list}");
        };
        check(
            r#"[{"id":"77","bot":true},{"id":"78","bot":true}]"#,
            "null",
            &[MentionOf::Bot, MentionOf::User],
        );
        check(
            r#"[{"scope":"single","member_openid":"A","is_you":true}]"#,
            "null",
            &[MentionOf::Bot],
        );
        check(r#"[{"scope":"all","is_you":true}]"#, "true", &[MentionOf::Everyone]);
        check("[]", "true", &[MentionOf::Everyone]);
        check("{}", "1", &[]);
    }
}
