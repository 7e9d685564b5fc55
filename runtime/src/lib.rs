//! What both processes need of the outside world, and nothing only one of them needs.

pub mod admin;
pub mod bus;
pub mod config;
pub mod peers;
pub mod random;
pub mod rest;
pub mod shutdown;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod tenure;
mod tls;
