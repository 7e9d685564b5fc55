//! Guilds, their channels and members, and who listens in them.

use serde_json::{Value, json};

use super::Maker;

/// Source: spec/events.md §4.
pub(super) fn guild(make: &Maker<'_>) -> Value {
    json!({
        "id": make.or("/id", || make.number()),
        "name": "模拟频道",
        "icon": "https://groupprohead.gtimg.cn/sim/100",
        "description": "simulated",
        "owner_id": make.or("/owner_id", || make.number()),
        "member_count": 42,
        "max_members": 300,
        "joined_at": make.time(),
        "op_user_id": make.or("/op_user_id", || make.number()),
    })
}

/// Source: spec/events.md §4.
pub(super) fn channel(make: &Maker<'_>) -> Value {
    json!({
        "id": make.or("/id", || make.channel()),
        "guild_id": make.guild(),
        "name": "闲聊",
        "type": 0,
        "sub_type": 0,
        "owner_id": make.or("/owner_id", || make.number()),
        "op_user_id": make.or("/op_user_id", || make.number()),
    })
}

/// Source: spec/events.md §5.
pub(super) fn member(make: &Maker<'_>) -> Value {
    json!({
        "guild_id": make.guild(),
        "user": make.user("/user"),
        "nick": "路人甲",
        "roles": ["1"],
        "joined_at": make.time(),
        "op_user_id": make.or("/op_user_id", || make.number()),
    })
}

/// Source: spec/events.md §8.
pub(super) fn audio(make: &Maker<'_>) -> Value {
    json!({
        "guild_id": make.guild(),
        "channel_id": make.channel(),
        "audio_url": "https://music.example.invalid/song.mp3",
        "text": "一首歌",
    })
}

/// Source: spec/events.md §8.
pub(super) fn listener(make: &Maker<'_>) -> Value {
    json!({
        "guild_id": make.guild(),
        "channel_id": make.channel(),
        "channel_type": 2,
        "user_id": make.or("/user_id", || make.number()),
    })
}
