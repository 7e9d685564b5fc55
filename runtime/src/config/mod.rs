//! The configuration: one TOML file, written over by `QQRELAY_<SECTION>__<KEY>` variables, read
//! into plain structs.
//!
//! Every problem is reported at once, each with its place, its field and its fix. Nothing outside
//! this module reads the environment or the file again, and nothing in it prints: warnings are
//! returned. Relative paths are relative to the working directory.

mod check;
mod example;
mod form;
mod gateway;
mod nats;
mod platform;
mod problem;
mod process;
mod read;
mod redis;
mod reload;
mod schema;
mod secret;
mod section;
pub(crate) mod server;
mod source;
mod worker;

pub(crate) use check::is_loopback;
pub use form::{Count, FormError, Size, Span};
pub use gateway::{Embedded, Gateway, Lease, Log};
pub use nats::Nats;
pub use platform::{Bot, Platform, ProfileName};
pub use problem::{Origin, Problem, Problems};
pub use process::{Admin, LogFormat, Telemetry};
pub use read::{Loaded, environment, load};
pub use redis::{Redis, RedisMode};
pub use reload::{Bots, Reload, fixed};
pub use secret::{Secret, SecretError};
pub use worker::{Egress, HandlerName, HttpHandler, NatsHandler, Retry, Worker};

use crate::bus::Layout;
use crate::bus::embedded::{Bound, Limits};
use section::section;

section! {
    /// A process's whole configuration.
    pub struct Config {
        /// Which platform the bots live on.
        platform: Platform = Platform::default(),
        /// The event log.
        log: Log = Log::default(),
        /// The store of a process that has no servers beside it.
        embedded: Embedded = Embedded::default(),
        /// NATS JetStream
        #[schemars(with = "Nats", extend("x-optional" = true))]
        nats: Option<Nats> = None,
        /// Redis
        #[schemars(with = "Redis", extend("x-optional" = true))]
        redis: Option<Redis> = None,
        /// Who runs a partition or a lane.
        lease: Lease = Lease::default(),
        /// The process that holds the sockets and writes the log.
        gateway: Gateway = Gateway::default(),
        /// The process that handles events and sends replies.
        worker: Worker = Worker::default(),
        /// The way out: from a command to the platform.
        egress: Egress = Egress::default(),
        /// The admin port.
        admin: Admin = Admin::default(),
        /// Logs and traces.
        telemetry: Telemetry = Telemetry::default(),
        /// The bots.
        bots: Vec<Bot> = Vec::new(),
    }
}

/// Partitions of a log on NATS: each is a stream, and a gateway's share of the work.
const PARTITIONS_ON_NATS: u8 = 8;

impl Config {
    /// What the log is created with.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let auto = if self.nats.is_some() { PARTITIONS_ON_NATS } else { 1 };
        let asked = self.log.partitions.number().and_then(|number| u8::try_from(number.get()).ok());
        Layout { partitions: asked.unwrap_or(auto), window: self.log.window }
    }

    /// How much of it is kept.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let events = Bound { max_age: self.log.max_age, max_bytes: self.log.max_bytes };
        Limits { events, ..Limits::default() }
    }
}

/// The JSON Schema of the file, pretty-printed.
#[must_use]
pub fn schema() -> String {
    serde_json::to_string_pretty(&schema::generate()).expect("a schema is plain JSON")
}

/// A commented file with every key and its default, and one bot to write over.
#[must_use]
pub fn example() -> String {
    example::write(&schema::generate())
}
