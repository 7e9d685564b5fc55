//! A state that goes away and comes back, and what workers do meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::command::CommandId;
use qqrelay_proto::id::{AppId, OwnerId, Scene};
use qqrelay_proto::identify::{Asker, Permit, StartLimit};
use qqrelay_proto::ledger::{Claim, Right};
use qqrelay_proto::record::Place;
use qqrelay_proto::subject::{Lane, Source};
use qqrelay_runtime::state::embedded::Embedded;
use qqrelay_runtime::state::{
    Admission, Flight, GatewayAnswer, Lease, LeaseKey, Renewal, ReplyKey, ResumeCopy, SealedToken,
    Sighting, State, StateError, Taking, Want,
};
use qqrelay_worker::app::Drained;

use super::world::{World, eventually};

/// The state behind a switch.
pub(crate) struct Outage {
    inner: Arc<Embedded>,
    down: AtomicBool,
}

impl Outage {
    pub(crate) fn of(inner: &Arc<Embedded>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), down: AtomicBool::new(false) })
    }

    pub(crate) fn set(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

macro_rules! behind_the_switch {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl State for Outage {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, StateError> {
                if self.down.load(Ordering::SeqCst) {
                    return Err(StateError::Unavailable("switched off".into()));
                }
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

behind_the_switch! {
    fn lease(key: LeaseKey) -> Option<Lease>;
    fn take_lease(key: LeaseKey, owner: &OwnerId, seen: Option<&Lease>) -> Taking;
    fn renew_lease(key: LeaseKey, held: &Lease) -> Renewal;
    fn release_lease(key: LeaseKey, held: &Lease) -> ();
    fn admit(app: &AppId, wants: &[Want<'_>]) -> Admission;
    fn cool_down(app: &AppId, bucket: &str, wait: Duration) -> ();
    fn claim_reply(key: ReplyKey<'_>, command: &CommandId, right: Right) -> Claim;
    fn release_reply(key: ReplyKey<'_>, command: &CommandId) -> ();
    fn number_taken(key: ReplyKey<'_>, command: &CommandId) -> ();
    fn exhaust_replies(key: ReplyKey<'_>) -> ();
    fn done(lane: Lane, app: &AppId, ids: &[&str]) -> Vec<bool>;
    fn mark_done(lane: Lane, app: &AppId, ids: &[&str], ttl: Duration) -> ();
    fn count_start(app: &AppId, id: &str, ttl: Duration) -> u32;
    fn count_failure(app: &AppId, id: &str, ttl: Duration) -> u32;
    fn see(app: &AppId, id: &str, source: Source) -> Sighting;
    fn stored(app: &AppId, id: &str, place: &Place) -> ();
    fn token(app: &AppId) -> Option<SealedToken>;
    fn put_token(app: &AppId, token: &SealedToken) -> ();
    fn token_flight(app: &AppId, owner: &OwnerId, ttl: Duration) -> Flight;
    fn permit_identify(app: &AppId, told: Option<StartLimit>, asker: Asker) -> Permit;
    fn learn_identify(app: &AppId, limit: StartLimit, took: Duration) -> ();
    fn gateway(app: &AppId) -> Option<(GatewayAnswer, Duration)>;
    fn put_gateway(app: &AppId, answer: &GatewayAnswer, ttl: Duration) -> ();
    fn put_resume(app: &AppId, source: Source, copy: &ResumeCopy) -> ();
    fn resumes(app: Option<&AppId>) -> Vec<(AppId, Source, ResumeCopy)>;
    fn forget_resume(app: &AppId, source: Source) -> ();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_state_replies_go_out_once_at_the_channels_rate_and_marks_come_later() {
    let mut world = World::new().await;
    let outage = Outage::of(&world.state);
    world.outage = Some(Arc::clone(&outage));
    let worker = world.echo();
    world.says(Scene::Channel, "C1", "0").await;
    world.platform.wait_for(1).await;
    outage.set(true);
    let mut events = Vec::new();
    for number in 1..6 {
        events.push(world.says(Scene::Channel, "C1", &number.to_string()).await);
    }
    let received = world.platform.wait_for(6).await;
    let texts: Vec<_> = received.iter().map(|received| received.text().to_owned()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5"]);
    let took = received[5].at - received[1].at;
    assert!(took >= Duration::from_millis(600), "five messages in {took:?}");
    outage.set(false);
    // The last one was acknowledged from the floor at once or is marked now; nothing comes again.
    world.says(Scene::Channel, "C1", "6").await;
    world.platform.wait_for(7).await;
    assert_eq!(worker.stop().await, Drained::Clean);
    let worker = world.echo();
    let last = world.says(Scene::Channel, "C1", "7").await;
    world.platform.wait_for(8).await;
    eventually(async || world.is_done(&last).await.then_some(())).await;
    assert_eq!(worker.stop().await, Drained::Clean);
    assert_eq!(world.platform.received().len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_state_waits_and_begins_when_it_is_there() {
    let mut world = World::new().await;
    let outage = Outage::of(&world.state);
    outage.set(true);
    world.outage = Some(Arc::clone(&outage));
    world.config.lease.renew = Duration::from_millis(50);
    let worker = world.echo();
    world.says(Scene::Group, "G1", "ping").await;
    assert!(world.platform.received().is_empty());
    outage.set(false);
    assert_eq!(world.platform.wait_for(1).await[0].text(), "ping");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_state_no_more_replies_go_out_than_the_platform_takes() {
    let mut world = World::new().await;
    let outage = Outage::of(&world.state);
    world.outage = Some(Arc::clone(&outage));
    let worker = world.worker(Some(Arc::new(super::echo::Many)));
    world.says(Scene::Group, "G1", "1").await;
    world.platform.wait_for(1).await;
    outage.set(true);
    let event = world.says(Scene::Group, "G1", "6").await;
    let id = super::world::reply_id(&event, "many", 5);
    let outcome = world.outcome(&super::world::group("G1"), &id).await;
    assert_eq!(outcome.label(), "rejected");
    assert_eq!(world.platform.received().len(), 6);
    assert_eq!(worker.stop().await, Drained::Clean);
}
