//! The gateway: discovery, sockets, sessions.

pub mod frame;
pub mod link;
pub mod session;
pub mod sessions;
