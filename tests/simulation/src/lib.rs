//! Deterministic simulation: gateways made of `proto`'s machines, a platform, a log and a state, all
//! moved from one seed in one thread, and judged against what was promised.
//!
//! A seed says everything: which faults a schedule knows, when they come, how long each message
//! takes. The same seed gives the same run, step by step. The composition here follows that of the
//! real gateway (`gateway/src/partition/owner.rs`, `gateway/src/shard/driver.rs`), which moves the
//! same machines with sockets and timers.

mod checker;
mod gateway;
mod held;
mod mutant;
mod platform;
mod redis;
mod shard;
mod stream;
mod world;

pub use self::checker::Violation;
pub use self::mutant::Mutant;
pub use self::world::{Outcome, run, run_told};
