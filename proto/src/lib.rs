//! The relay's protocol, as values: what the platform says, what we answer, what we publish.
//!
//! Nothing in this crate waits, connects, reads a clock or draws a random number. Time and
//! randomness arrive as arguments, so a test can run a day of session life in a millisecond.

pub mod backoff;
pub mod bucket;
pub mod chain;
pub mod close;
pub mod code;
pub mod command;
pub mod event;
pub mod frame;
pub mod gate;
pub mod greeting;
pub mod hash;
pub mod heartbeat;
pub mod id;
pub mod identify;
pub mod intent;
pub mod lease;
pub mod ledger;
mod lenient;
pub mod limits;
pub mod opcode;
pub mod outcome;
pub mod outgoing;
pub mod profile;
pub mod reconnect;
pub mod record;
pub mod reply;
pub mod schema;
pub mod session;
pub mod shard;
pub mod silence;
pub mod spread;
pub mod subject;
pub mod time;
pub mod token;
