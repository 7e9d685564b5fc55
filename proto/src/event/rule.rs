//! Of every type the platform sends: where it happened, what tells it from others, and whether it
//! can be answered.

use crate::id::Scene;

/// Where the events of a type happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// Always in this scene.
    In(Scene),
    /// In a group or with a user, as the event says.
    GroupOrUser,
    /// In a channel, a group or with a user, as the event says.
    Spoken,
    /// Nobody knows: in the narrowest place that it names.
    Unknown,
}

impl Home {
    /// The scene, where the type alone tells it.
    pub(super) const fn scene(self) -> Option<Scene> {
        match self {
            Self::In(scene) => Some(scene),
            Self::GroupOrUser | Self::Spoken | Self::Unknown => None,
        }
    }
}

/// What tells an event from every other of its bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The envelope's id.
    Envelope,
    /// An id of the thing itself: the same in whatever envelope it comes.
    Own,
    /// An id of the thing, together with the type: two types tell of one thing.
    OwnAndType,
    /// The envelope's id, or else as [`Key::OwnAndType`].
    EnvelopeOrOwnAndType,
}

/// What an answer to an event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The message's id.
    Message,
    /// The envelope's id, in these scenes.
    Event(&'static [Scene]),
    /// Nothing: it takes no answer.
    Never,
}

/// What holds for one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) home: Home,
    pub(super) key: Key,
    pub(super) answer: Answer,
}

impl Rule {
    const fn new(home: Home, key: Key, answer: Answer) -> Self {
        Self { home, key, answer }
    }

    /// The rule of a frame's `t`.
    pub(super) fn of(wire: &str) -> Self {
        let place = TABLE.binary_search_by(|(known, _)| known.cmp(&wire));
        place.map_or(UNKNOWN, |place| TABLE[place].1)
    }
}

const UNKNOWN: Rule = Rule::new(Home::Unknown, Key::Envelope, Answer::Never);

const GUILD: Rule = Rule::new(Home::In(Scene::Guild), Key::Envelope, Answer::Never);
const GUILD_MEMBER: Rule =
    Rule::new(Home::In(Scene::Guild), Key::Envelope, Answer::Event(&[Scene::Guild]));
const CHANNEL: Rule = Rule::new(Home::In(Scene::Channel), Key::Envelope, Answer::Never);
const CHANNEL_ANSWERED: Rule =
    Rule::new(Home::In(Scene::Channel), Key::Envelope, Answer::Event(&[Scene::Channel]));
const AUDIT: Rule = Rule::new(Home::In(Scene::Channel), Key::OwnAndType, Answer::Never);
const GROUP: Rule = Rule::new(Home::In(Scene::Group), Key::Envelope, Answer::Never);
const GROUP_ANSWERED: Rule =
    Rule::new(Home::In(Scene::Group), Key::Envelope, Answer::Event(&[Scene::Group]));
const USER: Rule = Rule::new(Home::In(Scene::C2c), Key::Envelope, Answer::Never);
const USER_ANSWERED: Rule =
    Rule::new(Home::In(Scene::C2c), Key::Envelope, Answer::Event(&[Scene::C2c]));

const fn message(scene: Scene) -> Rule {
    Rule::new(Home::In(scene), Key::Own, Answer::Message)
}

const fn deletion(scene: Scene) -> Rule {
    Rule::new(Home::In(scene), Key::EnvelopeOrOwnAndType, Answer::Never)
}

/// Every type we know, by name.
///
/// Source: PLATFORM.md, "events" (place and identity) and "reply windows" (what takes an answer).
#[rustfmt::skip]
const TABLE: &[(&str, Rule)] = &[
    ("AT_MESSAGE_CREATE", message(Scene::Channel)),
    ("AUDIO_FINISH", CHANNEL),
    ("AUDIO_OFF_MIC", CHANNEL),
    ("AUDIO_ON_MIC", CHANNEL),
    ("AUDIO_OR_LIVE_CHANNEL_MEMBER_ENTER", CHANNEL),
    ("AUDIO_OR_LIVE_CHANNEL_MEMBER_EXIT", CHANNEL),
    ("AUDIO_START", CHANNEL),
    ("C2C_MESSAGE_CREATE", message(Scene::C2c)),
    ("C2C_MSG_RECEIVE", USER_ANSWERED),
    ("C2C_MSG_REJECT", USER),
    ("CHANNEL_CREATE", GUILD),
    ("CHANNEL_DELETE", GUILD),
    ("CHANNEL_UPDATE", GUILD),
    ("DIRECT_MESSAGE_CREATE", message(Scene::Dm)),
    ("DIRECT_MESSAGE_DELETE", deletion(Scene::Dm)),
    ("ENTER_AIO", USER),
    ("FORUM_POST_CREATE", CHANNEL_ANSWERED),
    ("FORUM_POST_DELETE", CHANNEL_ANSWERED),
    ("FORUM_PUBLISH_AUDIT_RESULT", CHANNEL),
    ("FORUM_REPLY_CREATE", CHANNEL_ANSWERED),
    ("FORUM_REPLY_DELETE", CHANNEL_ANSWERED),
    ("FORUM_THREAD_CREATE", CHANNEL_ANSWERED),
    ("FORUM_THREAD_DELETE", CHANNEL_ANSWERED),
    ("FORUM_THREAD_UPDATE", CHANNEL_ANSWERED),
    ("FRIEND_ADD", USER_ANSWERED),
    ("FRIEND_DEL", USER),
    ("GROUP_ADD_ROBOT", GROUP_ANSWERED),
    ("GROUP_AT_MESSAGE_CREATE", message(Scene::Group)),
    ("GROUP_DEL_ROBOT", GROUP),
    ("GROUP_JOIN_REQUEST", Rule::new(Home::In(Scene::Group), Key::Own, Answer::Never)),
    ("GROUP_MEMBER_ADD", GROUP),
    ("GROUP_MEMBER_REMOVE", GROUP),
    ("GROUP_MESSAGE_CREATE", message(Scene::Group)),
    ("GROUP_MSG_RECEIVE", GROUP_ANSWERED),
    ("GROUP_MSG_REJECT", GROUP),
    ("GUILD_CREATE", GUILD),
    ("GUILD_DELETE", GUILD),
    ("GUILD_MEMBER_ADD", GUILD_MEMBER),
    ("GUILD_MEMBER_REMOVE", GUILD_MEMBER),
    ("GUILD_MEMBER_UPDATE", GUILD_MEMBER),
    ("GUILD_UPDATE", GUILD),
    ("INTERACTION_CREATE",
        Rule::new(Home::Spoken, Key::Own, Answer::Event(&[Scene::C2c, Scene::Group]))),
    ("MESSAGE_AUDIT_PASS", AUDIT),
    ("MESSAGE_AUDIT_REJECT", AUDIT),
    ("MESSAGE_CREATE", message(Scene::Channel)),
    ("MESSAGE_DELETE", deletion(Scene::Channel)),
    ("MESSAGE_REACTION_ADD", CHANNEL_ANSWERED),
    ("MESSAGE_REACTION_REMOVE", CHANNEL_ANSWERED),
    ("OPEN_FORUM_POST_CREATE", CHANNEL),
    ("OPEN_FORUM_POST_DELETE", CHANNEL),
    ("OPEN_FORUM_REPLY_CREATE", CHANNEL),
    ("OPEN_FORUM_REPLY_DELETE", CHANNEL),
    ("OPEN_FORUM_THREAD_CREATE", CHANNEL),
    ("OPEN_FORUM_THREAD_DELETE", CHANNEL),
    ("OPEN_FORUM_THREAD_UPDATE", CHANNEL),
    ("PUBLIC_MESSAGE_DELETE", deletion(Scene::Channel)),
    ("SUBSCRIBE_MESSAGE_STATUS", Rule::new(Home::GroupOrUser, Key::Envelope, Answer::Never)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn every_type_has_one_rule_and_can_be_found() {
        assert!(TABLE.is_sorted_by(|(a, _), (b, _)| a < b));
        let kinds = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Unknown);
        let known: Vec<_> = kinds.flat_map(|kind| kind.wire_types()).collect();
        assert_eq!(known.len(), TABLE.len());
        assert!(known.iter().all(|wire| Rule::of(wire) != UNKNOWN));
        assert_eq!(Rule::of("SOMETHING_NEW"), UNKNOWN);
    }
}
