//! The process that handles events and sends replies. It keeps no state of its own.
//!
//! A lane gives work, a queue per scope keeps its order ([`scopes`]), a handler says what to
//! answer, and one egress sends it, for handlers and outside consumers alike.

pub mod duty;
pub mod presence;
pub mod scopes;
pub mod tenure;
