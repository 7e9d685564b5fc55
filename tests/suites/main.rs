//! End-to-end suites.

mod relay;
