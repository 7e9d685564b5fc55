//! What can be armed against sockets that are yet to come.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Refusal;

/// What goes wrong at one point of a socket's beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketFault {
    /// The look-up of the gateway is refused.
    RefuseLookup {
        /// The HTTP status.
        status: u16,
        /// The body's `code`.
        code: u32,
    },
    /// The upgrade is answered with this HTTP status.
    RefuseUpgrade(u16),
    /// No Hello comes.
    NoHello,
    /// Hello announces this as its interval, whatever it is.
    HelloInterval(Value),
    /// IDENTIFY is turned down.
    RefuseIdentify(Refusal),
    /// RESUME is turned down.
    RefuseResume(Refusal),
    /// IDENTIFY is taken, counted, and never answered.
    NoReady,
    /// READY's payload has these members in place of its own; a null takes one away.
    ReadyAs(Value),
    /// After a RESUME the missed events come, but no RESUMED.
    NoResumed,
}
