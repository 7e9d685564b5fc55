//! Which messages and events a bot may still reply to, how often, and which `msg_seq` are taken.
//!
//! A reply is claimed only once everything else about it was found right: a refused message uses
//! nothing up. A claim is never given back, not even when the answer to it is lost on the way; this
//! is what makes a client's second attempt end in 40054005.

use qqrelay_proto::id::{Scene, Scope};

use super::limits::{Origins, Repeats, ReplyLimits};
use super::meter::age;
use super::recent::Recent;
use super::{Allowance, Refusal};
use crate::clock::WallMs;

/// What a reply answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplyTo {
    /// A message: `msg_id`.
    Message(String),
    /// Another event: `event_id`, the envelope's id with its prefix.
    Event(String),
}

/// Whether this type of event takes replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repliable {
    /// It does, within its scene's window.
    Yes,
    /// It does not: 40034027.
    No,
}

/// The events that take replies by `event_id`, and where.
///
/// Source: spec/gateway.md §8.
const REPLIABLE_EVENTS: [(&str, &[Scene]); 17] = [
    ("INTERACTION_CREATE", &[Scene::C2c, Scene::Group]),
    ("C2C_MSG_RECEIVE", &[Scene::C2c]),
    ("FRIEND_ADD", &[Scene::C2c]),
    ("GROUP_ADD_ROBOT", &[Scene::Group]),
    ("GROUP_MSG_RECEIVE", &[Scene::Group]),
    ("GUILD_MEMBER_ADD", GUILD),
    ("GUILD_MEMBER_UPDATE", GUILD),
    ("GUILD_MEMBER_REMOVE", GUILD),
    ("MESSAGE_REACTION_ADD", GUILD),
    ("MESSAGE_REACTION_REMOVE", GUILD),
    ("FORUM_THREAD_CREATE", GUILD),
    ("FORUM_THREAD_UPDATE", GUILD),
    ("FORUM_THREAD_DELETE", GUILD),
    ("FORUM_POST_CREATE", GUILD),
    ("FORUM_POST_DELETE", GUILD),
    ("FORUM_REPLY_CREATE", GUILD),
    ("FORUM_REPLY_DELETE", GUILD),
];

/// A guild's member events name no channel; they may be answered in any of its channels.
const GUILD: &[Scene] = &[Scene::Channel, Scene::Guild];

impl Repliable {
    /// Whether an event of type `t` takes replies in `scene`.
    #[must_use]
    pub fn of_event(t: &str, scene: Scene) -> Self {
        let listed =
            REPLIABLE_EVENTS.iter().any(|(name, scenes)| *name == t && scenes.contains(&scene));
        if listed { Self::Yes } else { Self::No }
    }
}

/// A message or event, and what of its replies is used up.
#[derive(Debug, Clone)]
struct Origin {
    scope: Scope,
    repliable: Repliable,
    at: WallMs,
    replies: u32,
    /// The numbers taken; a handful, since replies are few.
    taken: Vec<u32>,
}

/// A reply that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// What it answers.
    pub to: &'a ReplyTo,
    /// Where it goes.
    pub scope: &'a Scope,
    /// The guild around a channel, to which an event may belong that names no channel.
    pub guild: Option<&'a str>,
    /// Its number; none in guilds, which have no such member.
    pub msg_seq: Option<u32>,
}

/// What one bot may reply to.
#[derive(Debug)]
pub struct Replies {
    limits: ReplyLimits,
    origins: Recent<ReplyTo, Origin>,
}

impl Replies {
    /// Nothing to reply to yet.
    #[must_use]
    pub fn new(limits: ReplyLimits) -> Self {
        Self { origins: Recent::new(limits.remembered), limits }
    }

    /// Notes that the bot was told of a message or event. Told again, it stays as it was.
    pub fn learn(&mut self, to: ReplyTo, scope: Scope, repliable: Repliable, at: WallMs) {
        self.origins.entry(&to, || Origin { scope, repliable, at, replies: 0, taken: Vec::new() });
    }

    /// Claims one reply.
    ///
    /// # Errors
    /// In this order: unknown or not of this place, not repliable, too late, number taken, used up.
    /// "Taken" comes before "used up", so that the last reply's second attempt learns its fate.
    pub fn claim(&mut self, claim: Claim<'_>, now: WallMs) -> Result<(), Refusal> {
        let Claim { to, scope, guild, msg_seq } = claim;
        if self.limits.origins == Origins::Any && !self.origins.contains(to) {
            self.learn(to.clone(), scope.clone(), Repliable::Yes, now);
        }
        let (limits, wording) = (&self.limits, Wording::of(to, scope.scene));
        let origin = self.origins.get_mut(to).ok_or(wording.unknown)?;
        let of_guild = origin.scope.scene == Scene::Guild && guild == Some(&*origin.scope.id);
        if origin.scope != *scope && !of_guild {
            return Err(wording.unknown);
        }
        if origin.repliable == Repliable::No {
            return Err(Refusal::EventNotRepliable);
        }
        let rule = limits.of(scope.scene);
        if rule.within().is_some_and(|within| age(origin.at, now) > within) {
            return Err(wording.late);
        }
        if let Some(msg_seq) = msg_seq
            && limits.repeats == Repeats::Refused
            && origin.taken.contains(&msg_seq)
        {
            return Err(Refusal::Duplicate);
        }
        if matches!(rule, Allowance::Of { count, .. } if origin.replies >= count) {
            return Err(Refusal::RepliesUsedUp);
        }
        origin.replies += 1;
        origin.taken.extend(msg_seq);
        Ok(())
    }

    /// How many replies were made to it; none where it is unknown.
    #[must_use]
    pub fn made(&self, to: &ReplyTo) -> Option<u32> {
        self.origins.get(to).map(|origin| origin.replies)
    }
}

/// The numbers differ between messages and events, and between guilds and v2.
struct Wording {
    unknown: Refusal,
    late: Refusal,
}

impl Wording {
    const fn of(to: &ReplyTo, scene: Scene) -> Self {
        match (scene, to) {
            (Scene::C2c | Scene::Group, ReplyTo::Message(_)) => {
                Self { unknown: Refusal::UnknownReply, late: Refusal::ReplyExpired }
            }
            (_, ReplyTo::Event(_)) => {
                Self { unknown: Refusal::UnknownEvent, late: Refusal::EventExpired }
            }
            (_, ReplyTo::Message(_)) => {
                Self { unknown: Refusal::GuildUnknownReply, late: Refusal::GuildReplyExpired }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: WallMs = 60_000;

    fn message(id: &str) -> ReplyTo {
        ReplyTo::Message(id.into())
    }

    fn knowing(to: ReplyTo, scene: Scene, repliable: Repliable) -> Replies {
        let mut replies = Replies::new(ReplyLimits::default());
        replies.learn(to, Scope::new(scene, "here"), repliable, 0);
        replies
    }

    fn claim(
        replies: &mut Replies,
        to: &ReplyTo,
        scene: Scene,
        msg_seq: Option<u32>,
        now: WallMs,
    ) -> Result<(), Refusal> {
        let scope = Scope::new(scene, "here");
        replies.claim(Claim { to, scope: &scope, guild: None, msg_seq }, now)
    }

    #[test]
    fn a_window_closes_after_its_scenes_time() {
        let check = |scene, minutes: WallMs, late| {
            let to = message("m");
            let mut replies = knowing(to.clone(), scene, Repliable::Yes);
            assert_eq!(claim(&mut replies, &to, scene, None, minutes * MINUTE), Ok(()), "{scene}");
            let after = claim(&mut replies, &to, scene, None, minutes * MINUTE + 1);
            assert_eq!(after, Err(late), "{scene}");
        };
        check(Scene::C2c, 60, Refusal::ReplyExpired);
        check(Scene::Group, 5, Refusal::ReplyExpired);
        check(Scene::Channel, 5, Refusal::GuildReplyExpired);
        check(Scene::Dm, 5, Refusal::GuildReplyExpired);
    }

    #[test]
    fn replies_are_counted_where_the_platform_counts_them() {
        let check = |scene, expected: Option<u32>| {
            let to = message("m");
            let mut replies = knowing(to.clone(), scene, Repliable::Yes);
            let made = (0..100).take_while(|_| claim(&mut replies, &to, scene, None, 1).is_ok());
            assert_eq!(made.count(), expected.unwrap_or(100) as usize, "{scene}");
        };
        check(Scene::C2c, Some(4));
        check(Scene::Group, Some(5));
        check(Scene::Channel, None);
        check(Scene::Dm, None);
    }

    #[test]
    fn a_number_is_taken_for_its_message_only() {
        let mut replies = knowing(message("a"), Scene::Group, Repliable::Yes);
        replies.learn(message("b"), Scope::new(Scene::Group, "here"), Repliable::Yes, 0);
        let mut reply = |id, seq| claim(&mut replies, &message(id), Scene::Group, Some(seq), 1);
        assert_eq!(reply("a", 1), Ok(()));
        assert_eq!(reply("a", 1), Err(Refusal::Duplicate));
        assert_eq!(reply("b", 1), Ok(()));
        assert_eq!(reply("a", 2), Ok(()));
    }

    #[test]
    fn the_last_replys_second_attempt_is_a_duplicate_and_not_used_up() {
        let to = message("m");
        let mut replies = knowing(to.clone(), Scene::C2c, Repliable::Yes);
        for seq in 1..=4 {
            assert_eq!(claim(&mut replies, &to, Scene::C2c, Some(seq), 1), Ok(()));
        }
        assert_eq!(claim(&mut replies, &to, Scene::C2c, Some(4), 2), Err(Refusal::Duplicate));
        assert_eq!(claim(&mut replies, &to, Scene::C2c, Some(5), 2), Err(Refusal::RepliesUsedUp));
    }

    #[test]
    fn what_was_never_pushed_here_cannot_be_replied_to() {
        let check = |to: ReplyTo, scene, place: &str, expected| {
            let mut replies = knowing(message("m"), Scene::Group, Repliable::Yes);
            let scope = Scope::new(scene, place);
            let asked = Claim { to: &to, scope: &scope, guild: None, msg_seq: Some(1) };
            assert_eq!(replies.claim(asked, 1), expected, "{to:?} in {scope}");
        };
        let event = |id: &str| ReplyTo::Event(id.into());
        check(message("m"), Scene::Group, "here", Ok(()));
        check(message("m"), Scene::Group, "elsewhere", Err(Refusal::UnknownReply));
        check(message("m"), Scene::C2c, "here", Err(Refusal::UnknownReply));
        check(message("other"), Scene::Group, "here", Err(Refusal::UnknownReply));
        check(message("other"), Scene::Channel, "1", Err(Refusal::GuildUnknownReply));
        check(event("m"), Scene::Group, "here", Err(Refusal::UnknownEvent));
    }

    #[test]
    fn only_listed_events_are_repliable_and_only_where_listed() {
        let check = |t, scene, expected| assert_eq!(Repliable::of_event(t, scene), expected, "{t}");
        check("INTERACTION_CREATE", Scene::Group, Repliable::Yes);
        check("INTERACTION_CREATE", Scene::Channel, Repliable::No);
        check("FRIEND_ADD", Scene::C2c, Repliable::Yes);
        check("FRIEND_DEL", Scene::C2c, Repliable::No);
        check("GUILD_MEMBER_ADD", Scene::Guild, Repliable::Yes);
        check("FORUM_THREAD_CREATE", Scene::Channel, Repliable::Yes);

        let to = ReplyTo::Event("FRIEND_DEL:1".into());
        let mut replies = knowing(to.clone(), Scene::C2c, Repliable::No);
        let refused = claim(&mut replies, &to, Scene::C2c, Some(1), 1);
        assert_eq!(refused, Err(Refusal::EventNotRepliable));
    }

    #[test]
    fn a_guilds_event_may_be_answered_in_its_channels() {
        let to = ReplyTo::Event("GUILD_MEMBER_ADD:1".into());
        let mut replies = knowing(to.clone(), Scene::Guild, Repliable::Yes);
        let scope = Scope::new(Scene::Channel, "7");
        let mut reply = |guild| {
            replies.claim(Claim { to: &to, scope: &scope, guild: Some(guild), msg_seq: None }, 1)
        };
        assert_eq!(reply("here"), Ok(()));
        assert_eq!(reply("another"), Err(Refusal::UnknownEvent));
    }

    #[test]
    fn any_id_does_where_events_are_not_remembered() {
        let limits = ReplyLimits { origins: Origins::Any, ..ReplyLimits::default() };
        let mut replies = Replies::new(limits);
        let to = message("never seen");
        assert_eq!(claim(&mut replies, &to, Scene::Group, Some(1), 0), Ok(()));
        assert_eq!(claim(&mut replies, &to, Scene::Group, Some(1), 1), Err(Refusal::Duplicate));
    }

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let mut replies = Replies::new(ReplyLimits { remembered: 2, ..ReplyLimits::default() });
        for id in ["a", "b", "c"] {
            replies.learn(message(id), Scope::new(Scene::Group, "here"), Repliable::Yes, 0);
        }
        assert_eq!(replies.made(&message("a")), None);
        assert_eq!(replies.made(&message("c")), Some(0));
    }

    proptest! {
        /// However a client retries, one message is answered at most its count of times, each number once.
        #[test]
        fn no_retry_shows_a_reply_twice(
            attempts in prop::collection::vec((1_u32..8, 0_i64..10 * MINUTE), 0..60),
        ) {
            let to = message("m");
            let mut replies = knowing(to.clone(), Scene::Group, Repliable::Yes);
            let mut shown = Vec::new();
            for (seq, now) in attempts {
                if claim(&mut replies, &to, Scene::Group, Some(seq), now).is_ok() {
                    prop_assert!(now <= 5 * MINUTE);
                    prop_assert!(!shown.contains(&seq));
                    shown.push(seq);
                }
            }
            prop_assert!(shown.len() <= 5);
            prop_assert_eq!(replies.made(&to), u32::try_from(shown.len()).ok());
        }
    }
}
