//! `[redis]`: the servers that hold what the processes of a cluster agree on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Checked;
use super::form::Span;
use super::section::section;
use super::server::{self, Addresses};

section! {
    /// Redis or Valkey, 6.2 or later, which holds what the processes of a cluster agree on. Without
    /// this section it lies in the embedded file.
    pub struct Redis {
        /// The servers, each "redis://host:6379", or "rediss://host:6379" with TLS: one; with mode
        /// "cluster" some of its nodes; with mode "sentinel" the sentinels.
        urls: Vec<String> = vec!["redis://127.0.0.1:6379".to_owned()],
        /// "single", "sentinel" or "cluster".
        mode: RedisMode = RedisMode::Single,
        /// What the sentinels call the server that they watch.
        #[schemars(example = &"mymaster")]
        master: Option<String> = None,
        /// Which of a server's databases. A cluster has 0 only.
        database: u16 = 0,
        /// The name of a user; password_file belongs to it. Without one, the password is that of
        /// the default user.
        #[schemars(example = &"qqrelay")]
        user: Option<String> = None,
        /// A file that holds the password.
        #[schemars(example = "/run/secrets/redis-password")]
        password_file: Option<PathBuf> = None,
        /// A file that holds the sentinels' own password.
        #[schemars(example = "/run/secrets/sentinel-password")]
        sentinel_password_file: Option<PathBuf> = None,
        /// Certificates, PEM, that vouch for the servers. Without it, those of the system.
        #[schemars(example = "/etc/qqrelay/redis-ca.pem")]
        ca_file: Option<PathBuf> = None,
        /// Our own certificate, PEM, where servers ask for one; key_file belongs to it.
        #[schemars(example = "/etc/qqrelay/client.pem")]
        cert_file: Option<PathBuf> = None,
        /// The key of our own certificate, PEM.
        #[schemars(example = "/run/secrets/client-key.pem")]
        key_file: Option<PathBuf> = None,
        /// How long a server may take to be connected, TLS and login included.
        #[serde(with = "Span")]
        connect_timeout: Duration = Duration::from_secs(3),
        /// How long a server may take to answer.
        #[serde(with = "Span")]
        request_timeout: Duration = Duration::from_secs(2),
    }
}

/// How the servers belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RedisMode {
    /// One server.
    Single,
    /// One that sentinels watch, and replace by its replica where it fails.
    Sentinel,
    /// Several that share the keys.
    Cluster,
}

const ADDRESSES: Addresses =
    Addresses { section: "redis", schemes: ["redis", "rediss"], example: "redis://127.0.0.1:6379" };

const SECOND: Duration = Duration::from_secs(1);

/// Checks what the types leave open.
pub(super) fn check(redis: &Redis, to: &mut Checked<'_>) {
    ADDRESSES.check(&redis.urls, to);
    let secure = |url: &String| url.starts_with("rediss://");
    if redis.urls.iter().any(secure) && !redis.urls.iter().all(secure) {
        to.report("redis.urls", "has servers with TLS and without", "write them all alike");
    }
    match redis.mode {
        RedisMode::Single if redis.urls.len() > 1 => {
            let fix = "keep one, or write mode = \"cluster\" or \"sentinel\"";
            to.report("redis.urls", "names several servers", fix);
        }
        RedisMode::Sentinel if redis.master.is_none() => {
            let fix = "write the name that the sentinels know, such as \"mymaster\"";
            to.report("redis.master", "is missing, and mode is \"sentinel\"", fix);
        }
        RedisMode::Cluster if redis.database != 0 => {
            to.report("redis.database", "is not 0, and mode is \"cluster\"", "take it out");
        }
        RedisMode::Single | RedisMode::Sentinel | RedisMode::Cluster => {}
    }
    for (field, given) in [
        ("redis.master", redis.master.is_some()),
        ("redis.sentinel_password_file", redis.sentinel_password_file.is_some()),
    ] {
        if given && redis.mode != RedisMode::Sentinel {
            to.report(field, "is for sentinels", "write mode = \"sentinel\", or take it out");
        }
    }
    if redis.user.is_some() && redis.password_file.is_none() {
        to.report("redis.password_file", "is missing, and redis.user is given", "give both");
    }
    server::pair(
        ("redis.cert_file", redis.cert_file.is_some()),
        ("redis.key_file", redis.key_file.is_some()),
        to,
    );
    to.span("redis.connect_timeout", redis.connect_timeout, SECOND / 2..=SECOND * 60);
    to.span("redis.request_timeout", redis.request_timeout, SECOND / 10..=SECOND * 60);
    server::files("redis", files(redis), to);
}

fn files(redis: &Redis) -> [(&'static str, Option<&Path>); 5] {
    [
        ("password_file", redis.password_file.as_deref()),
        ("sentinel_password_file", redis.sentinel_password_file.as_deref()),
        ("ca_file", redis.ca_file.as_deref()),
        ("cert_file", redis.cert_file.as_deref()),
        ("key_file", redis.key_file.as_deref()),
    ]
}
