//! What every implementation of [`Bus`] must do, as tests that each of them runs unchanged.
//!
//! An implementation gives a [`Fixture`] and calls [`bus_conformance!`](crate::bus_conformance) in
//! a test module; each rule becomes a test of its own. Rules are promises of the trait, never
//! habits of one implementation: nothing here says how soon something happens, or that what was
//! acknowledged stays away where the trait allows it to come again.

pub mod commands;
pub mod fencing;
pub mod lanes;
pub mod letters;
pub mod log;
mod owner;
pub mod readers;
pub mod results;
pub mod stage;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Bus, Layout};

/// What a fixture's bus is made with.
pub const LAYOUT: Layout = Layout { partitions: 2, window: 256 };

/// A bus that can be restarted.
#[async_trait]
pub trait Fixture: Send {
    /// The bus, made with [`LAYOUT`].
    fn bus(&self) -> Arc<dyn Bus>;

    /// Stops what keeps the data and starts it again over what it kept, as roughly as it must be
    /// borne: a server may be killed. What was acknowledged to us is there afterwards.
    async fn reopen(&mut self);
}

/// Makes a test of every rule. `$fixture` is the name of an async function beside the call that
/// gives a new [`Fixture`].
#[macro_export]
macro_rules! bus_conformance {
    ($fixture:ident) => {
        $crate::bus_conformance! { @rules $fixture
            log {
                a_pipelined_window_gets_the_numbers_it_asked_for
                what_does_not_fit_makes_everything_behind_it_fail
                a_record_that_is_never_taken_costs_no_number
                a_batch_is_written_wholly_or_not_at_all
                batches_of_two_handles_do_not_mix
                the_newest_record_is_found_by_prefix_and_by_name
                a_range_has_what_the_filter_takes_in_order
                partitions_count_for_themselves
                what_is_acknowledged_is_there_after_a_restart
            }
            fencing {
                a_stale_window_behind_a_batch_fits_nowhere
                behind_a_single_marker_a_stale_window_fits_again
                a_deposed_owner_reads_whose_the_partition_is
                twenty_takeovers_leave_one_writer_at_a_time_and_no_hole
            }
            lanes {
                each_stream_comes_in_order_and_only_what_is_the_lanes_own
                what_is_not_acknowledged_comes_again_first_and_in_order
                the_holder_of_before_is_told_even_while_it_waits
                a_late_acknowledgement_of_a_former_holder_hits_nothing
                no_more_than_the_bound_is_out_at_once
                what_was_there_at_the_taking_is_inherited
                a_lane_goes_on_behind_what_it_finished_after_a_restart
                one_of_two_takers_holds_the_lane
            }
            commands {
                a_command_goes_to_the_lane_of_its_scope
                an_id_is_stored_once
                of_a_crowd_with_one_id_one_is_new
                a_finished_command_is_gone_and_an_unfinished_one_is_not
                what_is_no_command_is_refused
            }
            results {
                entries_stand_in_order_for_each_command_alone
                the_same_entry_again_is_one_entry
                of_a_crowd_of_firsts_one_stands
                a_waiter_hears_of_what_is_appended
                a_waiter_whose_time_is_up_gets_what_there_is
                results_outlive_a_restart
            }
            letters {
                a_letter_keeps_the_record_and_where_it_came_from
                letters_are_listed_page_by_page_after_a_restart
            }
            readers {
                a_reader_begins_at_the_oldest_and_follows
                a_reader_of_what_is_new_sees_nothing_older
                a_filter_takes_one_bot_and_no_namesake
                readers_and_lanes_do_not_disturb_each_other
            }
        }
    };
    (@rules $fixture:ident $($family:ident { $($rule:ident)* })*) => {
        $(mod $family {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $rule() {
                let mut fixture = super::$fixture().await;
                $crate::bus::conformance::$family::$rule(&mut fixture).await;
            })*
        })*
    };
}
