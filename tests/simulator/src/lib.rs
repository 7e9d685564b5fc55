//! The simulated QQ platform: token endpoint, REST, gateway sockets, callbacks, and their faults.
//!
//! It is written from the specification and shares no table with the relay. A simulator that took
//! the client's tables could not show that one of them is wrong.

mod answer;
pub mod app;
pub mod clock;
pub mod config;
pub mod control;
pub mod dice;
pub mod error;
pub mod events;
pub mod faults;
pub mod flood;
pub mod gateway;
pub mod journal;
pub mod platform;
pub mod rest;
pub mod rules;
pub mod scenario;
mod server;
pub mod shard;
mod simulator;
pub mod span;
pub mod token_endpoint;
pub mod tokens;
pub mod webhook;
pub mod wire;

pub use self::app::AppConfig;
pub use self::config::Config;
pub use self::control::{Action, Target};
pub use self::events::Injection;
pub use self::simulator::{Simulator, StartError};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. A panic elsewhere must not end the platform, and nothing here is left half done
/// under a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
