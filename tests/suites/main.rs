//! End-to-end suites.

mod closes;
mod duplicates;
mod relay;
mod sessions;
mod shutdown;
mod spine;
