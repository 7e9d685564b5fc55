//! The suites of bus and state, unchanged, on real servers; and what only real servers can do.
//!
//! `tests/servers/install` has to have been there first; `tests/run` calls it.

mod bus;
mod nats_answers;
mod nats_fencing;
mod nats_handler;
mod nats_lanes;
mod nats_login;
mod nats_refusals;
mod nats_requests;
mod nats_stage;
mod redis_refusals;
mod state;
