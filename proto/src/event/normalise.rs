//! From a frame to an event. Total: whatever a dispatch says, it is relayed.
//!
//! A member of another type than the documents promise is absent from the event, never an error;
//! a type we have not met is an event of kind `unknown`.

use serde_json::value::RawValue;

use super::moment::Moment;
use super::place::Ids;
use super::rule::{Answer, Rule};
use super::{
    Event, EventKind, Facts, Ingress, Origin, ReplyRight, ReplyTarget, Text, audio, audit, forum,
    guild, identity, interaction, member, message, reaction, relation,
};
use crate::frame::Frame;
use crate::id::{AppId, Scene, SessionId, UserId};
use crate::lenient::{Raw, members};
use crate::opcode::Opcode;
use crate::subject::Source;
use crate::time::UnixMs;

/// What is known of a frame besides what it says.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The bot it was told to.
    pub app: &'a AppId,
    /// The bot's own user id in guilds, where READY has told it: it finds the mentions of the bot.
    pub bot: Option<&'a UserId>,
    /// How it came in.
    pub source: Source,
    /// The session it came in.
    pub session: Option<&'a SessionId>,
    /// When it came.
    pub received: UnixMs,
}

/// Why a frame is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unrelayable {
    /// Another opcode than dispatch.
    #[error("frame is no dispatch")]
    NoDispatch,
    /// A dispatch that does not say of what.
    #[error("dispatch has no type")]
    NoType,
    /// READY and RESUMED are records of the session.
    #[error("dispatch is about the session itself")]
    Session,
}

/// Makes the event of a dispatch.
///
/// # Errors
///
/// The frame is no event at all: nothing is lost by not relaying it as one.
pub fn normalise<'a>(frame: &'a Frame<'a>, arrival: Arrival<'a>) -> Result<Event<'a>, Unrelayable> {
    let wire = match (frame.op, frame.t.as_deref()) {
        (Opcode::Dispatch, Some("READY" | "RESUMED")) => return Err(Unrelayable::Session),
        (Opcode::Dispatch, Some(wire)) => wire,
        (Opcode::Dispatch, None) => return Err(Unrelayable::NoType),
        _ => return Err(Unrelayable::NoDispatch),
    };
    let rule = Rule::of(wire);
    let mut event = blank(frame, wire, arrival);
    let facts = read_family(&mut event, frame.payload(), rule, arrival.bot);
    let own_id = facts.own_id.as_deref();
    event.id = identity::event_id(arrival.app, frame, rule.key, own_id).into();
    if let Some((scene, scope)) = facts.ids.place(rule.home) {
        event.scene = scene;
        event.scope = scope;
    }
    event.reply = reply_right(rule.answer, event.scene, frame, &facts, arrival.received);
    event.guild = facts.ids.guild;
    event.channel = facts.ids.channel;
    event.time = facts.time.map(|moment| moment.text);
    Ok(event)
}

/// All that needs no look into the payload; the bot itself is the widest place there is.
fn blank<'a>(frame: &'a Frame<'a>, wire: &'a str, arrival: Arrival<'a>) -> Event<'a> {
    let app = Text::from(arrival.app.as_str());
    Event {
        v: Event::VERSION,
        id: Text::default(),
        app: app.clone(),
        kind: EventKind::of_wire(wire),
        wire_type: wire.into(),
        scene: Scene::App,
        scope: app,
        guild: None,
        channel: None,
        time: None,
        received: arrival.received,
        origin: Origin {
            ingress: Ingress::from(arrival.source),
            shard: match arrival.source {
                Source::Shard(shard) => Some(shard),
                Source::Webhook | Source::Legacy => None,
            },
            session: arrival.session.map(|session| session.as_str().into()),
            seq: frame.s,
        },
        reply: None,
        message: None,
        member: None,
        guild_info: None,
        channel_info: None,
        reaction: None,
        interaction: None,
        audit: None,
        forum: None,
        audio: None,
        relation: None,
        join_request: None,
        subscriptions: Vec::new(),
        raw_dropped: false,
        raw: Some(frame.d.unwrap_or(RawValue::NULL)),
    }
}

fn read_family<'a>(
    event: &mut Event<'a>,
    d: Raw<'a>,
    rule: Rule,
    bot: Option<&UserId>,
) -> Facts<'a> {
    use EventKind as Kind;
    match event.kind {
        Kind::MessageCreate => message::read(event, d, rule.home.scene(), bot),
        Kind::MessageDelete => message::read_deletion(event, d),
        Kind::MessageReactionAdd | Kind::MessageReactionRemove => reaction::read(event, d),
        Kind::MessageAuditPass | Kind::MessageAuditReject => audit::read(event, d),
        Kind::GuildCreate | Kind::GuildUpdate | Kind::GuildDelete => guild::read(event, d),
        Kind::ChannelCreate | Kind::ChannelUpdate | Kind::ChannelDelete => {
            guild::read_channel(event, d)
        }
        Kind::GuildMemberAdd
        | Kind::GuildMemberUpdate
        | Kind::GuildMemberRemove
        | Kind::GroupMemberAdd
        | Kind::GroupMemberRemove => member::read(event, d),
        Kind::ForumThreadCreate
        | Kind::ForumThreadUpdate
        | Kind::ForumThreadDelete
        | Kind::ForumPostCreate
        | Kind::ForumPostDelete
        | Kind::ForumReplyCreate
        | Kind::ForumReplyDelete
        | Kind::ForumPublishAuditResult
        | Kind::OpenForumThreadCreate
        | Kind::OpenForumThreadUpdate
        | Kind::OpenForumThreadDelete
        | Kind::OpenForumPostCreate
        | Kind::OpenForumPostDelete
        | Kind::OpenForumReplyCreate
        | Kind::OpenForumReplyDelete => forum::read(event, d),
        Kind::AudioStart
        | Kind::AudioFinish
        | Kind::AudioOnMic
        | Kind::AudioOffMic
        | Kind::AudioOrLiveChannelMemberEnter
        | Kind::AudioOrLiveChannelMemberExit => audio::read(event, d),
        Kind::FriendAdd
        | Kind::FriendDel
        | Kind::C2cMsgReject
        | Kind::C2cMsgReceive
        | Kind::GroupAddRobot
        | Kind::GroupDelRobot
        | Kind::GroupMsgReject
        | Kind::GroupMsgReceive
        | Kind::EnterAio => relation::read(event, d),
        Kind::GroupJoinRequest => relation::read_join_request(event, d),
        Kind::SubscribeMessageStatus => relation::read_subscriptions(event, d),
        Kind::InteractionCreate => interaction::read(event, d),
        Kind::Unknown => read_unknown(d),
    }
}

members!(Unknown { timestamp });

fn read_unknown(d: Raw<'_>) -> Facts<'_> {
    let time = Moment::read(Unknown::read(d).timestamp);
    Facts { ids: Ids::read(d), own_id: None, time }
}

/// The right is counted from the earlier of the two clocks' times: the platform's, which decides,
/// unless it is ahead of ours, by which the end will be noticed.
fn reply_right<'a>(
    answer: Answer,
    scene: Scene,
    frame: &'a Frame<'a>,
    facts: &Facts<'a>,
    received: UnixMs,
) -> Option<ReplyRight<'a>> {
    let to = match answer {
        Answer::Message => ReplyTarget::MsgId(facts.own_id.clone()?),
        Answer::Event(scenes) if scenes.contains(&scene) => {
            ReplyTarget::EventId(frame.id.as_deref()?.into())
        }
        Answer::Event(_) | Answer::Never => return None,
    };
    let at = facts.time.as_ref().map_or(received, |time| time.at.min(received));
    ReplyRight::new(to, scene, at)
}
