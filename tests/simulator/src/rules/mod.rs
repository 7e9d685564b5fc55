//! The platform's rules for what a bot may send, as values: no I/O, no clock, no locks.
//!
//! Time is always an argument. A rule that asked the clock itself could be tested only by waiting,
//! and a scenario could not move time forward.

pub mod allowance;
pub mod callback;
pub mod content;
pub mod limits;
pub mod meter;
pub mod proactive;
pub mod rates;
pub mod recent;
pub mod refusal;
pub mod reply;
pub mod standing;
pub mod stream;
pub mod wakeup;

pub use allowance::Allowance;
pub use limits::Limits;
pub use refusal::Refusal;
