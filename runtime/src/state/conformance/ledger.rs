//! The right to reply.

use std::collections::BTreeSet;

use qqrelay_proto::command::{CommandId, MsgSeq, ReplyTo};
use qqrelay_proto::id::{AppId, Scene, Scope};
use qqrelay_proto::ledger::{Claim, Right};

use super::{ANSWERS, CROWD, Fixture, app, crowd, longer_app, seconds};
use crate::state::ReplyKey;

/// One right to reply, owned, so that tasks can have it.
#[derive(Clone)]
struct Asked {
    app: AppId,
    scope: Scope,
    to: ReplyTo,
}

impl Asked {
    fn key(&self) -> ReplyKey<'_> {
        ReplyKey { app: &self.app, scope: &self.scope, to: &self.to }
    }
}

fn asked() -> Asked {
    let to = ReplyTo::MsgId("ROBOT1.0_x.y!".into());
    Asked { app: app(), scope: Scope::new(Scene::Group, "A1"), to }
}

fn id(number: u32) -> CommandId {
    CommandId::of_handler("102:m1", "echo", number)
}

const fn of(limit: u8) -> Right {
    Right { limit: Some(limit), expires_at: None }
}

async fn claim(fixture: &impl Fixture, asked: &Asked, number: u32, right: Right) -> Claim {
    fixture.state().claim_reply(asked.key(), &id(number), right).await.expect(ANSWERS)
}

fn granted(claim: Claim) -> (MsgSeq, u8) {
    let Claim::Granted { msg_seq, attempt } = claim else { panic!("{claim:?} is no grant") };
    (msg_seq, attempt)
}

/// And each has a number of its own.
pub async fn a_crowd_of_commands_gets_as_many_replies_as_the_platform_takes(
    fixture: &mut impl Fixture,
) {
    let answers = crowd(fixture, |state, number| {
        let asked = asked();
        async move { state.claim_reply(asked.key(), &id(number), of(5)).await.expect(ANSWERS) }
    })
    .await;
    let mut numbers = BTreeSet::new();
    for answer in answers {
        match answer {
            Claim::Granted { msg_seq, attempt: 1 } => assert!(numbers.insert(msg_seq)),
            other => assert_eq!(other, Claim::Exhausted { limit: 5 }),
        }
    }
    assert_eq!(numbers.len(), 5);
}

/// A redelivered event regenerates its replies: they must not use the right up.
pub async fn a_crowd_of_attempts_of_one_command_has_one_use_and_one_number(
    fixture: &mut impl Fixture,
) {
    let answers = crowd(fixture, |state, _| {
        let asked = asked();
        async move { state.claim_reply(asked.key(), &id(0), of(2)).await.expect(ANSWERS) }
    })
    .await;
    let mut attempts = BTreeSet::new();
    for answer in answers {
        let (msg_seq, attempt) = granted(answer);
        assert_eq!(msg_seq, id(0).msg_seq());
        attempts.insert(u32::from(attempt));
    }
    assert_eq!(attempts, (1..=CROWD).collect());
    assert_eq!(granted(claim(fixture, &asked(), 1, of(2)).await).1, 1, "one use is left");
    assert_eq!(claim(fixture, &asked(), 2, of(2)).await, Claim::Exhausted { limit: 2 });
}

/// By the state's clock.
pub async fn nothing_is_granted_after_the_deadline(fixture: &mut impl Fixture) {
    let expires_at = Some(fixture.now().await.plus(seconds(285)));
    let right = Right { limit: Some(5), expires_at };
    granted(claim(fixture, &asked(), 0, right).await);
    fixture.advance(seconds(270)).await;
    granted(claim(fixture, &asked(), 0, right).await);
    fixture.advance(seconds(15)).await;
    assert!(matches!(claim(fixture, &asked(), 0, right).await, Claim::Late { .. }));
    let Claim::Late { by } = claim(fixture, &asked(), 1, of(5)).await else {
        panic!("the deadline is remembered")
    };
    assert!(by < seconds(5), "{by:?}");
}

/// 40054005 at a first attempt: the other's message had one of the uses.
pub async fn a_number_that_somebody_else_has_is_followed_by_the_next(fixture: &mut impl Fixture) {
    let (first, _) = granted(claim(fixture, &asked(), 0, of(3)).await);
    for _ in 0..2 {
        fixture.state().number_taken(asked().key(), &id(0)).await.expect(ANSWERS);
    }
    let (second, attempt) = granted(claim(fixture, &asked(), 0, of(3)).await);
    assert_eq!((second, attempt), (first.next(), 1));
    granted(claim(fixture, &asked(), 1, of(3)).await);
    assert_eq!(claim(fixture, &asked(), 2, of(3)).await, Claim::Exhausted { limit: 3 });
}

/// As long as no attempt is left that may have arrived.
pub async fn what_certainly_never_left_gives_its_use_back(fixture: &mut impl Fixture) {
    granted(claim(fixture, &asked(), 0, of(1)).await);
    fixture.state().release_reply(asked().key(), &id(0)).await.expect(ANSWERS);
    granted(claim(fixture, &asked(), 1, of(1)).await);
    assert_eq!(granted(claim(fixture, &asked(), 1, of(1)).await).1, 2);
    fixture.state().release_reply(asked().key(), &id(1)).await.expect(ANSWERS);
    assert_eq!(claim(fixture, &asked(), 0, of(1)).await, Claim::Exhausted { limit: 1 });
    fixture.state().release_reply(asked().key(), &id(7)).await.expect(ANSWERS);
}

/// Only what has begun goes on, to learn what became of it.
pub async fn when_the_platform_says_enough_no_command_begins(fixture: &mut impl Fixture) {
    granted(claim(fixture, &asked(), 0, of(5)).await);
    fixture.state().exhaust_replies(asked().key()).await.expect(ANSWERS);
    assert_eq!(granted(claim(fixture, &asked(), 0, of(5)).await).1, 2);
    assert!(matches!(claim(fixture, &asked(), 1, of(5)).await, Claim::Exhausted { .. }));
}

/// Whatever their ids look like.
pub async fn each_bot_place_and_message_counts_for_itself(fixture: &mut impl Fixture) {
    let mut rights = vec![asked()];
    rights.push(Asked { app: longer_app(), ..asked() });
    rights.push(Asked { scope: Scope::new(Scene::C2c, "A1"), ..asked() });
    rights.push(Asked { scope: Scope::new(Scene::Group, "A"), ..asked() });
    rights.push(Asked { to: ReplyTo::EventId("ROBOT1.0_x.y!".into()), ..asked() });
    let split = |scope: &str, id: &str| Asked {
        scope: Scope::new(Scene::Group, scope),
        to: ReplyTo::MsgId(id.into()),
        ..asked()
    };
    rights.push(split("a:m", "b"));
    rights.push(split("a", "m:b"));
    for asked in &rights {
        granted(claim(fixture, asked, 0, of(1)).await);
        assert_eq!(claim(fixture, asked, 1, of(1)).await, Claim::Exhausted { limit: 1 });
    }
}

/// Otherwise a worker that crashes in a circle sends more than the platform takes.
pub async fn what_is_claimed_is_claimed_after_a_restart(fixture: &mut impl Fixture) {
    granted(claim(fixture, &asked(), 0, of(2)).await);
    fixture.state().number_taken(asked().key(), &id(0)).await.expect(ANSWERS);
    let (number, _) = granted(claim(fixture, &asked(), 0, of(2)).await);
    fixture.reopen().await;
    assert_eq!(granted(claim(fixture, &asked(), 0, of(2)).await), (number, 2));
    assert_eq!(claim(fixture, &asked(), 1, of(2)).await, Claim::Exhausted { limit: 2 });
}
