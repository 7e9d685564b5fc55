//! One shard of one bot: its session over one socket after another.

mod driver;
mod opened;
mod relay;
mod socket;
mod trace;

pub(crate) use self::driver::{Driver, DriverSettings, Orders, Service, now};
pub(crate) use self::socket::Way;
