//! The bus on nats-server: the suite of the trait on one server and on three, each of which is
//! killed where the suite starts its bus again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::bus::conformance::{Fixture, LAYOUT};
use qqrelay_runtime::bus::embedded::Limits;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config::Nats;
use qqrelay_tests::servers::nats::{NatsServer, Setup};
use tokio::time::Instant;

/// How long a record may go unanswered: a leader is chosen in less.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Until three servers that were just started keep streams.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Connects as soon as the servers let streams be made.
async fn connect(urls: Vec<String>, replicas: u8) -> Arc<dyn Bus> {
    let nats = Nats { urls, replicas, ..Nats::default() };
    let limits = Limits::default();
    let end = Instant::now() + READY_WITHIN;
    loop {
        match NatsBus::connect(&nats, "conformance", LAYOUT, &limits, ANSWER_WITHIN).await {
            Ok(bus) => return Arc::new(bus),
            Err(error) if error.is_passing() && Instant::now() < end => {}
            Err(error) => panic!("{error}"),
        }
    }
}

struct OneServer {
    server: NatsServer,
    bus: Arc<dyn Bus>,
}

async fn one_server() -> OneServer {
    let server = NatsServer::start(&Setup::default()).await.expect("a server starts");
    let bus = connect(vec![server.url()], 1).await;
    OneServer { server, bus }
}

#[async_trait]
impl Fixture for OneServer {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.bus)
    }

    async fn reopen(&mut self) {
        self.server.kill();
        self.server.restart().await.expect("it starts again");
        self.bus = connect(vec![self.server.url()], 1).await;
    }
}

mod on_one_server {
    use super::one_server;

    qqrelay_runtime::bus_conformance!(one_server);
}
