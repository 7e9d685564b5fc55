//! The table of close codes, row by row: what a shard does after the first such close.
//!
//! Each row has a shard of its own, all of one bot and in one gateway. Source: PLATFORM.md,
//! "close codes"; what the second and third close in a row do is tested beside the table.

use std::collections::BTreeMap;
use std::time::Duration;

use qqrelay_gateway::Phase;
use qqrelay_simulator::journal::{Entry, Line};
use qqrelay_simulator::{Action, Config as PlatformConfig, Target};
use qqrelay_tests::invariants::Owed;
use qqrelay_tests::stage::{APP, Stage};
use qqrelay_tests::wait::within;

/// Longer than the longest wait of a row that is not parked.
const LONGEST_WAIT: Duration = Duration::from_secs(110);

/// What follows a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Resume,
    Identify,
    Park(&'static str),
}

/// A gateway in which each of the codes ends one shard's socket; gives what each shard did then.
async fn after(
    codes: &[Option<u16>],
    enough: impl Fn(&[Option<Then>]) -> bool,
) -> Vec<Option<Then>> {
    let count = u16::try_from(codes.len()).expect("a short table");
    let mut platform = PlatformConfig::default();
    platform.gateway.max_concurrency = u32::from(count);
    let mut stage = Stage::of(platform, count, |_| {}).await;
    stage.start().await;
    stage.all_live().await;
    stage.settle().await;
    let begun = stage.journal().len();
    for (index, code) in (0..).zip(codes) {
        let target = Target::shard(APP, index, u32::from(count));
        stage.perform(&Action::Close { target, code: *code, reason: "row".to_owned() });
    }
    let done = within(LONGEST_WAIT, "every shard has decided", async || {
        let seen = decisions(&stage, begun);
        enough(&seen).then_some(seen)
    });
    let done = done.await.unwrap_or_else(|error| {
        panic!("{error}: {:?}", codes.iter().zip(decisions(&stage, begun)).collect::<Vec<_>>())
    });
    stage.expected.owed = Owed::TailMayFollow;
    stage.finish().await;
    done
}

/// The first thing that each shard did since then.
fn decisions(stage: &Stage, begun: usize) -> Vec<Option<Then>> {
    let mut sessions = BTreeMap::new();
    let mut decided = BTreeMap::new();
    for Line { index, entry, .. } in stage.journal() {
        match entry {
            Entry::Ready { shard, session, .. } => {
                sessions.entry(session.as_str().to_owned()).or_insert(shard.index);
            }
            Entry::Resume { session, .. } if index >= begun as u64 => {
                if let Some(shard) = sessions.get(&session) {
                    decided.entry(*shard).or_insert(Then::Resume);
                }
            }
            Entry::Identify { shard: Some(shard), .. } if index >= begun as u64 => {
                decided.entry(shard.index).or_insert(Then::Identify);
            }
            _ => {}
        }
    }
    for shard in stage.shards() {
        if let (Phase::Parked, Some(why)) = (shard.phase, shard.blocked) {
            decided.entry(u32::from(shard.shard.index())).or_insert(Then::Park(why));
        }
    }
    (0..).take(stage.shards().len()).map(|index| decided.get(&index).copied()).collect()
}

async fn check(codes: &[Option<u16>], expected: Then) {
    let seen = after(codes, |seen| seen.iter().all(Option::is_some)).await;
    for (code, then) in codes.iter().zip(seen) {
        assert_eq!(then, Some(expected), "after close code {code:?}");
    }
}

fn some<const N: usize>(codes: [u16; N]) -> Vec<Option<u16>> {
    codes.map(Some).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_says_nothing_of_the_session_is_followed_by_a_resume() {
    let mut codes =
        some([0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 5000]);
    codes.push(None);
    check(&codes, Then::Resume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_names_our_protocol_is_followed_by_a_resume() {
    check(&some([1002, 1003, 1007, 1008, 1009, 1010]), Then::Resume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_half_hourly_close_and_doubtful_ones_are_followed_by_a_resume() {
    check(&some([4000, 4004, 4009, 4902, 1016, 3000, 4015, 4916, 4999]), Then::Resume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_for_haste_is_followed_by_a_resume_after_a_minute() {
    check(&some([4008]), Then::Resume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_ends_the_session_is_followed_by_an_identify() {
    check(&some([4003, 4005, 4006, 4007, 4900, 4901, 4903, 4912, 4913]), Then::Identify).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_blames_a_frame_of_ours_is_followed_by_an_identify_after_a_minute() {
    check(&some([4001, 4002]), Then::Identify).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_a_person_must_mend_parks_the_shard_with_its_reason() {
    let rows = [
        (4010, "bad_shard"),
        (4011, "too_many_guilds"),
        (4012, "bad_version"),
        (4013, "bad_intents"),
        (4014, "intents_not_granted"),
        (4914, "bot_offline"),
        (4915, "bot_banned"),
    ];
    let codes: Vec<_> = rows.iter().map(|(code, _)| Some(*code)).collect();
    let seen = after(&codes, |seen| seen.iter().all(Option::is_some)).await;
    for ((code, why), then) in rows.iter().zip(seen) {
        assert_eq!(then, Some(Then::Park(why)), "after close code {code}");
    }
}
