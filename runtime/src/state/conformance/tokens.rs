//! One access token for all processes.

use super::{ANSWERS, Fixture, app, crowd, longer_app, seconds};
use crate::state::seal::{Seal, SealError};
use crate::state::{Flight, SealedToken};

async fn sealed(fixture: &impl Fixture, text: &str) -> SealedToken {
    let expires_at = fixture.now().await.plus(seconds(7_200));
    let sealed = Seal::new(app(), "a bot's secret").seal(text).expect("the system has randomness");
    SealedToken { expires_at, sealed }
}

async fn put(fixture: &impl Fixture, token: &SealedToken) {
    fixture.state().put_token(&app(), token).await.expect(ANSWERS);
}

async fn found(fixture: &impl Fixture) -> Option<SealedToken> {
    fixture.state().token(&app()).await.expect(ANSWERS)
}

async fn flight(fixture: &impl Fixture, owner: &str) -> Flight {
    fixture.state().token_flight(&app(), &owner.into(), seconds(15)).await.expect(ANSWERS)
}

/// Each bot's own.
pub async fn the_last_token_stands(fixture: &mut impl Fixture) {
    assert_eq!(found(fixture).await, None);
    for text in ["first", "second"] {
        let token = sealed(fixture, text).await;
        put(fixture, &token).await;
        assert_eq!(found(fixture).await, Some(token));
    }
    assert_eq!(fixture.state().token(&longer_app()).await.expect(ANSWERS), None);
}

/// A process that was held up cannot replace a token by one that has run out.
pub async fn a_token_outlives_a_restart_but_not_its_life(fixture: &mut impl Fixture) {
    let old = sealed(fixture, "old").await;
    put(fixture, &old).await;
    fixture.reopen().await;
    fixture.advance(seconds(7_190)).await;
    assert_eq!(found(fixture).await, Some(old.clone()));
    fixture.advance(seconds(10)).await;
    assert_eq!(found(fixture).await, None);
    let new = sealed(fixture, "new").await;
    put(fixture, &new).await;
    put(fixture, &old).await;
    assert_eq!(found(fixture).await, Some(new));
}

/// What is read back opens with the bot's secret, and with no other.
pub async fn what_is_stored_is_not_the_token(fixture: &mut impl Fixture) {
    let plain = "a-token-in-plain-words";
    put(fixture, &sealed(fixture, plain).await).await;
    let found = found(fixture).await.expect("it was put").sealed;
    assert!(!found.windows(plain.len()).any(|window| window == plain.as_bytes()));
    let open = |secret| Seal::new(app(), secret).open(&found);
    assert_eq!(open("a bot's secret").as_deref(), Ok(plain));
    assert_eq!(open("another secret"), Err(SealError::Key));
}

/// The others wait for what it brings.
pub async fn of_a_crowd_of_processes_one_fetches(fixture: &mut impl Fixture) {
    let answers = crowd(fixture, |state, number| async move {
        let owner = format!("p{number}").into();
        state.token_flight(&app(), &owner, seconds(15)).await.expect(ANSWERS)
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == Flight::Ours).count(), 1);
}

/// A process that dies while it fetches holds nobody up for long.
pub async fn a_flight_ends_with_its_token_or_in_time(fixture: &mut impl Fixture) {
    assert_eq!(flight(fixture, "a").await, Flight::Ours);
    assert_eq!(flight(fixture, "a").await, Flight::Ours, "asking again is safe");
    assert_eq!(flight(fixture, "b").await, Flight::Anothers);
    put(fixture, &sealed(fixture, "token").await).await;
    assert_eq!(flight(fixture, "b").await, Flight::Ours);
    assert_eq!(flight(fixture, "a").await, Flight::Anothers);
    fixture.advance(seconds(15)).await;
    assert_eq!(flight(fixture, "a").await, Flight::Ours);
}
