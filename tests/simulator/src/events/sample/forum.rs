//! Forums, private and open.

use serde_json::{Value, json};

use super::Maker;

/// A forum event of any kind.
///
/// Source: spec/events.md §7. Ids are strings; title and content hold JSON text, which botpy parses.
pub(super) fn any(t: &str, make: &Maker<'_>) -> Option<Value> {
    let mut d = json!({
        "guild_id": make.guild(),
        "channel_id": make.channel(),
        "author_id": make.or("/author_id", || make.number()),
    });
    if t.starts_with("OPEN_FORUM_") {
        return Some(d);
    }
    let (thread, post, reply) = (make.opaque(), make.opaque(), make.opaque());
    match t {
        "FORUM_THREAD_CREATE" | "FORUM_THREAD_UPDATE" | "FORUM_THREAD_DELETE" => {
            d["thread_info"] = json!({
                "thread_id": thread,
                "title": rich("标题"),
                "content": rich("正文"),
                "date_time": make.time(),
            });
        }
        "FORUM_POST_CREATE" | "FORUM_POST_DELETE" => {
            d["post_info"] = json!({
                "thread_id": thread,
                "post_id": post,
                "content": rich("跟帖"),
                "date_time": make.time(),
            });
        }
        "FORUM_REPLY_CREATE" | "FORUM_REPLY_DELETE" => {
            d["reply_info"] = json!({
                "thread_id": thread,
                "post_id": post,
                "reply_id": reply,
                "content": rich("回复"),
                "date_time": make.time(),
            });
        }
        "FORUM_PUBLISH_AUDIT_RESULT" => {
            d["thread_id"] = thread.into();
            d["post_id"] = post.into();
            d["reply_id"] = reply.into();
            d["type"] = 1.into();
            d["result"] = 0.into();
            d["err_msg"] = "".into();
            d["date_time"] = make.time().into();
        }
        _ => return None,
    }
    Some(d)
}

fn rich(text: &str) -> String {
    let elems = json!([{"type": 1, "text": {"text": text}}]);
    json!({"paragraphs": [{"elems": elems, "props": {}}]}).to_string()
}
