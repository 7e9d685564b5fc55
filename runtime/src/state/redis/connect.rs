//! Coming to the servers, and saying in one sentence what stands in the way.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qqrelay_proto::subject::Partition;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind,
    FromRedisValue, IntoConnectionInfo, RedisConnectionInfo, RedisError, ServerErrorKind,
    TlsCertificates, TlsMode, Value,
};
use tokio::time::timeout;

use super::link::{Link, Watched, Wire};
use super::script::{self, Call};
use crate::config::server::{read_credential, read_file};
use crate::config::{Redis, RedisMode};
use crate::state::{LeaseKey, StateError, key};
use crate::tls;

/// The oldest server that has what our scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// Requests that may be on their way at once; who comes later waits for one of them.
const IN_FLIGHT_MAX: usize = 1024;

/// Waits between attempts to connect again begin here, and double.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// They grow no longer.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server is there, or none speaks Redis.
    #[error("no Redis server answers at {servers}; is it running, and is redis.urls right?")]
    Unreachable {
        /// As configured.
        servers: String,
        /// The last attempt's.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS could not be agreed on.
    #[error("no TLS with the Redis server at {servers}; redis.ca_file must vouch for it")]
    Tls {
        /// As configured.
        servers: String,
        /// What failed.
        #[source]
        source: RedisError,
    },
    /// The server does not know us.
    #[error(
        "the Redis server at {servers} does not let us in; check redis.user and redis.password_file"
    )]
    Login {
        /// As configured.
        servers: String,
        /// What the server said.
        #[source]
        source: RedisError,
    },
    /// A file that is needed.
    #[error("redis.{field}: {path} cannot be used; name a file that this user may read")]
    File {
        /// The key that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A server without what our scripts use.
    #[error("the Redis server {found} is too old: 6.2 or newer is needed, or Valkey")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// A permission is missing.
    #[error(
        "the Redis user may not do what is needed ({0}); docs/OPERATIONS.md, \"Redis\", has the rule"
    )]
    Denied(String),
    /// A cluster where none is configured, or the other way.
    #[error("the Redis server at {servers} {found}; write mode = \"{mode}\" in the section redis")]
    Mode {
        /// As configured.
        servers: String,
        /// What it is.
        found: &'static str,
        /// What to write.
        mode: &'static str,
    },
    /// Sentinels that do not know what is asked for.
    #[error("the sentinels at {servers} know no master {master}; check redis.master")]
    NoMaster {
        /// As configured.
        servers: String,
        /// As configured.
        master: String,
    },
    /// The servers refuse something else.
    #[error("the Redis server at {servers} did not do its part")]
    Refused {
        /// As configured.
        servers: String,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnectError {
    /// Whether the same attempt may succeed later without anybody's doing.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } => true,
            Self::Tls { .. }
            | Self::Login { .. }
            | Self::File { .. }
            | Self::OldServer { .. }
            | Self::Denied(_)
            | Self::Mode { .. }
            | Self::NoMaster { .. } => false,
        }
    }

    fn from_redis(redis: &Redis, error: RedisError) -> Self {
        let servers = redis.urls.join(", ");
        let code = error.code().map(str::to_owned);
        // What has no code of its own; a script's permissions are the server's to look at.
        let says = |words: &str| error.to_string().contains(words);
        match (error.kind(), code.as_deref()) {
            _ if says("cluster support disabled") => {
                Self::Mode { servers, found: "is part of no cluster", mode: "single" }
            }
            (_, Some("WRONGPASS" | "NOAUTH")) | (ErrorKind::AuthenticationFailed, _) => {
                Self::Login { servers, source: error }
            }
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Self::Denied(error.to_string()),
            _ if says("executing the script can't run") => Self::Denied(error.to_string()),
            (ErrorKind::MasterNameNotFoundBySentinel, _) => {
                let master = redis.master.clone().unwrap_or_default();
                Self::NoMaster { servers, master }
            }
            _ if tls::is_to_blame(&error) || says("certificate") => {
                Self::Tls { servers, source: error }
            }
            (ErrorKind::Server(_), _) => Self::Refused { servers, source: error.into() },
            _ => Self::Unreachable { servers, source: error.into() },
        }
    }
}

/// Connects, and looks whether the servers will do.
pub(super) async fn open(redis: &Redis) -> Result<Link, ConnectError> {
    // A second call finds a provider installed, and it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let failed = |error| ConnectError::from_redis(redis, error);
    let late = |error| ConnectError::Unreachable {
        servers: redis.urls.join(", "),
        source: Box::new(error),
    };
    let access = Access::read(redis)?;
    let connecting = async {
        match redis.mode {
            RedisMode::Single => access.single().await.map_err(failed),
            RedisMode::Sentinel => access.sentinel().await.map_err(failed),
            RedisMode::Cluster => access.cluster().await.map_err(failed),
        }
    };
    let wire = timeout(redis.connect_timeout, connecting).await.map_err(late)??;
    let link = Link::new(wire, redis.request_timeout);
    inspect(&link, redis).await?;
    Ok(link)
}

/// What is needed to be let in.
struct Access<'a> {
    redis: &'a Redis,
    login: RedisConnectionInfo,
    certificates: TlsCertificates,
    sentinel_password: Option<String>,
}

impl<'a> Access<'a> {
    fn read(redis: &'a Redis) -> Result<Self, ConnectError> {
        let file = |field, path: &Path, read: fn(&Path) -> io::Result<String>| {
            read(path).map_err(|source| ConnectError::File { field, path: path.into(), source })
        };
        let given = |field, path: &Option<PathBuf>, read| {
            path.as_deref().map(|path| file(field, path, read)).transpose()
        };
        let mut login = RedisConnectionInfo::default()
            .set_db(redis.database.into())
            .set_lib_name("qqrelay", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &redis.user {
            login = login.set_username(user);
        }
        if let Some(password) = given("password_file", &redis.password_file, read_credential)? {
            login = login.set_password(password);
        }
        let root_cert = given("ca_file", &redis.ca_file, read_file)?.map(String::into_bytes);
        let cert = given("cert_file", &redis.cert_file, read_file)?.map(String::into_bytes);
        let key = given("key_file", &redis.key_file, read_file)?.map(String::into_bytes);
        let pair = cert.zip(key);
        let client_tls =
            pair.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let sentinel_password =
            given("sentinel_password_file", &redis.sentinel_password_file, read_credential)?;
        let certificates = TlsCertificates { client_tls, root_cert };
        Ok(Self { redis, login, certificates, sentinel_password })
    }

    fn is_secure(&self) -> bool {
        self.redis.urls.iter().any(|url| url.starts_with("rediss://"))
    }

    fn servers(&self) -> Result<Vec<ConnectionInfo>, RedisError> {
        let info = |url: &String| {
            Ok(url.as_str().into_connection_info()?.set_redis_settings(self.login.clone()))
        };
        self.redis.urls.iter().map(info).collect()
    }

    fn settings(&self) -> ConnectionManagerConfig {
        ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.redis.connect_timeout))
            .set_response_timeout(Some(self.redis.request_timeout))
            .set_min_delay(RECONNECT_FIRST)
            .set_max_delay(RECONNECT_MAX)
            .set_concurrency_limit(IN_FLIGHT_MAX)
    }

    async fn single(&self) -> Result<Wire, RedisError> {
        let mut servers = self.servers()?;
        let first = servers.swap_remove(0);
        let client = if self.is_secure() {
            Client::build_with_tls(first, self.certificates.clone())?
        } else {
            Client::open(first)?
        };
        Ok(Wire::One(self.manager(client).await?))
    }

    /// A connection that mends itself. It tries to for long, also where nothing helps; what is wrong
    /// is seen at one that does not.
    async fn manager(&self, client: Client) -> Result<ConnectionManager, RedisError> {
        let once = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.redis.connect_timeout))
            .set_response_timeout(Some(self.redis.connect_timeout));
        client.get_multiplexed_async_connection_with_config(&once).await?;
        ConnectionManager::new_with_config(client, self.settings()).await
    }

    async fn sentinel(&self) -> Result<Wire, RedisError> {
        let mut sentinels = self.sentinels()?;
        let client = sentinels.async_get_client().await?;
        let master = self.manager(client).await?;
        Ok(Wire::Watched(Watched::new(sentinels, master, self.settings())))
    }

    fn sentinels(&self) -> Result<SentinelClient, RedisError> {
        let addresses: Vec<ConnectionAddr> =
            self.servers()?.into_iter().map(|info| info.addr().clone()).collect();
        let master = self.redis.master.clone().unwrap_or_default();
        let mut builder =
            SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.redis.database.into());
        if let Some(user) = self.login.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.login.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(password) = &self.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.is_secure() {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(self.certificates.clone())
                .set_client_to_sentinel_certificates(self.certificates.clone());
        }
        builder.build()
    }

    async fn cluster(&self) -> Result<Wire, RedisError> {
        let mut builder = ClusterClientBuilder::new(self.servers()?)
            .connection_timeout(self.redis.connect_timeout)
            .response_timeout(self.redis.request_timeout)
            .connection_concurrency_limit(IN_FLIGHT_MAX);
        if self.is_secure() {
            builder = builder.tls(TlsMode::Secure).certs(self.certificates.clone());
        }
        Ok(Wire::Cluster(builder.build()?.get_async_connection().await?))
    }
}

/// Looks whether the server is new enough, of the kind that is configured, and runs our scripts.
async fn inspect(link: &Link, redis: &Redis) -> Result<(), ConnectError> {
    let servers = || redis.urls.join(", ");
    let told = link.send(redis::cmd("INFO").arg("everything")).await;
    let info = match told {
        Ok(answer) => text_of(answer),
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => String::new(),
        Err(error) => return Err(ConnectError::from_redis(redis, error)),
    };
    let member = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    if let Some(found) = member("redis_version")
        && version(found).is_some_and(|found| found < OLDEST)
    {
        return Err(ConnectError::OldServer { found: found.to_owned() });
    }
    match (member("cluster_enabled"), redis.mode) {
        (Some("1"), RedisMode::Single | RedisMode::Sentinel) => {
            let found = "is part of a cluster";
            return Err(ConnectError::Mode { servers: servers(), found, mode: "cluster" });
        }
        (Some("0"), RedisMode::Cluster) => {
            let found = "is part of no cluster";
            return Err(ConnectError::Mode { servers: servers(), found, mode: "single" });
        }
        _ => {}
    }
    if let Some(policy) = member("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        let fix = "set maxmemory-policy to noeviction";
        tracing::warn!(policy, fix, "a full Redis may drop the rights to reply that are in use");
    }
    // Any key of ours will do to see whether scripts may run.
    let look = Call::of(&script::READ, key::lease(LeaseKey::Partition(Partition::Webhook)));
    match link.call::<Value>(look).await {
        Ok(_) => Ok(()),
        Err(StateError::Refused(source)) => match source.downcast::<RedisError>() {
            Ok(error) => Err(ConnectError::from_redis(redis, *error)),
            Err(source) => Err(ConnectError::Refused { servers: servers(), source }),
        },
        Err(error) => Err(ConnectError::Refused { servers: servers(), source: error.into() }),
    }
}

/// What `INFO` said; a cluster's answer is one for each server, and the first will do.
fn text_of(answer: Value) -> String {
    match answer {
        Value::Map(nodes) => {
            nodes.into_iter().next().map_or_else(String::new, |(_, answer)| text_of(answer))
        }
        other => String::from_redis_value(other).unwrap_or_default(),
    }
}

/// `7.0` of `7.0.15`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_below_the_oldest_are_told_apart() {
        let is_old = |text| version(text).is_some_and(|found| found < OLDEST);
        assert!(is_old("6.0.16"));
        assert!(is_old("5.0.3"));
        assert!(!is_old("6.2.0"));
        assert!(!is_old("7.0.15"));
        assert!(!is_old("10.0.0"));
        assert!(!is_old("unknown"));
    }
}
