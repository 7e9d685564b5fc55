//! End-to-end suites.

mod relay;
mod spine;
