//! Messages, in one shape for channels, direct messages, groups and single chats.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::content::{Markup, plain};
use super::moment::Moment;
use super::place::Ids;
use super::quote::Indexes;
use super::{Attachment, Command, Event, Facts, Mention, MentionOf, Quote, Text, is_false};
use crate::id::{Scene, UserId};
use crate::lenient::{Raw, members};

/// What somebody wrote, or took back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message<'a> {
    /// Its id, which a reply names as `msg_id`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// Who wrote it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author<'a>>,
    /// What it says, without mentions; empty if it has attachments only, absent of a message that
    /// was taken back.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
    /// Whether it is for the bot: it mentions the bot, or was written where only the two are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mentioned: bool,
    /// Who else it mentions, and the bot itself.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention<'a>>,
    /// The command in it, where the text begins with `/`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command<'a>>,
    /// Pictures, voice, video and files.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment<'a>>,
    /// The message that it quotes.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Quote<'a>>,
    /// The name by which others may quote it in groups and single chats: `REFIDX_…`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Text<'a>>,
    /// Its place among the messages of its channel, digits.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub seq_in_channel: Option<Text<'a>>,
    /// Who took it back.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<Text<'a>>,
}

/// Who wrote a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Author<'a> {
    /// The user, in the id space of the scene.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// `owner`, `admin`, `channel_admin` or `member`, or what the platform says instead; absent
    /// where it says nothing.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Text<'a>>,
    /// Whether it is a bot.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bot: bool,
    /// The name to show.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
}

members!(Members {
    id,
    guild_id,
    channel_id,
    group_openid,
    group_id,
    content,
    timestamp,
    author,
    member,
    mentions,
    mention_everyone,
    attachments,
    message_reference,
    message_type,
    message_scene,
    msg_elements,
    seq_in_channel,
});

members!(AuthorMembers { id, user_openid, member_openid, member_role, username, bot });
members!(GuildMember { nick, roles });

/// Reads any of the six types of messages.
pub(super) fn read<'a>(
    event: &mut Event<'a>,
    d: Raw<'a>,
    scene: Option<Scene>,
    bot: Option<&UserId>,
) -> Facts<'a> {
    let read = Members::read(d);
    let author = AuthorMembers::read(read.author);
    let user = author.user_openid.or(author.member_openid).or(author.id);
    let guild_side = matches!(scene, Some(Scene::Channel | Scene::Dm));
    let markup = if guild_side { Markup::TagsAndEntities } else { Markup::Tags };
    let mentions = Mention::read_all(read.mentions, read.mention_everyone, bot);
    let text = read.content.text().map_or_else(Text::default, |content| plain(content, markup));
    let indexes = Indexes::read(read.message_scene);
    let id = Text::read(read.id);
    event.message = Some(Message {
        id: id.clone(),
        author: read.author.is_object().then(|| Author {
            id: Text::read(user),
            role: Text::read(author.member_role).or_else(|| role(read.member)),
            bot: author.bot.flag().unwrap_or_default(),
            name: name(author.username, read.member),
        }),
        mentioned: matches!(&*event.wire_type, "AT_MESSAGE_CREATE" | "GROUP_AT_MESSAGE_CREATE")
            || matches!(scene, Some(Scene::Dm | Scene::C2c))
            || mentions.iter().any(|mention| mention.of == MentionOf::Bot),
        mentions,
        command: Command::read(&text),
        text: Some(text),
        attachments: Attachment::read_all(read.attachments),
        reply_to: Quote::read(
            read.message_reference,
            read.message_type,
            indexes.quoted,
            read.msg_elements,
        ),
        index: indexes.own,
        seq_in_channel: Text::read(read.seq_in_channel),
        deleted_by: None,
    });
    Facts {
        ids: Ids {
            guild: Text::read(read.guild_id),
            channel: Text::read(read.channel_id),
            group: Text::read(read.group_openid.or(read.group_id)),
            user: if scene == Some(Scene::C2c) { Text::read(user) } else { None },
            spoken: None,
        },
        own_id: id,
        time: Moment::read(read.timestamp),
    }
}

members!(Deletion { message, op_user });

/// Reads any of the three types of messages taken back.
pub(super) fn read_deletion<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Deletion::read(d);
    let message = Members::read(read.message);
    let author = AuthorMembers::read(message.author);
    let id = Text::read(message.id);
    event.message = Some(Message {
        id: id.clone(),
        author: message.author.is_object().then(|| Author {
            id: Text::read(author.id),
            role: None,
            bot: author.bot.flag().unwrap_or_default(),
            name: Text::read(author.username),
        }),
        seq_in_channel: Text::read(message.seq_in_channel),
        deleted_by: Text::read(AuthorMembers::read(read.op_user).id),
        ..Message::default()
    });
    Facts { ids: Ids::read(read.message), own_id: id, time: None }
}

/// A nick is what the others see.
fn name<'a>(username: Raw<'a>, member: Raw<'a>) -> Option<Text<'a>> {
    Text::read(GuildMember::read(member).nick).or_else(|| Text::read(username))
}

/// The highest of a guild member's roles that everybody has in common; of a member with other
/// roles only, `member`.
///
/// Source: PLATFORM.md, "guild roles".
fn role(member: Raw<'_>) -> Option<Text<'_>> {
    const KNOWN: [(&str, &str); 3] = [("4", "owner"), ("2", "admin"), ("5", "channel_admin")];
    let roles = GuildMember::read(member).roles;
    let mut highest = KNOWN.len();
    roles.each_item(|role| {
        let place = KNOWN.iter().position(|(id, _)| role.id().as_deref() == Some(id));
        highest = highest.min(place.unwrap_or(KNOWN.len()));
    });
    let name = KNOWN.get(highest).map_or("member", |(_, name)| name);
    roles.is_array().then(|| name.into())
}
