//! `[log]`, `[embedded]`, `[lease]` and `[gateway]`: how events are taken and kept.

use std::path::PathBuf;
use std::time::Duration;

use qqrelay_proto::lease::LeaseTimes;

use super::form::{Count, Size, Span};
use super::section::section;

section! {
    /// The event log: what is kept of it, and how it is split.
    pub struct Log {
        /// Into how many partitions the log is split, 1 to 100. "auto" is 8 on NATS and 1 in the
        /// embedded file. Fixed once the log exists.
        partitions: Count<100> = Count::Auto,
        /// Records per partition that may wait for their acknowledgement, 1 to 999. Fixed once the
        /// log exists.
        window: u16 = 256,
        /// How long a record is kept, "1h" to "365d".
        #[serde(with = "Span")]
        max_age: Duration = Duration::from_secs(24 * 3600),
        /// How much a partition may hold before its oldest records go.
        #[serde(with = "Size")]
        max_bytes: u64 = 8 << 30,
        /// The largest record; an event above it loses its raw part, "64KiB" to "900KiB".
        #[serde(with = "Size")]
        record_limit: u64 = 900 << 10,
    }
}

section! {
    /// The store of a process that has no servers beside it.
    pub struct Embedded {
        /// The file that holds log and state. Only one process can open it.
        path: PathBuf = PathBuf::from("qqrelay.redb"),
    }
}

section! {
    /// Who runs a partition or a lane: how often that is renewed, and when another may take it.
    pub struct Lease {
        /// How often a holder renews.
        #[serde(with = "Span")]
        renew: Duration = Duration::from_millis(1_500),
        /// How long a lease must stand still before a standby takes it. Three renewals must fit.
        #[serde(with = "Span")]
        observe: Duration = Duration::from_secs(6),
    }
}

impl Lease {
    /// The same as leases have it: a holder acts for two thirds of the time after which others may
    /// take it.
    #[must_use]
    pub fn times(&self) -> LeaseTimes {
        LeaseTimes { renew: self.renew, act: self.observe * 2 / 3, observe: self.observe }
    }
}

section! {
    /// The process that holds the sockets and writes the log.
    pub struct Gateway {
        /// The code we close a socket with when its session shall be resumed, 3000 to 4999.
        close_code: u16 = 4000,
        /// How long a socket may take to be connected, TLS and upgrade included.
        #[serde(with = "Span")]
        connect_timeout: Duration = Duration::from_secs(10),
        /// How long the platform may take to say hello.
        #[serde(with = "Span")]
        hello_timeout: Duration = Duration::from_secs(10),
        /// How long it may take to answer an IDENTIFY with READY.
        #[serde(with = "Span")]
        ready_timeout: Duration = Duration::from_secs(30),
        /// How long a RESUME may go without a frame before it counts as unanswered.
        #[serde(with = "Span")]
        resume_timeout: Duration = Duration::from_secs(30),
        /// How long a busy shard may be silent before its session is doubted, "1m" to "1d"; "0s" doubts
        /// none. A shard whose usual pause is long has twenty of them.
        #[serde(with = "Span")]
        silence: Duration = Duration::from_secs(30 * 60),
        /// How long the log may take to acknowledge a record before its outcome counts as unknown.
        #[serde(with = "Span")]
        publish_timeout: Duration = Duration::from_secs(5),
        /// How much a partition may have unacknowledged, in bytes.
        #[serde(with = "Size")]
        window_bytes: u64 = 16 << 20,
        /// How long stopping may take. Shorter than what the service manager or pod allows.
        #[serde(with = "Span")]
        drain_grace: Duration = Duration::from_secs(25),
        /// Threads that hold partitions: "auto" is one for each core, otherwise 1 to 64.
        threads: Count<64> = Count::Auto,
    }
}
