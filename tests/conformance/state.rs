//! The shared state on Redis, as the trait's own suite has it: on one server, and on a cluster.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::config::{Redis, RedisMode};
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::conformance::Fixture;
use qqrelay_runtime::state::redis::RedisState;
use qqrelay_tests::servers::redis::{RedisCluster, RedisServer};

/// A crowd on a busy machine waits longer than one process would.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

struct Servers {
    redis: Redis,
    servers: Vec<RedisServer>,
    state: Arc<RedisState>,
}

impl Servers {
    async fn of(servers: Vec<RedisServer>, mode: RedisMode) -> Self {
        let urls = servers.iter().map(RedisServer::url).collect();
        let redis = Redis { urls, mode, request_timeout: ANSWER_WITHIN, ..Redis::default() };
        let state = Arc::new(RedisState::connect(&redis).await.expect("the servers will do"));
        Self { redis, servers, state }
    }
}

#[async_trait]
impl Fixture for Servers {
    fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state) as Arc<dyn State>
    }

    /// Kills every server: what is answered too early is missed.
    async fn reopen(&mut self) {
        for server in &mut self.servers {
            server.restart().await.expect("it starts again");
        }
        let connected = async {
            loop {
                // A cluster that has just started takes a moment to agree with itself.
                match RedisState::connect(&self.redis).await {
                    Ok(state) if state.resumes(None).await.is_ok() => break state,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        let connected = tokio::time::timeout(Duration::from_secs(60), connected).await;
        self.state = Arc::new(connected.expect("the servers will do again"));
    }

    async fn advance(&mut self, by: Duration) {
        // A key is there until the millisecond of its end is over.
        let by = by + Duration::from_millis(1);
        let by = i64::try_from(by.as_micros()).expect("a short time");
        for server in &mut self.servers {
            server.move_clock(by).expect("its clock moves");
        }
    }

    async fn now(&self) -> UnixMs {
        let told = self.servers[0].command(&["TIME"]).expect("it knows the time");
        let (seconds, micros): (u64, u64) = told;
        UnixMs(seconds * 1000 + micros / 1000)
    }
}

async fn one() -> Servers {
    let server = RedisServer::start("").await.expect("a server starts");
    Servers::of(vec![server], RedisMode::Single).await
}

async fn three() -> Servers {
    let cluster = RedisCluster::start().await.expect("three servers start");
    Servers::of(cluster.servers, RedisMode::Cluster).await
}

mod single {
    use super::one;
    qqrelay_runtime::state_conformance!(one);
}

mod cluster {
    use super::three;
    qqrelay_runtime::state_conformance!(three);
}
