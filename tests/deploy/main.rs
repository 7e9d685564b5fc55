//! What `deploy/` holds, on a real nats-server: the permissions of each role, and that each role can
//! do its work with them; and that `docs/asyncapi.json` says what is so.
//!
//! `tests/servers/install` has to have been there first; `tests/run` calls it.

mod asyncapi;
mod permissions;
mod relay;
mod roles;
mod server;
