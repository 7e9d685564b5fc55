//! Feeds that break and lanes that another worker takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use qqrelay_proto::id::Scene;
use qqrelay_proto::subject::{Lane, Partition, ScopeSubject};
use qqrelay_runtime::bus::embedded::EmbeddedBus;
use qqrelay_runtime::bus::{
    Accepted, Appended, Bus, BusError, DeadLetter, Delivery, Feed, Layout, Log, Only, Position,
    Reader, Records, StoredLetter,
};
use qqrelay_runtime::state::{LeaseKey, State};
use qqrelay_worker::app::Drained;

use super::outage::Outage;
use super::world::{APP, World, eventually, group};

/// The bus, with feeds that break after a few deliveries.
pub(crate) struct Cuts {
    inner: EmbeddedBus,
    /// Feeds that will break yet.
    left: AtomicUsize,
    /// Deliveries after which one does.
    after: usize,
}

struct CutFeed {
    inner: Box<dyn Feed>,
    left: Option<usize>,
}

#[async_trait]
impl Feed for CutFeed {
    async fn next(&mut self) -> Result<Delivery, BusError> {
        if self.left == Some(0) {
            return Err(BusError::Unavailable("cut".into()));
        }
        let delivery = self.inner.next().await?;
        self.left = self.left.map(|left| left - 1);
        Ok(delivery)
    }

    fn ack(&mut self, position: Position) {
        self.inner.ack(position);
    }
}

#[async_trait]
impl Bus for Cuts {
    fn layout(&self) -> Layout {
        self.inner.layout()
    }

    async fn log(&self, partition: Partition) -> Result<Box<dyn Log>, BusError> {
        self.inner.log(partition).await
    }

    async fn lane(&self, lane: Lane) -> Result<Box<dyn Feed>, BusError> {
        let inner = self.inner.lane(lane).await?;
        let cut =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        Ok(Box::new(CutFeed { inner, left: cut.is_ok().then_some(self.after) }))
    }

    async fn read(&self, reader: Reader) -> Result<Box<dyn Records>, BusError> {
        self.inner.read(reader).await
    }

    async fn command(&self, id: &str, subject: &str, payload: Bytes) -> Result<Accepted, BusError> {
        self.inner.command(id, subject, payload).await
    }

    async fn result(
        &self,
        subject: &str,
        payload: Bytes,
        only: Only,
    ) -> Result<Appended, BusError> {
        self.inner.result(subject, payload, only).await
    }

    async fn results(&self, subject: &str) -> Result<Vec<Bytes>, BusError> {
        self.inner.results(subject).await
    }

    async fn await_result(
        &self,
        subject: &str,
        seen: usize,
        limit: Duration,
    ) -> Result<Vec<Bytes>, BusError> {
        self.inner.await_result(subject, seen, limit).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), BusError> {
        self.inner.dead_letter(letter).await
    }

    async fn dead_letters(&self, from: u64, limit: usize) -> Result<Vec<StoredLetter>, BusError> {
        self.inner.dead_letters(from, limit).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_breaks_is_opened_anew_with_everything_once_and_in_order() {
    let mut world = World::new().await;
    let left = AtomicUsize::new(20);
    world.cuts = Some(Arc::new(Cuts { inner: world.bus.clone(), left, after: 3 }));
    for number in 0..60 {
        world.says(Scene::C2c, &format!("U{}", number % 5), &number.to_string()).await;
    }
    let worker = world.echo();
    world.platform.wait_for(60).await;
    assert_eq!(worker.stop().await, Drained::Clean);
    let shown = world.platform.shown();
    assert_eq!(shown.len(), 60, "nothing twice");
    for place in 0..5 {
        let path = format!("/v2/users/U{place}/messages: ");
        let texts: Vec<_> = shown.iter().filter_map(|line| line.strip_prefix(&path)).collect();
        let expected: Vec<_> = (0..12).map(|row| (5 * row + place).to_string()).collect();
        assert_eq!(texts, expected, "U{place}");
    }
}

/// Leases that a test can wait for.
fn brief_leases(world: &mut World) {
    world.config.lease.renew = Duration::from_millis(100);
    world.config.lease.observe = Duration::from_millis(600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_the_lanes_of_a_worker_that_is_gone() {
    let mut world = World::new().await;
    brief_leases(&mut world);
    let first = world.echo();
    world.says(Scene::Group, "G1", "0").await;
    world.platform.wait_for(1).await;
    let second = world.echo();
    first.kill().await;
    for number in 1..5 {
        world.says(Scene::Group, "G1", &number.to_string()).await;
    }
    let received = world.platform.wait_for(5).await;
    let texts: Vec<_> = received.iter().map(|received| received.text().to_owned()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
    assert_eq!(second.stop().await, Drained::Clean);
    assert_eq!(world.platform.received().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_leaves_its_lanes_at_once() {
    let mut world = World::new().await;
    world.config.lease.renew = Duration::from_millis(100);
    world.config.lease.observe = Duration::from_secs(3600);
    let first = world.echo();
    world.says(Scene::Group, "G1", "0").await;
    world.platform.wait_for(1).await;
    let second = world.echo();
    assert_eq!(first.stop().await, Drained::Clean);
    world.says(Scene::Group, "G1", "1").await;
    world.platform.wait_for(2).await;
    assert_eq!(second.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_alone_lost_the_state_stands_down_when_another_takes_its_lanes() {
    let mut world = World::new().await;
    brief_leases(&mut world);
    let outage = Outage::of(&world.state);
    world.outage = Some(Arc::clone(&outage));
    let first = world.echo();
    world.says(Scene::Group, "G1", "0").await;
    world.platform.wait_for(1).await;
    outage.set(true);
    world.outage = None;
    let second = world.echo();
    let lane = ScopeSubject::new(&APP.into(), &group("G1")).lane();
    let taken = eventually(async || {
        let lease = world.state.lease(LeaseKey::Lane(lane)).await.expect("the state is there");
        lease.filter(|lease| lease.incarnation > 1)
    });
    taken.await;
    for number in 1..5 {
        world.says(Scene::Group, "G1", &number.to_string()).await;
    }
    let received = world.platform.wait_for(5).await;
    let texts: Vec<_> = received.iter().map(|received| received.text().to_owned()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
    assert_eq!(second.stop().await, Drained::Clean);
    assert_eq!(first.stop().await, Drained::Clean);
    assert_eq!(world.platform.received().len(), 5, "each once");
}
