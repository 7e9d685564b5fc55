//! What the tests of the bus on NATS share: servers, and ways to come to them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ServerAddr};
use bytes::Bytes;
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_runtime::bus::conformance::LAYOUT;
use qqrelay_runtime::bus::conformance::stage::PARTITION;
use qqrelay_runtime::bus::embedded::Limits;
use qqrelay_runtime::bus::nats::{ConnectError, NatsBus};
use qqrelay_runtime::bus::{Bus, Log};
use qqrelay_runtime::config::Nats;
use qqrelay_tests::servers::nats::{NatsCluster, NatsServer, Setup};
use qqrelay_tests::servers::proxy::Proxy;
use serde_json::Value;
use tokio::time::Instant;

/// How long a record may go unanswered: a leader is chosen in less.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Until three servers that were just started keep streams.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// As many servers as there are to be replicas, 1 or 3.
pub(crate) async fn servers(replicas: u8) -> NatsCluster {
    let setup = Setup::default();
    if replicas == 3 {
        return NatsCluster::start(&setup).await.expect("three servers start");
    }
    NatsCluster { servers: vec![NatsServer::start(&setup).await.expect("a server starts")] }
}

/// The section `nats` for servers that let everybody in.
pub(crate) fn nats(urls: Vec<String>, replicas: u8) -> Nats {
    Nats { urls, replicas, ..Nats::default() }
}

/// One attempt, with what every test has where it says nothing else.
pub(crate) async fn attempt(nats: &Nats) -> Result<NatsBus, ConnectError> {
    NatsBus::connect(nats, "conformance", LAYOUT, &Limits::default(), ANSWER_WITHIN).await
}

/// Connects as soon as the servers let streams be made.
pub(crate) async fn connect(urls: Vec<String>, replicas: u8) -> Arc<dyn Bus> {
    connect_with(&nats(urls, replicas), &Limits::default(), ANSWER_WITHIN).await
}

/// As [`connect`], with limits of its own, and another time for answers.
pub(crate) async fn connect_with(
    nats: &Nats,
    limits: &Limits,
    answer_within: Duration,
) -> Arc<dyn Bus> {
    let end = Instant::now() + READY_WITHIN;
    loop {
        match NatsBus::connect(nats, "conformance", LAYOUT, limits, answer_within).await {
            Ok(bus) => return Arc::new(bus),
            Err(error) if error.is_passing() && Instant::now() < end => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Where the events of these tests happen.
pub(crate) fn group() -> Scope {
    Scope::new(Scene::Group, "A1")
}

/// Two handles on one partition: what one says can be held back.
pub(crate) struct Pair {
    /// What they stand on.
    pub(crate) _kept: (NatsCluster, [Arc<dyn Bus>; 2]),
    /// Before the first server.
    pub(crate) proxy: Proxy,
    pub(crate) behind: Box<dyn Log>,
    pub(crate) direct: Box<dyn Log>,
}

impl Pair {
    pub(crate) async fn on(replicas: u8) -> Self {
        let servers = servers(replicas).await;
        let proxy = Proxy::before(servers.servers[0].port).await.expect("a port is free");
        let direct = connect(servers.urls(), replicas).await;
        let behind = connect(vec![proxy.url()], replicas).await;
        Self {
            proxy,
            behind: behind.log(PARTITION).await.expect("the bus is up"),
            direct: direct.log(PARTITION).await.expect("the bus is up"),
            _kept: (servers, [behind, direct]),
        }
    }
}

/// A client of these servers that is not the bus.
pub(crate) async fn client(servers: &NatsCluster) -> Client {
    let parse = |url: String| url.parse::<ServerAddr>().expect("it is an address");
    let addresses: Vec<_> = servers.urls().into_iter().map(parse).collect();
    async_nats::connect(addresses).await.expect("a server is there")
}

/// Asks the servers' API; `None` of a question without an answer, or with an error for one.
pub(crate) async fn api(client: &Client, question: &str, body: impl Into<Bytes>) -> Option<Value> {
    let answer = client.request(format!("$JS.API.{question}"), body.into()).await.ok()?;
    let answer: Value = serde_json::from_slice(&answer.payload).expect("it is JSON");
    answer.get("error").is_none().then_some(answer)
}
