//! The ways of one process to its servers, each by a proxy of its own.

use std::sync::Arc;

use crate::cluster::Servers;
use crate::servers::proxy::Proxy;

/// The ways of one process to its servers, where those are its own.
#[derive(Debug, Clone, Default)]
pub struct Edges {
    /// To nats-server.
    pub nats: Option<Arc<Proxy>>,
    /// To redis-server.
    pub redis: Option<Arc<Proxy>>,
}

impl Edges {
    /// New ones. Of several nats-servers each tells where the others are, so that no proxy before
    /// them would be used for long.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn of(servers: &Servers) -> anyhow::Result<Self> {
        let nats = match &servers.nats.servers[..] {
            [server] => Some(Arc::new(Proxy::before(server.port).await?)),
            _ => None,
        };
        Ok(Self { nats, redis: Some(Arc::new(Proxy::before(servers.redis.port).await?)) })
    }

    /// What the configuration says of them.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let variable = |name: &str, scheme: &str, proxy: &Proxy| {
            (format!("QQRELAY_{name}__URLS"), format!("{scheme}://{}", proxy.address()))
        };
        let nats = self.nats.iter().map(|proxy| variable("NATS", "nats", proxy));
        nats.chain(self.redis.iter().map(|proxy| variable("REDIS", "redis", proxy))).collect()
    }
}
