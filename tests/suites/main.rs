//! End-to-end suites.

mod bad_inputs;
mod closes;
mod cold_start;
mod duplicates;
mod observability;
mod relay;
mod replies;
mod sessions;
mod shutdown;
mod spine;
