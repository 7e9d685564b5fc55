//! How users and groups stand to the bot: who befriends it, adds it, silences it, subscribes, and
//! who asks to be let into a group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::{Moment, read_time};
use super::place::Ids;
use super::{Event, Facts, Text, is_false};
use crate::lenient::{Raw, members};

/// A change between the bot and a user or group; the event's kind says which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relation<'a> {
    /// The user.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    /// The group's member who did it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Text<'a>>,
    /// Where the user found the bot: the platform's number, or its word.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub found_in: Option<Text<'a>>,
    /// What the link that was followed was made to say.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub link_data: Option<Text<'a>>,
}

/// Somebody asks to be let into a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinRequest<'a> {
    /// Its id, which an answer names.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// Who asks.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    /// The name of who asks.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// Whether it is a bot.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bot: bool,
    /// `self_apply` or `invited`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Text<'a>>,
    /// Who invited.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub invited_by: Option<Text<'a>>,
    /// What was written with it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Text<'a>>,
    /// The group's questions and the answers.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answered<'a>>,
    /// What the platform warns of.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Text<'a>>,
    /// The rule that has let them in already.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub approved_by_rule: Option<Text<'a>>,
}

/// A group's question to newcomers, and what one answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answered<'a> {
    /// The question.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Text<'a>>,
    /// The answer.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Text<'a>>,
}

/// A template of messages that was subscribed to, or no longer is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscription<'a> {
    /// The platform's template.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Text<'a>>,
    /// The bot's own template.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub custom_template: Option<Text<'a>>,
    /// Whether messages are allowed; absent of an answer we do not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<bool>,
    /// What a message to the subscriber names.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// When it was changed, RFC 3339.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Text<'a>>,
}

members!(Members {
    openid,
    user_openid,
    op_member_openid,
    timestamp,
    scene,
    scene_param,
    from_source,
});

/// Reads FRIEND_, C2C_MSG_, GROUP_ADD_ROBOT and its like, and ENTER_AIO.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    event.relation = Some(Box::new(Relation {
        user: Text::read(read.openid.or(read.user_openid)),
        operator: Text::read(read.op_member_openid),
        found_in: Text::read(read.scene.or(read.from_source)),
        link_data: Text::read(read.scene_param),
    }));
    Facts { ids: Ids::read(d), own_id: None, time: Moment::read(read.timestamp) }
}

members!(RequestMembers {
    join_request_id,
    member_openid,
    username,
    bot,
    apply_at,
    apply_source,
    invited_by,
    risk_tips,
    verify_info,
    auto_approved,
});
members!(VerifyMembers { verify_message, review_qa_list });
members!(AnsweredMembers { question, answer });
members!(ApprovedMembers { strategy_id });

/// Reads GROUP_JOIN_REQUEST.
pub(super) fn read_join_request<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = RequestMembers::read(d);
    let verify = VerifyMembers::read(read.verify_info);
    let id = Text::read(read.join_request_id);
    let answered = |item| {
        let read = AnsweredMembers::read(item);
        Answered { question: Text::read(read.question), answer: Text::read(read.answer) }
    };
    event.join_request = Some(Box::new(JoinRequest {
        id: id.clone(),
        user: Text::read(read.member_openid),
        name: Text::read(read.username),
        bot: read.bot.flag().unwrap_or_default(),
        source: Text::read(read.apply_source),
        invited_by: Text::read(read.invited_by),
        message: Text::read(verify.verify_message),
        answers: verify.review_qa_list.items().into_iter().map(answered).collect(),
        warning: Text::read(read.risk_tips),
        approved_by_rule: Text::read(ApprovedMembers::read(read.auto_approved).strategy_id),
    }));
    Facts { ids: Ids::read(d), own_id: id, time: Moment::read(read.apply_at) }
}

members!(SubscriptionList { result });
members!(SubscriptionMembers { template_id, custom_template_id, op, subscribe_id, update_ts });

/// Reads SUBSCRIBE_MESSAGE_STATUS.
pub(super) fn read_subscriptions<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let results = SubscriptionList::read(d).result.items();
    let newest =
        results.iter().filter_map(|item| Moment::read(SubscriptionMembers::read(*item).update_ts));
    let time = newest.max_by_key(|moment| moment.at);
    event.subscriptions = results.into_iter().map(subscription).collect();
    Facts { ids: Ids::read(d), own_id: None, time }
}

/// Source: PLATFORM.md, "subscriptions".
fn subscription(item: Raw<'_>) -> Subscription<'_> {
    let read = SubscriptionMembers::read(item);
    Subscription {
        template: Text::read(read.template_id),
        custom_template: Text::read(read.custom_template_id),
        allowed: match read.op.whole() {
            Some(1) => Some(true),
            Some(2) => Some(false),
            _ => None,
        },
        id: Text::read(read.subscribe_id),
        updated_at: read_time(read.update_ts),
    }
}
