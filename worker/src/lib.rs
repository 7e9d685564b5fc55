//! The process that handles events and sends replies. It keeps no state of its own.
//!
//! A lane gives work ([`lane`]), a queue per scope keeps its order ([`scopes`]), a handler says what
//! to answer ([`handler`]), and one egress sends it, for handlers and outside consumers alike
//! ([`egress`]).

pub mod app;
pub mod dead_letter;
pub mod duty;
pub mod egress;
pub mod handler;
pub mod lane;
pub mod metrics;
pub mod presence;
pub mod scopes;
pub mod share;
pub mod work;
