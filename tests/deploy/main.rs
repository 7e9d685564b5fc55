//! What `deploy/` holds, on a real nats-server: the permissions of each role, and that each role can
//! do its work with them; and that `docs/asyncapi.json` says what is so.
//!
//! `tests/run` first calls what installs the servers, the examples and what reads files here.

mod asyncapi;
mod compose;
mod deployment;
mod examples;
mod permissions;
mod relay;
mod roles;
mod server;
