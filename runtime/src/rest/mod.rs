//! The pool of calls to the platform: one HTTP client for all bots, one access token for each.
//!
//! A call ends in an [`Answer`] as soon as the platform's status line was read, whatever it says
//! and whatever becomes of its body; otherwise in a [`RestError`], which says whether the platform
//! may have acted. What follows from either is decided elsewhere (`qqrelay_proto::code`, the
//! egress). The rule a newcomer would break: nothing here sends a request a second time on its own,
//! except the one repetition after a refused token, which the platform did not act on.

mod answer;
mod body;
mod client;
mod discovery;
mod endpoint;
mod error;
mod hosts;
mod metrics;
#[cfg(test)]
mod tests;
mod token;

pub use answer::{Answer, BodyEnd};
pub use client::{Call, Limits, Pool, PoolError, Sharing};
pub use discovery::{DiscoveryError, Found};
pub use error::{NoToken, RestError};
pub use hosts::{Endpoints, HostError, Hosts};
pub use metrics::Metrics;
