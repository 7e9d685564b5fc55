//! A bus and a state in one file, a platform, and workers that come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prometheus::Registry;
use qqrelay_proto::command::Command;
use qqrelay_proto::event::{Arrival, Event, normalise};
use qqrelay_proto::frame::Frame;
use qqrelay_proto::id::{AppId, Scene, Scope, ShardId};
use qqrelay_proto::outcome::{News, Outcome, ResultRecord};
use qqrelay_proto::record::{EventHeaders, Headers, Record};
use qqrelay_proto::subject::{LogSubject, Partition, ScopeSubject, Source, SourceSubject};
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::embedded::{EmbeddedBus, Limits as BusLimits};
use qqrelay_runtime::bus::{Bus, Layout, StoredLetter};
use qqrelay_runtime::config::{Config, Platform as PlatformConfig, ProfileName, Secret, fixed};
use qqrelay_runtime::random;
use qqrelay_runtime::rest::{self, Endpoints, Pool};
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::embedded::Embedded;
use qqrelay_runtime::store::{Clock, Store};
use qqrelay_worker::app::{Drained, Parts, Worker};
use qqrelay_worker::handler::{Echo, Handler};
use qqrelay_worker::presence::{Presence, Unknown};
use qqrelay_worker::scopes::Bounds;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::breaks::Cuts;
use super::outage::Outage;
use super::platform::{PATIENCE, Platform};

pub(crate) const APP: &str = "102000001";

/// The trace that every event comes with.
pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// One installation.
pub(crate) struct World {
    pub(crate) place: TempDir,
    pub(crate) bus: EmbeddedBus,
    pub(crate) state: Arc<Embedded>,
    /// What workers see of the state, where a test takes it away.
    pub(crate) outage: Option<Arc<Outage>>,
    /// What workers see of the bus, where a test cuts it.
    pub(crate) cuts: Option<Arc<Cuts>>,
    pub(crate) platform: Platform,
    pub(crate) config: Config,
    pub(crate) presence: Arc<dyn Presence>,
    /// How long a call of the platform may take.
    pub(crate) call: Duration,
    frames: u64,
    /// What was written into the log, by event id.
    records: HashMap<String, Record>,
}

/// A worker that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    done: JoinHandle<Drained>,
    pub(crate) registry: Registry,
}

impl Running {
    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(self) -> Drained {
        self.stop.cancel();
        let drained = timeout(PATIENCE, self.done).await.expect("a worker drains in time");
        drained.expect("a worker does not panic")
    }

    /// Ends it at once, wherever it is.
    pub(crate) async fn kill(self) {
        self.done.abort();
        let _ = self.done.await;
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let place = TempDir::new().expect("a directory for a test");
        let (bus, state) = open(&place).await;
        let config = Config::default();
        let presence = Arc::new(Unknown);
        let platform = Platform::start().await;
        let call = Duration::from_secs(10);
        Self {
            place,
            bus,
            state,
            outage: None,
            cuts: None,
            platform,
            config,
            presence,
            call,
            frames: 0,
            records: HashMap::new(),
        }
    }

    pub(crate) fn worker(&self, handler: Option<Arc<dyn Handler>>) -> Running {
        self.worker_with(
            handler,
            Bounds { scope_pieces: self.config.worker.scope_queue.into(), ..Bounds::default() },
        )
    }

    pub(crate) fn worker_with(&self, handler: Option<Arc<dyn Handler>>, bounds: Bounds) -> Running {
        let registry = Registry::new();
        let parts = Parts {
            config: Arc::new(self.config.clone()),
            bots: fixed(&self.config),
            peers: None,
            bus: match &self.cuts {
                Some(cuts) => Arc::clone(cuts) as Arc<dyn Bus>,
                None => Arc::new(self.bus.clone()),
            },
            state: match &self.outage {
                Some(outage) => Arc::clone(outage) as Arc<dyn State>,
                None => Arc::clone(&self.state) as Arc<dyn State>,
            },
            pool: self.pool(&registry),
            presence: Arc::clone(&self.presence),
            handler,
            owner: random::id().into(),
            clock: Clock::system(),
        };
        let worker =
            Worker::new(parts, &registry).expect("the registry is new").with_bounds(bounds);
        let stop = CancellationToken::new();
        let done = tokio::spawn(worker.run(stop.clone()));
        Running { stop, done, registry }
    }

    pub(crate) fn echo(&self) -> Running {
        self.worker(Some(Arc::new(Echo)))
    }

    fn pool(&self, registry: &Registry) -> Pool {
        let platform = PlatformConfig {
            profile: ProfileName::Custom,
            token_url: Some(self.platform.url.clone()),
            api_url: Some(self.platform.url.clone()),
            ..PlatformConfig::default()
        };
        let limits = rest::Limits { total: self.call, ..rest::Limits::default() };
        let bots = [(AppId::from(APP), Secret::new("sixteen-letters-".into()))];
        let metrics = rest::Metrics::register(registry).expect("the registry is new");
        Pool::new(Endpoints::of(&platform), limits, bots, None, metrics).expect("a pool")
    }

    /// The process died and is there again, with what is on disk.
    pub(crate) async fn crash(&mut self, worker: Running) {
        worker.kill().await;
        self.bus.store().close().await;
        (self.bus, self.state) = open(&self.place).await;
    }

    /// Writes an event of the wire type `t` into the log; gives its id.
    pub(crate) async fn event(&mut self, t: &str, d: Value) -> String {
        self.frames += 1;
        let envelope = format!("{t}:{}", self.frames);
        let frame = json!({ "op": 0, "s": self.frames, "t": t, "id": envelope, "d": d });
        let (mut record, id) = record(&frame.to_string());
        record.headers.trace_parent = Some(TRACE.into());
        self.write(record.clone()).await;
        self.records.insert(id.clone(), record);
        id
    }

    /// Writes an event into the log a second time, as another source would.
    pub(crate) async fn repeat(&self, event: &str) {
        self.write(self.records[event].clone()).await;
    }

    /// Whether an event's done mark stands.
    pub(crate) async fn is_done(&self, event: &str) -> bool {
        let subject = self.records[event].subject.parse();
        let Ok(LogSubject::Event { lane, .. }) = subject else { panic!("an event was written") };
        self.state.done(lane, &APP.into(), &[event]).await.expect("the state is there")[0]
    }

    pub(crate) async fn write(&self, record: Record) {
        let mut log = self.bus.log(Partition::Chain(0)).await.expect("the bus is open");
        log.mark(vec![record]).await.expect("the log takes it");
    }

    /// Somebody writes `text`; gives the event's id.
    pub(crate) async fn says(&mut self, scene: Scene, place: &str, text: &str) -> String {
        let at = rfc3339(now());
        self.says_at(scene, place, text, &at).await
    }

    pub(crate) async fn says_at(
        &mut self,
        scene: Scene,
        place: &str,
        text: &str,
        at: &str,
    ) -> String {
        let (id, bot) = (format!("m-{}", self.frames + 1), false);
        let author = json!({ "id": "u1", "user_openid": place, "member_openid": "u1", "bot": bot });
        let mut d = json!({ "id": id, "content": text, "timestamp": at, "author": author });
        let t = match scene {
            Scene::Channel => {
                d["guild_id"] = "900".into();
                d["channel_id"] = place.into();
                "AT_MESSAGE_CREATE"
            }
            Scene::Dm => {
                d["guild_id"] = place.into();
                d["channel_id"] = "77".into();
                "DIRECT_MESSAGE_CREATE"
            }
            Scene::Group => {
                d["group_openid"] = place.into();
                "GROUP_AT_MESSAGE_CREATE"
            }
            Scene::C2c => "C2C_MESSAGE_CREATE",
            Scene::Guild | Scene::App => panic!("nobody writes there"),
        };
        self.event(t, d).await
    }

    /// Publishes a command as an outside consumer does.
    pub(crate) async fn command(&self, command: &Command) {
        let json = serde_json::to_vec(command).expect("commands are JSON");
        let subject = ScopeSubject::new(&command.app, &command.place());
        let subject = subject.command(command.action.name());
        self.bus.command(command.id.as_str(), &subject, json.into()).await.expect("it is stored");
    }

    pub(crate) async fn raw_command(&self, id: &str, scope: &Scope, json: &str) {
        let subject = ScopeSubject::new(&APP.into(), scope).command("send");
        let payload = Bytes::copy_from_slice(json.as_bytes());
        self.bus.command(id, &subject, payload).await.expect("it is stored");
    }

    /// The records of a command, once there is a final one.
    pub(crate) async fn results(&self, scope: &Scope, id: &str) -> Vec<News> {
        self.results_until(scope, id, Outcome::is_final).await
    }

    pub(crate) async fn results_until(
        &self,
        scope: &Scope,
        id: &str,
        wanted: impl Fn(&Outcome) -> bool,
    ) -> Vec<News> {
        let subject = ScopeSubject::new(&APP.into(), scope).result(id);
        let mut seen = 0;
        loop {
            let records = self.bus.await_result(&subject, seen, PATIENCE).await.expect("results");
            let news: Vec<_> = records
                .iter()
                .map(|record| serde_json::from_slice::<ResultRecord>(record).expect("ours").news)
                .collect();
            if news.iter().any(|news| matches!(news, News::Outcome(end) if wanted(end))) {
                return news;
            }
            assert!(records.len() > seen, "no outcome of {id} came, only {news:?}");
            seen = records.len();
        }
    }

    /// The outcome of a command, once it is final.
    pub(crate) async fn outcome(&self, scope: &Scope, id: &str) -> Outcome {
        match self.results(scope, id).await.pop() {
            Some(News::Outcome(outcome)) => outcome,
            other => panic!("{other:?} is no outcome"),
        }
    }

    /// Dead letters, once there are this many.
    pub(crate) async fn letters(&self, count: usize) -> Vec<StoredLetter> {
        let found = eventually(async || {
            let letters = self.bus.dead_letters(0, 1000).await.expect("the bus is open");
            (letters.len() >= count).then_some(letters)
        });
        found.await
    }
}

/// Waits for a condition that nothing announces.
pub(crate) async fn eventually<T>(mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, found).await.expect("the condition comes true in time")
}

async fn open(place: &TempDir) -> (EmbeddedBus, Arc<Embedded>) {
    let layout = Layout { partitions: 1, window: 256 };
    let path = place.path().join("store.redb");
    let store = Store::open(&path, layout, Clock::system()).expect("a file of our own");
    let bus = EmbeddedBus::open(store.clone(), BusLimits::default()).await.expect("a bus");
    (bus, Arc::new(Embedded::new(store).await.expect("a state")))
}

fn record(frame: &str) -> (Record, String) {
    let app = AppId::from(APP);
    let shard = Source::Shard(ShardId::new(0, 1).expect("0 is below 1"));
    let frame = Frame::parse(frame).expect("a frame");
    let arrival = Arrival { app: &app, bot: None, source: shard, session: None, received: now() };
    let event: Event<'_> = normalise(&frame, arrival).expect("an event");
    let mut payload = Vec::new();
    event.write(&mut payload);
    let source = SourceSubject::new(Partition::Chain(0), &app, shard);
    let id = event.id.as_str().to_owned();
    let headers = Headers {
        event: Some(EventHeaders { id: id.as_str().into(), app: app.clone(), kind: event.kind }),
        ..Headers::default()
    };
    let subject = source.event(&event.place(), event.kind);
    (Record { subject, headers, payload: payload.into() }, id)
}

pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    UnixMs(u64::try_from(since.as_millis()).expect("it is before the end of time"))
}

pub(crate) fn rfc3339(time: UnixMs) -> String {
    time.to_string()
}

pub(crate) fn group(id: &str) -> Scope {
    Scope::new(Scene::Group, id)
}

/// The id of a handler's reply.
pub(crate) fn reply_id(event: &str, handler: &str, number: usize) -> String {
    format!("{event}/{handler}/{number}")
}
