//! The connection to the servers, whichever way they belong together.
//!
//! One connection carries all requests of a process, and mends itself. The rule a newcomer would
//! break: a request that met a broken connection is not sent again here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};

use super::error::{is_no_master, is_unknown_script, meaning};
use super::script::Call;
use crate::state::StateError;

/// The way to the servers.
pub(super) struct Link {
    wire: Wire,
    answer_within: Duration,
}

pub(super) enum Wire {
    One(ConnectionManager),
    Watched(Arc<Watched>),
    Cluster(ClusterConnection),
}

/// A server that sentinels watch.
pub(super) struct Watched {
    sentinels: Mutex<SentinelClient>,
    master: ArcSwap<ConnectionManager>,
    settings: ConnectionManagerConfig,
    /// Whether somebody asks the sentinels now.
    asking: AtomicBool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("answer_within", &self.answer_within).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) const fn new(wire: Wire, answer_within: Duration) -> Self {
        Self { wire, answer_within }
    }

    /// Runs a script.
    pub(super) async fn call<T: FromRedisValue>(&self, call: Call) -> Result<T, StateError> {
        let mut answer = self.send(&call.by_hash()).await;
        if answer.as_ref().is_err_and(is_unknown_script) {
            // Nothing has run yet: a server says so before it begins.
            answer = self.send(&call.by_text()).await;
        }
        read(answer, call.first_key())
    }

    /// Runs a command about `key`.
    pub(super) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
        key: &str,
    ) -> Result<T, StateError> {
        read(self.send(command).await, key)
    }

    /// Sends once, and waits for the answer as long as it may take.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let sending = async {
            match &self.wire {
                Wire::One(server) => command.query_async(&mut server.clone()).await,
                Wire::Watched(watched) => {
                    let mut master = ConnectionManager::clone(&watched.master.load());
                    command.query_async(&mut master).await
                }
                Wire::Cluster(cluster) => command.query_async(&mut cluster.clone()).await,
            }
        };
        let late = |_| Err(RedisError::from((ErrorKind::Io, "no answer in time")));
        let answer = timeout(self.answer_within, sending).await.unwrap_or_else(late);
        if let Wire::Watched(watched) = &self.wire
            && answer.as_ref().is_err_and(is_no_master)
        {
            watched.ask_again();
        }
        answer
    }

    /// The cluster, where there is one.
    pub(super) fn cluster(&self) -> Option<ClusterConnection> {
        match &self.wire {
            Wire::Cluster(cluster) => Some(cluster.clone()),
            Wire::One(_) | Wire::Watched(_) => None,
        }
    }
}

/// What an answer about `key` says.
fn read<T: FromRedisValue>(answer: RedisResult<Value>, key: &str) -> Result<T, StateError> {
    let read = answer.and_then(|value| Ok(T::from_redis_value(value)?));
    read.map_err(|error| meaning(error, key))
}

impl Watched {
    pub(super) fn new(
        sentinels: SentinelClient,
        master: ConnectionManager,
        settings: ConnectionManagerConfig,
    ) -> Arc<Self> {
        Arc::new(Self {
            sentinels: Mutex::new(sentinels),
            master: ArcSwap::from_pointee(master),
            settings,
            asking: AtomicBool::new(false),
        })
    }

    /// Asks the sentinels who the master is, beside what is under way; one asks at a time.
    fn ask_again(self: &Arc<Self>) {
        if self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let watched = Arc::clone(self);
        tokio::spawn(async move {
            match watched.find().await {
                Ok(()) => info!("the sentinels named the master"),
                Err(error) => warn!(%error, "the sentinels name no master that answers"),
            }
            watched.asking.store(false, Ordering::Release);
        });
    }

    async fn find(&self) -> RedisResult<()> {
        let client = self.sentinels.lock().await.async_get_client().await?;
        let master = ConnectionManager::new_with_config(client, self.settings.clone()).await?;
        self.master.store(Arc::new(master));
        Ok(())
    }
}
