//! The bus of a cluster: NATS JetStream, version 2.12 or later.
//!
//! A partition's records are numbered by the server, and each is sent on the condition of the
//! number before it; who owns a partition is settled by an atomic batch. Nothing that decides is
//! read from anywhere but a stream's leader. The rule a newcomer would break: what the client
//! promises about delivery ends with the connection, so that holes are looked for and silence is
//! never taken for rest.

mod command;
mod connect;
mod cursor;
mod delivery;
mod error;
mod follow;
mod lane;
mod letter;
mod link;
mod log;
mod mark;
mod outbox;
mod peers;
mod publish;
mod pull;
mod reader;
mod request;
mod result;
mod service;
mod shards;
mod stored;
mod streams;
mod take;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use qqrelay_proto::subject::{Lane, Partition};
use tokio::runtime;

use super::embedded::Limits;
use super::{
    Accepted, Appended, Bus, BusError, DeadLetter, Feed, Layout, Log, Only, Reader, Records,
    StoredLetter, WorkStream,
};
use crate::config::Nats;
use lane::Acked;
use link::Link;

pub use connect::ConnectError;
pub use peers::{Gateways, Given, Reply, Take, Word, Workers};
pub use request::RequestError;
pub use service::{ServiceMetrics, WAIT};
pub use shards::{ShardState, ShardStates};
pub use streams::Difference;

/// The bus on NATS. A clone is the same bus.
#[derive(Clone)]
pub struct NatsBus {
    shared: Arc<Shared>,
}

struct Shared {
    nats: Nats,
    name: String,
    layout: Layout,
    limits: Limits,
    /// Held so that the runtime that connected keeps its connection.
    home: Arc<Link>,
    /// A connection for each runtime, and so for each thread that holds partitions.
    links: tokio::sync::Mutex<HashMap<runtime::Id, Weak<Link>>>,
    /// What this process acknowledged in each lane, for the next taker to wait for.
    acked: Mutex<HashMap<Lane, Arc<Acked>>>,
    answer_within: Duration,
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { nats, layout, .. } = &*self.shared;
        f.debug_struct("NatsBus").field("urls", &nats.urls).field("layout", layout).finish()
    }
}

impl NatsBus {
    /// Connects as `name`, which servers show, and makes or checks the streams. `answer_within` is
    /// how long a published record may go unanswered before its outcome counts as unknown.
    ///
    /// # Errors
    ///
    /// The variant says what is in the way and what to do about it;
    /// [`ConnectError::is_passing`] says whether trying again may help.
    pub async fn connect(
        nats: &Nats,
        name: &str,
        layout: Layout,
        limits: &Limits,
        answer_within: Duration,
    ) -> Result<Self, ConnectError> {
        let link = connect::open(nats, name).await?;
        streams::prepare(&link, nats, layout, limits).await?;
        let home = Arc::new(link);
        let here = (runtime::Handle::current().id(), Arc::downgrade(&home));
        let shared = Shared {
            nats: nats.clone(),
            name: name.to_owned(),
            layout,
            limits: *limits,
            home,
            links: tokio::sync::Mutex::new(HashMap::from([here])),
            acked: Mutex::default(),
            answer_within,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Sends what is on its way and ends the connection of the runtime that connected.
    ///
    /// # Errors
    ///
    /// It had ended already.
    pub async fn close(&self) -> Result<(), BusError> {
        let drained = self.shared.home.client.drain().await;
        drained.map_err(|error| BusError::Unavailable(error.into()))
    }

    /// The connection that lives in the caller's runtime.
    async fn link(&self) -> Result<Arc<Link>, BusError> {
        let here = runtime::Handle::current().id();
        let mut links = self.shared.links.lock().await;
        if let Some(link) = links.get(&here).and_then(Weak::upgrade) {
            return Ok(link);
        }
        let opened = connect::open(&self.shared.nats, &self.shared.name).await;
        let link = Arc::new(opened.map_err(|error| BusError::Unavailable(error.into()))?);
        links.retain(|_, link| link.strong_count() > 0);
        links.insert(here, Arc::downgrade(&link));
        Ok(link)
    }

    fn acked(&self, lane: Lane) -> Arc<Acked> {
        let mut acked = self.shared.acked.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(acked.entry(lane).or_default())
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn layout(&self) -> Layout {
        self.shared.layout
    }

    async fn log(&self, partition: Partition) -> Result<Box<dyn Log>, BusError> {
        let layout = self.shared.layout;
        if !streams::partitions(layout).any(|known| known == partition) {
            let count = layout.partitions;
            let text = format!("there is no partition {partition}: the log has {count}");
            return Err(BusError::Refused(text));
        }
        let log = log::PartitionLog::open(self.link().await?, partition, self.shared.clone());
        Ok(Box::new(log.await?))
    }

    async fn lane(&self, lane: Lane) -> Result<Box<dyn Feed>, BusError> {
        let (link, acked) = (self.link().await?, self.acked(lane));
        acked.settle(&link).await;
        let events = streams::partitions(self.shared.layout).map(WorkStream::Events);
        let streams: Vec<_> = events.chain([WorkStream::Commands]).collect();
        Ok(Box::new(lane::LaneFeed::take(link, lane, &streams, acked).await?))
    }

    async fn read(&self, reader: Reader) -> Result<Box<dyn Records>, BusError> {
        let partitions = streams::partitions(self.shared.layout);
        Ok(Box::new(reader::LogReader::open(self.link().await?, partitions, reader).await?))
    }

    async fn command(&self, id: &str, subject: &str, payload: Bytes) -> Result<Accepted, BusError> {
        command::store(&*self.link().await?, id, subject, payload).await
    }

    async fn result(
        &self,
        subject: &str,
        payload: Bytes,
        only: Only,
    ) -> Result<Appended, BusError> {
        result::append(&*self.link().await?, subject, payload, only).await
    }

    async fn results(&self, subject: &str) -> Result<Vec<Bytes>, BusError> {
        result::all(&*self.link().await?, subject).await
    }

    async fn await_result(
        &self,
        subject: &str,
        seen: usize,
        limit: Duration,
    ) -> Result<Vec<Bytes>, BusError> {
        result::wait(&*self.link().await?, subject, seen, limit).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), BusError> {
        letter::park(&*self.link().await?, letter).await
    }

    async fn dead_letters(&self, from: u64, limit: usize) -> Result<Vec<StoredLetter>, BusError> {
        letter::list(&*self.link().await?, from, limit).await
    }
}
