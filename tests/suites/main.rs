//! End-to-end suites.

mod bad_inputs;
mod chaos;
mod closes;
mod cold_start;
mod duplicates;
mod forgotten;
mod handling;
mod observability;
mod outages;
mod ownership;
mod relay;
mod reload;
mod replies;
mod retention;
mod sessions;
mod shutdown;
mod spine;
