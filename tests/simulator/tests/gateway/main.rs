//! The simulated platform as a bot sees it, through a client that shares no code with it.

mod actions;
mod bot;
mod closes;
mod discovery;
mod faults;
mod flood;
mod scenario;
mod sessions;
mod shards;
