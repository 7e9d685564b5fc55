//! Threads, posts and replies of forums.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::place::Ids;
use super::rich_text::words;
use super::{Event, Facts, Text};
use crate::lenient::{Raw, members};

/// Something written in a forum; of open forums the platform tells no more than the author.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forum<'a> {
    /// Who wrote it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Text<'a>>,
    /// The thread.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<Text<'a>>,
    /// The post in the thread.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub post_id: Option<Text<'a>>,
    /// The reply to the post.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reply_id: Option<Text<'a>>,
    /// The words of the title.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text<'a>>,
    /// The words of the content; lines are the writer's paragraphs.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
    /// What became of it, when the bot published it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<ForumAudit<'a>>,
}

/// The end of a forum audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForumAudit<'a> {
    /// The platform's number of what was published: 1 a thread, 2 a post, 3 a reply.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub published: Option<i64>,
    /// Whether it is shown; absent of a result we do not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// Why not.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text<'a>>,
}

members!(Members {
    author_id,
    thread_info,
    post_info,
    reply_info,
    thread_id,
    post_id,
    reply_id,
    kind "type",
    result,
    err_msg,
    date_time,
});
members!(Info { thread_id, post_id, reply_id, title, content, date_time });

/// Reads FORUM_ and OPEN_FORUM_ types.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    let parts = [read.thread_info, read.post_info, read.reply_info];
    let part = parts.into_iter().find(|part| part.is_object()).unwrap_or_default();
    let info = Info::read(part);
    event.forum = Some(Box::new(Forum {
        author: Text::read(read.author_id),
        thread_id: Text::read(info.thread_id.or(read.thread_id)),
        post_id: Text::read(info.post_id.or(read.post_id)),
        reply_id: Text::read(info.reply_id.or(read.reply_id)),
        title: words(info.title),
        text: words(info.content),
        audit: read.result.whole().map(|result| ForumAudit {
            published: read.kind.whole(),
            passed: match result {
                0 => Some(true),
                1 => Some(false),
                _ => None,
            },
            reason: Text::read(read.err_msg),
        }),
    }));
    // Of what is changed or deleted this is when it was written, which may be long ago.
    let fresh = event.wire_type.ends_with("_CREATE") || !part.is_object();
    let time = Moment::read(info.date_time.or(read.date_time)).filter(|_| fresh);
    Facts { ids: Ids::read(d), own_id: None, time }
}
