//! Which intent lets a session see an event.

/// The intent bit that an event type belongs to; none for a type that every session gets.
///
/// Source: spec/events.md §1.
#[must_use]
pub fn intent_of(t: &str) -> Option<u32> {
    let row = TABLE.iter().find(|(_, types)| types.contains(&t));
    row.map(|(bit, _)| 1 << bit)
}

/// Every subscribable event type, by bit.
pub(crate) const TABLE: &[(u32, &[&str])] = &[
    (
        0,
        &[
            "GUILD_CREATE",
            "GUILD_UPDATE",
            "GUILD_DELETE",
            "CHANNEL_CREATE",
            "CHANNEL_UPDATE",
            "CHANNEL_DELETE",
        ],
    ),
    (1, &["GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_REMOVE"]),
    (9, &["MESSAGE_CREATE", "MESSAGE_DELETE"]),
    (10, &["MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE"]),
    (12, &["DIRECT_MESSAGE_CREATE", "DIRECT_MESSAGE_DELETE"]),
    (
        18,
        &[
            "OPEN_FORUM_THREAD_CREATE",
            "OPEN_FORUM_THREAD_UPDATE",
            "OPEN_FORUM_THREAD_DELETE",
            "OPEN_FORUM_POST_CREATE",
            "OPEN_FORUM_POST_DELETE",
            "OPEN_FORUM_REPLY_CREATE",
            "OPEN_FORUM_REPLY_DELETE",
        ],
    ),
    (19, &["AUDIO_OR_LIVE_CHANNEL_MEMBER_ENTER", "AUDIO_OR_LIVE_CHANNEL_MEMBER_EXIT"]),
    (23, &["ENTER_AIO"]),
    (24, &["GROUP_MEMBER_ADD", "GROUP_MEMBER_REMOVE", "GROUP_JOIN_REQUEST"]),
    (
        25,
        &[
            "C2C_MESSAGE_CREATE",
            "FRIEND_ADD",
            "FRIEND_DEL",
            "C2C_MSG_REJECT",
            "C2C_MSG_RECEIVE",
            "GROUP_AT_MESSAGE_CREATE",
            "GROUP_MESSAGE_CREATE",
            "GROUP_ADD_ROBOT",
            "GROUP_DEL_ROBOT",
            "GROUP_MSG_REJECT",
            "GROUP_MSG_RECEIVE",
            "SUBSCRIBE_MESSAGE_STATUS",
        ],
    ),
    (26, &["INTERACTION_CREATE"]),
    (27, &["MESSAGE_AUDIT_PASS", "MESSAGE_AUDIT_REJECT"]),
    (
        28,
        &[
            "FORUM_THREAD_CREATE",
            "FORUM_THREAD_UPDATE",
            "FORUM_THREAD_DELETE",
            "FORUM_POST_CREATE",
            "FORUM_POST_DELETE",
            "FORUM_REPLY_CREATE",
            "FORUM_REPLY_DELETE",
            "FORUM_PUBLISH_AUDIT_RESULT",
        ],
    ),
    (29, &["AUDIO_START", "AUDIO_FINISH", "AUDIO_ON_MIC", "AUDIO_OFF_MIC"]),
    (30, &["AT_MESSAGE_CREATE", "PUBLIC_MESSAGE_DELETE"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::KNOWN_INTENTS;

    #[test]
    fn every_intent_that_exists_has_its_events_and_no_event_has_two() {
        let bits = TABLE.iter().fold(0, |bits, (bit, _)| bits | 1 << bit);
        assert_eq!(bits, KNOWN_INTENTS);
        let mut all: Vec<&str> =
            TABLE.iter().flat_map(|(_, types)| types.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), count), (57, 57));
    }

    #[test]
    fn a_type_nobody_subscribes_to_has_none() {
        assert_eq!(intent_of("READY"), None);
        assert_eq!(intent_of("SOMETHING_NEW"), None);
        assert_eq!(intent_of("AT_MESSAGE_CREATE"), Some(1 << 30));
    }
}
