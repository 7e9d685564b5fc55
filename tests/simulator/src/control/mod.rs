//! Making things happen on the platform: from a test, from another process, from a scenario.
//!
//! There is one vocabulary, [`Action`]. The in-process handle, the HTTP interface under `/_sim/` and
//! the scenario file only carry it.

pub mod action;
pub mod client;
mod http;
mod perform;
pub mod view;

pub use self::action::{Action, Arming, Lapse, RawBytes, Target};
pub use self::client::Client;
pub(crate) use self::http::router;
pub use self::perform::{ActionError, Outcome};
