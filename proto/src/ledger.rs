//! The right to reply to one message or event: how many replies are left, until when, and who
//! holds which number.
//!
//! One [`Ledger`] per app, place and message; a store keeps it for [`LEDGER_LIFE`] and changes it
//! in one transaction. A command claims before each attempt, so that several workers together
//! never send more, or later, than the platform takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandId, MsgSeq};
use crate::event::reply_right::{C2C_REPLIES_MAX, GROUP_REPLIES_MAX};
use crate::id::Scene;
use crate::time::UnixMs;

/// How long a ledger is of use: twice the longest time in which the platform takes replies.
pub const LEDGER_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// Most replies to one message where the platform states no number: a bound, not a rule of its.
pub const REPLIES_MAX: u8 = 100;

/// What is known of the right to reply when a command asks for a share in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Right {
    /// How many replies the platform takes, where it says.
    pub limit: Option<u8>,
    /// When it stops to take them, our reserve included, where that is known.
    pub expires_at: Option<UnixMs>,
}

impl Right {
    /// What a command says of the right it wants to use, and its scene's own number where it says
    /// none; `None` of a push, which uses none.
    #[must_use]
    pub fn of(command: &Command) -> Option<Self> {
        let reply = command.reply.as_ref()?;
        let stated = match command.scene {
            Scene::C2c => Some(C2C_REPLIES_MAX),
            Scene::Group => Some(GROUP_REPLIES_MAX),
            Scene::Guild | Scene::Channel | Scene::Dm | Scene::App => None,
        };
        Some(Self { limit: stricter(stated, reply.limit), expires_at: reply.expires_at })
    }
}

/// What is remembered of one message or event that is replied to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    limit: Option<u8>,
    expires_at: Option<UnixMs>,
    holdings: Vec<Holding>,
    /// Numbers that the platform knows and we do not: another tool's, or forgotten ones of ours.
    foreign: Vec<MsgSeq>,
}

/// One command's share: a number, which is also one of the uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holding {
    command: CommandId,
    msg_seq: MsgSeq,
    /// Attempts that may have reached the platform.
    attempts: u8,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The attempt may be made.
    Granted {
        /// The number its message has; the same for every attempt of one command.
        msg_seq: MsgSeq,
        /// Which attempt it is that may reach the platform, from 1.
        attempt: u8,
    },
    /// As many replies as the platform takes are sent or on their way.
    Exhausted {
        /// That many.
        limit: u8,
    },
    /// The platform no longer takes replies to it.
    Late {
        /// Since this long.
        by: Duration,
    },
}

impl Ledger {
    /// Asks for an attempt of `command`. Of several statements of the right the stricter holds.
    pub fn claim(&mut self, command: &CommandId, right: Right, now: UnixMs) -> Claim {
        self.limit = stricter(self.limit, right.limit);
        self.expires_at = stricter(self.expires_at, right.expires_at);
        if let Some(expires_at) = self.expires_at.filter(|&expires_at| expires_at <= now) {
            return Claim::Late { by: now.since(expires_at) };
        }
        let limit = self.limit.unwrap_or(REPLIES_MAX);
        let place = self.place(command);
        let used = self.holdings.len() + self.foreign.len() + usize::from(place.is_none());
        let begun = place.is_some_and(|place| self.holdings[place].attempts > 0);
        if !begun && used > usize::from(limit) {
            return Claim::Exhausted { limit };
        }
        let place = place.unwrap_or_else(|| {
            let msg_seq = self.free_from(command.msg_seq());
            self.holdings.push(Holding { command: command.clone(), msg_seq, attempts: 0 });
            self.holdings.len() - 1
        });
        let holding = &mut self.holdings[place];
        holding.attempts = holding.attempts.saturating_add(1);
        Claim::Granted { msg_seq: holding.msg_seq, attempt: holding.attempts }
    }

    /// Gives an attempt back that certainly changed nothing: not sent, or refused. With its last
    /// one the command gives back its use, too.
    pub fn release(&mut self, command: &CommandId) {
        let Some(place) = self.place(command) else { return };
        let holding = &mut self.holdings[place];
        holding.attempts = holding.attempts.saturating_sub(1);
        if holding.attempts == 0 {
            self.holdings.remove(place);
        }
    }

    /// The platform has the command's number already, from somebody else: the next claim gets
    /// another number and counts attempts anew. The other one's message has had one of the uses.
    pub fn number_taken(&mut self, command: &CommandId) {
        let begun = |&place: &usize| self.holdings[place].attempts > 0;
        let Some(place) = self.place(command).filter(begun) else { return };
        let taken = self.holdings[place].msg_seq;
        self.foreign.push(taken);
        let msg_seq = self.free_from(taken);
        let holding = &mut self.holdings[place];
        (holding.msg_seq, holding.attempts) = (msg_seq, 0);
    }

    /// The platform takes no more replies, whatever we counted: only commands that have begun go
    /// on, so that they learn what became of them.
    pub fn exhaust(&mut self) {
        self.limit = Some(0);
    }

    /// Replies that can still be granted.
    #[must_use]
    pub fn left(&self) -> usize {
        let used = self.holdings.len() + self.foreign.len();
        usize::from(self.limit.unwrap_or(REPLIES_MAX)).saturating_sub(used)
    }

    fn place(&self, command: &CommandId) -> Option<usize> {
        self.holdings.iter().position(|holding| holding.command == *command)
    }

    /// The first number from this one on that nobody has. There is one: a ledger holds at most
    /// twice [`REPLIES_MAX`] of 65,535, because what has no use left gets no number.
    fn free_from(&self, mut number: MsgSeq) -> MsgSeq {
        let held = |number| self.holdings.iter().any(|holding| holding.msg_seq == number);
        while held(number) || self.foreign.contains(&number) {
            number = number.next();
        }
        number
    }
}

fn stricter<T: Ord>(known: Option<T>, said: Option<T>) -> Option<T> {
    match (known, said) {
        (Some(known), Some(said)) => Some(known.min(said)),
        (known, said) => known.or(said),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::command::{Content, Reply, ReplyTo};
    use crate::id::Scope;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn of(limit: u8) -> Right {
        Right { limit: Some(limit), expires_at: Some(NOW.plus(Duration::from_secs(285))) }
    }

    fn id(number: u32) -> CommandId {
        CommandId::of_handler("102:m1", "echo", number)
    }

    fn granted(claim: Claim) -> (MsgSeq, u8) {
        let Claim::Granted { msg_seq, attempt } = claim else { panic!("{claim:?} is no grant") };
        (msg_seq, attempt)
    }

    #[test]
    fn the_fifth_reply_to_a_single_chat_is_refused_and_the_sixth_to_a_group() {
        for limit in [4, 5] {
            let mut ledger = Ledger::default();
            for number in 0..limit {
                granted(ledger.claim(&id(number.into()), of(limit), NOW));
            }
            let last = ledger.claim(&id(limit.into()), of(limit), NOW);
            assert_eq!(last, Claim::Exhausted { limit });
        }
    }

    #[test]
    fn a_command_cannot_give_itself_more_replies_than_the_platform_takes() {
        let check = |scene, limit, expected| {
            let place = Scope::new(scene, "A");
            let content = Content::Text("pong".into());
            let mut command = Command::send(id(0), "102".into(), place, content);
            assert_eq!(Right::of(&command), None, "a push uses no right");
            let to = ReplyTo::MsgId("m1".into());
            command.reply = Some(Reply { to, expires_at: Some(NOW), limit });
            assert_eq!(Right::of(&command), Some(Right { limit: expected, expires_at: Some(NOW) }));
        };
        check(Scene::C2c, None, Some(4));
        check(Scene::C2c, Some(9), Some(4));
        check(Scene::Group, Some(2), Some(2));
        check(Scene::Group, None, Some(5));
        check(Scene::Channel, None, None);
        check(Scene::Dm, Some(3), Some(3));
    }

    #[test]
    fn every_attempt_of_a_command_has_its_number_and_one_use() {
        let mut ledger = Ledger::default();
        let first = granted(ledger.claim(&id(0), of(1), NOW));
        assert_eq!(first, (id(0).msg_seq(), 1));
        assert_eq!(granted(ledger.claim(&id(0), of(1), NOW)), (first.0, 2));
        assert_eq!(ledger.left(), 0);
    }

    #[test]
    fn what_was_not_sent_gives_its_use_back() {
        let mut ledger = Ledger::default();
        granted(ledger.claim(&id(0), of(1), NOW));
        ledger.release(&id(0));
        assert_eq!(granted(ledger.claim(&id(1), of(1), NOW)).1, 1);
        granted(ledger.claim(&id(1), of(1), NOW));
        ledger.release(&id(1));
        let other = ledger.claim(&id(2), of(1), NOW);
        assert_eq!(other, Claim::Exhausted { limit: 1 }, "its first attempt may have landed");
    }

    #[test]
    fn nothing_is_granted_after_the_window() {
        let mut ledger = Ledger::default();
        let right = of(5);
        granted(ledger.claim(&id(0), right, NOW));
        let end = right.expires_at.expect("given");
        assert_eq!(ledger.claim(&id(0), right, end), Claim::Late { by: Duration::ZERO });
        let late = ledger.claim(&id(1), Right::default(), end.plus(Duration::from_secs(2)));
        assert_eq!(late, Claim::Late { by: Duration::from_secs(2) });
    }

    #[test]
    fn two_commands_with_one_number_both_get_one() {
        let (a, b) = (CommandId::from("a"), CommandId::from("b"));
        let mut ledger = Ledger::default();
        let (number, _) = granted(ledger.claim(&a, of(5), NOW));
        ledger.holdings[0].command = b.clone();
        ledger.holdings[0].msg_seq = a.msg_seq();
        assert_eq!(granted(ledger.claim(&a, of(5), NOW)), (number.next(), 1));
    }

    #[test]
    fn a_number_somebody_else_has_costs_a_use_and_is_not_tried_again() {
        let mut ledger = Ledger::default();
        let (number, _) = granted(ledger.claim(&id(0), of(3), NOW));
        ledger.number_taken(&id(0));
        assert_eq!(granted(ledger.claim(&id(0), of(3), NOW)), (number.next(), 1));
        assert_eq!(ledger.left(), 1);
        granted(ledger.claim(&id(1), of(3), NOW));
        ledger.number_taken(&id(1));
        assert_eq!(ledger.claim(&id(1), of(3), NOW), Claim::Exhausted { limit: 3 });
    }

    #[test]
    fn when_the_platform_says_enough_only_what_has_begun_goes_on() {
        let mut ledger = Ledger::default();
        granted(ledger.claim(&id(0), of(5), NOW));
        ledger.exhaust();
        assert_eq!(granted(ledger.claim(&id(0), of(5), NOW)).1, 2);
        assert_eq!(ledger.claim(&id(1), of(5), NOW), Claim::Exhausted { limit: 0 });
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Claim,
        Release,
        Taken,
        Store,
    }

    proptest! {
        /// Any order of any workers' calls: numbers are never shared, never change while an
        /// attempt may be on its way, and never are more commands on their way than may be.
        #[test]
        fn no_order_of_calls_overdraws(
            limit in 1..7_u8,
            steps in prop::collection::vec(
                (0..12_u32, prop::sample::select(
                    [Step::Claim, Step::Claim, Step::Release, Step::Taken, Step::Store].to_vec())),
                0..120),
        ) {
            let mut ledger = Ledger::default();
            let mut held = BTreeMap::new();
            for (number, step) in steps {
                let command = id(number);
                match step {
                    Step::Claim => match ledger.claim(&command, of(limit), NOW) {
                        Claim::Granted { msg_seq, attempt } => {
                            let (before, attempts) = *held.entry(number).or_insert((msg_seq, 0));
                            prop_assert_eq!((before, attempts + 1), (msg_seq, attempt));
                            held.insert(number, (msg_seq, attempt));
                        }
                        Claim::Exhausted { .. } => prop_assert!(!held.contains_key(&number)),
                        Claim::Late { .. } => prop_assert!(false, "the window is open"),
                    },
                    Step::Release => {
                        ledger.release(&command);
                        if let Some((_, attempts)) = held.get_mut(&number) {
                            *attempts -= 1;
                        }
                        held.retain(|_, (_, attempts)| *attempts > 0);
                    }
                    Step::Taken => {
                        ledger.number_taken(&command);
                        held.remove(&number);
                    }
                    Step::Store => {
                        let json = serde_json::to_string(&ledger).expect("a ledger serialises");
                        let read: Ledger = serde_json::from_str(&json).expect("as it was written");
                        prop_assert_eq!(&read, &ledger);
                        ledger = read;
                    }
                }
                prop_assert!(held.len() <= usize::from(limit));
                prop_assert!(ledger.foreign.len() <= usize::from(limit));
                let numbers: BTreeSet<_> = held.values().map(|(number, _)| *number).collect();
                prop_assert_eq!(numbers.len(), held.len());
            }
        }
    }
}
