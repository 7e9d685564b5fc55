//! The process that holds sockets: every platform frame, once and in order, into the log.

mod alarm;
mod announce;
pub mod app;
mod census;
mod copies;
mod crew;
mod fleet;
mod gauges;
pub mod metrics;
mod ownership;
mod partition;
mod platform;
mod shard;
pub mod status;
mod thread;
mod trouble;

pub use self::announce::{SAY_EVERY, announce};
pub use self::app::{Drained, Gateway, Parts, StartError};
pub use self::metrics::Metrics;
pub use self::status::{Board, Phase, ShardStatus};
