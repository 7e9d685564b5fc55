//! Buttons that were pressed, menus that were used, and what else the platform calls an
//! interaction.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::place::Ids;
use super::{Event, Facts, Text, is_false};
use crate::lenient::{Raw, members};

/// Something that somebody did with the bot other than writing to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interaction<'a> {
    /// Its id, which an acknowledgement names.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// What it is, the platform's number.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub interaction_type: Option<i64>,
    /// The same by name; absent of a number we do not know.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// Whether somebody sees a spinner until it is acknowledged, a few seconds at most.
    #[serde(default, skip_serializing_if = "is_false")]
    pub needs_ack: bool,
    /// Who did it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    /// The button's id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub button_id: Option<Text<'a>>,
    /// What the button was made to say.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub button_data: Option<Text<'a>>,
    /// The menu item.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub feature_id: Option<Text<'a>>,
    /// The message that the button is on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Text<'a>>,
    /// `LIKE` or `UNLIKE`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<Text<'a>>,
    /// `ENTER_STORY`, `QUIT_STORY`, or the name of a model.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Text<'a>>,
    /// What was allowed: `c2c_push` or `group_push`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub authorized: Option<Text<'a>>,
    /// What was searched for.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub keyword: Option<Text<'a>>,
}

/// Whether somebody waits for an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    Needed,
    Idle,
}

/// Source: PLATFORM.md, "interactions".
const TYPES: &[(i64, &str, Ack)] = &[
    (1, "ping", Ack::Idle),
    (2, "command", Ack::Idle),
    (9, "search", Ack::Needed),
    (10, "proxy", Ack::Idle),
    (11, "button", Ack::Needed),
    (12, "menu", Ack::Needed),
    (13, "feedback", Ack::Idle),
    (14, "clear_session", Ack::Idle),
    (15, "story", Ack::Idle),
    (16, "switch_model", Ack::Idle),
    (18, "authorize_user", Ack::Idle),
    (19, "authorize_group", Ack::Idle),
    (20, "authorize_group_status", Ack::Idle),
    (2001, "configuration_query", Ack::Needed),
    (2002, "configuration_update", Ack::Needed),
];

members!(Members { id, kind "type", timestamp, user_openid, group_member_openid, data });
members!(Data { kind "type", resolved });
members!(Resolved {
    user_id,
    button_id,
    button_data,
    feature_id,
    message_id,
    feedback_opt,
    action,
    authorize_data,
    keyword,
});
members!(Authorized { scope });

/// Reads INTERACTION_CREATE.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    let data = Data::read(read.data);
    let resolved = Resolved::read(data.resolved);
    // Where the two differ, the outer one is an old client's word for all of them.
    let number = data.kind.whole().or_else(|| read.kind.whole());
    let known = TYPES.iter().find(|(known, ..)| Some(*known) == number);
    let id = Text::read(read.id);
    event.interaction = Some(Box::new(Interaction {
        id: id.clone(),
        interaction_type: number,
        name: known.map(|(_, name, _)| (*name).into()),
        needs_ack: known.is_some_and(|(.., ack)| *ack == Ack::Needed),
        user: [read.group_member_openid, read.user_openid, resolved.user_id]
            .into_iter()
            .find_map(Text::read),
        button_id: Text::read(resolved.button_id),
        button_data: Text::read(resolved.button_data),
        feature_id: Text::read(resolved.feature_id),
        message_id: Text::read(resolved.message_id),
        feedback: Text::read(resolved.feedback_opt),
        action: Text::read(resolved.action),
        authorized: Text::read(Authorized::read(resolved.authorize_data).scope),
        keyword: Text::read(resolved.keyword),
    }));
    Facts { ids: Ids::read(d), own_id: id, time: Moment::read(read.timestamp) }
}
