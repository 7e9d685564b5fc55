//! What the end-to-end suites are made of.

pub mod gateway;
