//! What every implementation of [`State`] must do, as tests that each of them runs unchanged.
//!
//! An implementation gives a [`Fixture`] and calls [`state_conformance!`](crate::state_conformance)
//! in a test module; each rule becomes a test of its own. Rules are promises of the trait, never
//! habits of one implementation: what may be lost over a restart is not asked for after one.

pub mod identify;
pub mod leases;
pub mod ledger;
pub mod limiter;
pub mod sessions;
pub mod sightings;
pub mod tokens;
pub mod work;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::id::AppId;
use qqrelay_proto::record::Place;
use qqrelay_proto::time::UnixMs;
use tokio::task::JoinSet;

use super::State;

/// A state that can be restarted, and whose time a test can move.
#[async_trait]
pub trait Fixture: Send {
    /// The state.
    fn state(&self) -> Arc<dyn State>;

    /// Stops it in an orderly way and starts it again over what it kept.
    async fn reopen(&mut self);

    /// Lets time pass for everything that the state does by time.
    async fn advance(&mut self, by: Duration);

    /// The state's time.
    async fn now(&self) -> UnixMs;
}

/// What every rule relies on.
const ANSWERS: &str = "a state that is up answers";

/// How many contend where the rule is that one of them wins.
const CROWD: u32 = 100;

/// Runs as many tasks at once as the runtime has threads for, and gives what each answered.
async fn crowd<T, F, Fut>(fixture: &impl Fixture, each: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(Arc<dyn State>, u32) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..CROWD {
        tasks.spawn(each(fixture.state(), number));
    }
    tasks.join_all().await
}

fn app() -> AppId {
    AppId::from("102")
}

/// A bot whose id begins as [`app`]'s does.
fn longer_app() -> AppId {
    AppId::from("1020")
}

fn place(number: u64) -> Place {
    Place { stream: "QQ_EV_03".to_owned(), seq: number }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Makes a test of every rule. `$fixture` is the name of an async function beside the call that
/// gives a new [`Fixture`].
#[macro_export]
macro_rules! state_conformance {
    ($fixture:ident) => {
        $crate::state_conformance! { @rules $fixture
            leases {
                of_a_hundred_takers_one_wins
                a_lease_that_moved_since_it_was_seen_is_not_taken
                a_lease_that_stands_still_is_taken_by_whoever_saw_it
                renewing_never_takes_a_lease_back
                giving_away_touches_nobody_elses_lease
                a_taker_whose_answer_was_lost_finds_its_own_lease
                no_incarnation_is_used_twice
                a_lease_that_nobody_renews_ends
                each_partition_and_each_lane_has_its_own_lease
            }
            limiter {
                nothing_passes_above_the_rate
                a_crowd_gets_the_burst_and_no_more
                what_one_bucket_refuses_takes_from_none
                the_wait_is_enough_and_names_its_bucket
                a_bucket_the_platform_refused_for_is_closed
                bots_share_no_bucket
            }
            ledger {
                a_crowd_of_commands_gets_as_many_replies_as_the_platform_takes
                a_crowd_of_attempts_of_one_command_has_one_use_and_one_number
                nothing_is_granted_after_the_deadline
                a_number_that_somebody_else_has_is_followed_by_the_next
                what_certainly_never_left_gives_its_use_back
                when_the_platform_says_enough_no_command_begins
                each_bot_place_and_message_counts_for_itself
                what_is_claimed_is_claimed_after_a_restart
            }
            work {
                what_is_done_is_known_for_its_lane_and_bot
                done_marks_outlive_a_restart_and_end_in_time
                every_start_of_a_crowd_is_counted_once
                starts_and_failures_are_counted_apart_over_a_restart
                counts_end_in_time
                what_is_done_has_no_counts
            }
            sightings {
                of_a_crowd_of_sources_one_stores_an_event
                an_event_that_is_stored_is_known_to_every_source
                a_source_that_died_before_it_stored_may_store_after_a_restart
                a_source_that_does_not_store_makes_room_for_another
                the_first_place_stands
                a_sighting_ends_in_time
            }
            tokens {
                the_last_token_stands
                a_token_outlives_a_restart_but_not_its_life
                what_is_stored_is_not_the_token
                of_a_crowd_of_processes_one_fetches
                a_flight_ends_with_its_token_or_in_time
            }
            identify {
                a_crowd_of_shards_starts_as_many_as_may_start_at_once
                a_crash_loop_cannot_spend_the_day
                what_the_platform_said_last_counts
                a_bot_of_which_nothing_is_known_may_identify
            }
            sessions {
                the_gateways_answer_is_kept_over_a_restart_for_its_time
                resume_copies_are_found_by_bot_and_all_together
                the_last_resume_copy_stands_until_it_is_forgotten
            }
        }
    };
    (@rules $fixture:ident $($family:ident { $($rule:ident)* })*) => {
        $(mod $family {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $rule() {
                let mut fixture = super::$fixture().await;
                $crate::state::conformance::$family::$rule(&mut fixture).await;
            })*
        })*
    };
}
