//! The bus on nats-server: the suite of the trait on one server, which is killed where the suite
//! starts its bus again.

use std::sync::Arc;

use async_trait::async_trait;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::bus::conformance::Fixture;
use qqrelay_tests::servers::nats::{NatsServer, Setup};

use crate::nats_stage::connect;

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
