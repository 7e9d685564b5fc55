//! Events called back over HTTP, signed as the platform signs them.

pub mod key;
pub mod pusher;
#[cfg(test)]
mod tests;

pub use key::CallbackKey;
pub use pusher::{ValidationError, Webhooks};
