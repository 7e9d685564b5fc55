//! What both processes need of the outside world, and nothing only one of them needs.

pub mod bus;
pub mod config;
pub mod state;
pub mod store;
