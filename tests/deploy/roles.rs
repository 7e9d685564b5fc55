//! The suite of the bus with what `deploy/nats.conf` permits: the gateway's part as the gateway, the
//! worker's as the worker, on a server that is killed where the suite starts its bus again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use qqrelay_proto::subject::{Lane, Partition};
use qqrelay_runtime::bus::conformance::Fixture;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::bus::{
    Accepted, Appended, Bus, BusError, DeadLetter, Feed, Layout, Log, Only, Reader, Records,
    StoredLetter,
};

use crate::server::{Role, Server};

/// The bus as each process has it. Letters are read by people.
struct Roles {
    gateway: NatsBus,
    worker: NatsBus,
    admin: NatsBus,
}

#[async_trait]
impl Bus for Roles {
    fn layout(&self) -> Layout {
        self.gateway.layout()
    }

    async fn log(&self, partition: Partition) -> Result<Box<dyn Log>, BusError> {
        self.gateway.log(partition).await
    }

    async fn lane(&self, lane: Lane) -> Result<Box<dyn Feed>, BusError> {
        self.worker.lane(lane).await
    }

    async fn read(&self, reader: Reader) -> Result<Box<dyn Records>, BusError> {
        self.admin.read(reader).await
    }

    async fn command(&self, id: &str, subject: &str, payload: Bytes) -> Result<Accepted, BusError> {
        self.worker.command(id, subject, payload).await
    }

    async fn result(
        &self,
        subject: &str,
        payload: Bytes,
        only: Only,
    ) -> Result<Appended, BusError> {
        self.worker.result(subject, payload, only).await
    }

    async fn results(&self, subject: &str) -> Result<Vec<Bytes>, BusError> {
        self.worker.results(subject).await
    }

    async fn await_result(
        &self,
        subject: &str,
        seen: usize,
        limit: Duration,
    ) -> Result<Vec<Bytes>, BusError> {
        self.worker.await_result(subject, seen, limit).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), BusError> {
        self.worker.dead_letter(letter).await
    }

    async fn dead_letters(&self, from: u64, limit: usize) -> Result<Vec<StoredLetter>, BusError> {
        self.admin.dead_letters(from, limit).await
    }
}

struct Shipped {
    server: Server,
    bus: Arc<dyn Bus>,
}

async fn connect(server: &Server) -> anyhow::Result<Arc<dyn Bus>> {
    let (gateway, worker) = (server.bus(Role::Gateway).await?, server.bus(Role::Worker).await?);
    Ok(Arc::new(Roles { gateway, worker, admin: server.bus(Role::Admin).await? }))
}

async fn shipped() -> Shipped {
    let server = Server::start().await.expect("a server starts");
    let bus = connect(&server).await.expect("each role may connect");
    Shipped { server, bus }
}

#[async_trait]
impl Fixture for Shipped {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.bus)
    }

    async fn reopen(&mut self) {
        self.server.restart().await.expect("it starts again");
        self.bus = connect(&self.server).await.expect("each role may connect again");
    }
}

qqrelay_runtime::bus_conformance!(shipped);
