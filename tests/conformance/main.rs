//! The suites of bus and state, unchanged, on real servers; and what only real servers can do.
//!
//! `tests/servers/install` has to have been there first; `tests/run` calls it.

mod bus;
