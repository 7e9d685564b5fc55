//! Events in one shape for all scenes.
//!
//! One type is written by gateways and read by everybody else. It borrows from the frame or the
//! record it was made of, and `raw` is the platform's own text, byte for byte: what we read wrong,
//! or do not know yet, is still there.

mod attachment;
mod audio;
mod audit;
mod content;
mod forum;
mod guild;
mod identity;
mod interaction;
mod kind;
mod member;
mod mention;
mod message;
mod moment;
mod normalise;
mod place;
mod quote;
mod reaction;
mod relation;
pub mod reply_right;
mod rich_text;
mod rule;
#[cfg(test)]
mod tests;
mod text;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub use self::attachment::Attachment;
pub use self::audio::Audio;
pub use self::audit::Audit;
pub use self::content::Command;
pub use self::forum::{Forum, ForumAudit};
pub use self::guild::{Channel, Guild};
pub use self::interaction::Interaction;
pub use self::kind::EventKind;
pub use self::member::Member;
pub use self::mention::{Mention, MentionOf};
pub use self::message::{Author, Message};
pub use self::normalise::{Arrival, Unrelayable, normalise};
pub use self::quote::Quote;
pub use self::reaction::{Reaction, Typed};
pub use self::relation::{Answered, JoinRequest, Relation, Subscription};
pub use self::reply_right::{ReplyRight, ReplyTarget};
pub use self::text::Text;

use self::moment::Moment;
use self::place::Ids;
use crate::id::{Scene, Scope, Seq, ShardId};
use crate::schema;
use crate::subject::Source;
use crate::time::UnixMs;

/// Something that happened, told to one bot.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "qqrelay event, version 1")]
pub struct Event<'a> {
    /// Version of this shape; members may be added within one.
    pub v: u8,
    /// `<app>:<key>`: the same whenever and by whatever way this event comes again.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// The bot's application id.
    #[serde(borrow)]
    pub app: Text<'a>,
    /// What happened, by our name.
    pub kind: EventKind,
    /// What happened, by the platform's name.
    #[serde(rename = "type", borrow)]
    pub wire_type: Text<'a>,
    /// What kind of place it happened in.
    pub scene: Scene,
    /// The place; events of one keep their order.
    #[serde(borrow)]
    pub scope: Text<'a>,
    /// The guild, where there is one; of a direct message, the virtual one made for it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub guild: Option<Text<'a>>,
    /// The channel, where there is one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Text<'a>>,
    /// When it happened by the platform's clock, RFC 3339.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Text<'a>>,
    /// When it reached us.
    pub received: UnixMs,
    /// How it reached us.
    #[serde(borrow)]
    pub origin: Origin<'a>,
    /// What may be answered, and until when.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyRight<'a>>,
    /// Of messages written or taken back.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message<'a>>,
    /// Of members of guilds and groups.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Box<Member<'a>>>,
    /// Of guilds.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub guild_info: Option<Box<Guild<'a>>>,
    /// Of channels.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub channel_info: Option<Box<Channel<'a>>>,
    /// Of reactions.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<Box<Reaction<'a>>>,
    /// Of interactions.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<Box<Interaction<'a>>>,
    /// Of audits of the bot's messages.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Box<Audit<'a>>>,
    /// Of forums.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub forum: Option<Box<Forum<'a>>>,
    /// Of audio, video and live channels.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Box<Audio<'a>>>,
    /// Of friends and groups who add, leave or silence the bot.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Box<Relation<'a>>>,
    /// Of people who ask to be let into a group.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub join_request: Option<Box<JoinRequest<'a>>>,
    /// Of subscriptions.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscription<'a>>,
    /// Whether `raw` was left out because the record would have been too large for the log.
    #[serde(default, skip_serializing_if = "is_false")]
    pub raw_dropped: bool,
    /// The platform's `d`, untouched.
    #[serde(
        borrow,
        default,
        deserialize_with = "any_value",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "serde_json::Value")]
    pub raw: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// The version that this release writes.
    pub const VERSION: u8 = 1;

    /// The JSON Schema of what is written, as `proto/schema/event.v1.json` has it.
    #[must_use]
    pub fn schema() -> Schema {
        schema::written::<Event<'_>>()
    }

    /// Reads an event back from the log.
    ///
    /// # Errors
    ///
    /// The text is no event of ours.
    pub fn parse(json: &'a str) -> Result<Self, EventError> {
        let event: Self = serde_json::from_str(json)?;
        if event.v == Self::VERSION { Ok(event) } else { Err(EventError::Version(event.v)) }
    }

    /// Writes it behind what the buffer holds already.
    pub fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("texts and numbers are JSON, and a Vec takes all");
    }

    /// The place that its order holds in.
    #[must_use]
    pub fn place(&self) -> Scope {
        Scope::new(self.scene, self.scope.as_str())
    }

    /// Leaves `raw` out, for a log that would not take the whole.
    pub fn drop_raw(&mut self) {
        self.raw_dropped = self.raw.take().is_some() || self.raw_dropped;
    }
}

/// A text that is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not the JSON of one.
    #[error("event cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// Written by a release whose events this one cannot read.
    #[error("event has version {0}, and this release reads {known}", known = Event::VERSION)]
    Version(u8),
}

/// How an event reached us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin<'a> {
    /// Which door.
    pub ingress: Ingress,
    /// The shard, `[index, count]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
    /// The session.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Text<'a>>,
    /// Its place in the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
}

/// A door that events come in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ingress {
    /// A session's socket.
    Websocket,
    /// The webhook.
    Webhook,
    /// The platform of 2016.
    Legacy,
}

impl From<Source> for Ingress {
    fn from(source: Source) -> Self {
        match source {
            Source::Shard(_) => Self::Websocket,
            Source::Webhook => Self::Webhook,
            Source::Legacy => Self::Legacy,
        }
    }
}

/// What the reader of a family has found out for the event as a whole.
struct Facts<'a> {
    /// The places it names.
    ids: Ids<'a>,
    /// The id of the thing it is about.
    own_id: Option<Text<'a>>,
    /// When it happened.
    time: Option<Moment<'a>>,
}

/// A payload of `null` is there all the same.
fn any_value<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
