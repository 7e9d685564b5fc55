//! Builds the worker's parts, runs them, and takes them down in an order that loses nothing.
//!
//! Stopping: the lanes take nothing more in and start nothing, what is in hand ends or is given
//! back, acknowledgements go out, the leases are given away. What was given back comes again to the
//! next holder, and its replies are the same replies.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus::Registry;
use qqrelay_proto::backoff::Doubling;
use qqrelay_proto::command::TEXT_CHARS_MAX;
use qqrelay_proto::id::OwnerId;
use qqrelay_proto::reply::RetryPolicy;
use qqrelay_proto::subject::Lane;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config::{self, Bots, Config, HandlerName};
use qqrelay_runtime::rest::Pool;
use qqrelay_runtime::state::State;
use qqrelay_runtime::store::Clock;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::dead_letter::DeadLetters;
use crate::egress::{self, Egress};
use crate::handler::{Echo, Handler, Http, HttpSetup, HttpSetupError, Nats, NatsSetup};
use crate::lane::Lanes;
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::scopes::Bounds;
use crate::share::Share;
use crate::work::{Settings, Solitude, Workshop};

/// How often it is looked for messages whose reviewers have not spoken in time.
const AUDIT_ROUND: Duration = Duration::from_secs(60);

/// How long a lane that died stays down.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// What the lanes get beyond their grace to give their leases away.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a worker is built of.
pub struct Parts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// Its bots, as they are configured now.
    pub bots: watch::Receiver<Bots>,
    /// Where work comes from and outcomes go.
    pub bus: Arc<dyn Bus>,
    /// Where other workers are met, if any are to share the lanes.
    pub peers: Option<NatsBus>,
    /// What the cluster agrees on.
    pub state: Arc<dyn State>,
    /// Calls of the platform.
    pub pool: Pool,
    /// Who knows which bots are connected.
    pub presence: Arc<dyn Presence>,
    /// What handles events; [`handler`] makes the configured one. Without one, only commands run.
    pub handler: Option<Arc<dyn Handler>>,
    /// This process, unique for each start.
    pub owner: OwnerId,
    /// The wall clock.
    pub clock: Clock,
}

/// The worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two series share a name: a process has one worker.
    #[error("the worker's metrics are registered already")]
    Metrics(#[from] prometheus::Error),
}

/// The configured handler could not be built.
#[derive(Debug, thiserror::Error)]
pub enum HandlerSetupError {
    /// `http` without an address, which the configuration's check excludes.
    #[error("worker.http.url is missing")]
    NoUrl,
    /// The address is none.
    #[error("worker.http.url is no address: {0}")]
    BadUrl(String),
    /// `nats` without a subject, which the configuration's check excludes.
    #[error("worker.nats.subject is missing")]
    NoSubject,
    /// `nats` in a process without NATS, which the configuration's check excludes.
    #[error("worker.handler is nats, and there is no section nats")]
    NoNats,
    /// The handler itself refuses.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
}

/// How stopping went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything in hand was finished.
    Clean,
    /// So many pieces of work were given back undone; they come again.
    GivenBack(usize),
}

/// The handler that is configured, if any. `nats` is the bus, where that is on NATS.
///
/// # Errors
///
/// Its configuration cannot be used.
pub fn handler(
    config: &config::Worker,
    clock: Clock,
    nats: Option<&NatsBus>,
) -> Result<Option<Arc<dyn Handler>>, HandlerSetupError> {
    match config.handler {
        HandlerName::None => Ok(None),
        HandlerName::Echo => Ok(Some(Arc::new(Echo))),
        HandlerName::Http => {
            let text = config.http.url.as_deref().ok_or(HandlerSetupError::NoUrl)?;
            let url =
                text.parse().map_err(|error| HandlerSetupError::BadUrl(format!("{error}")))?;
            let answer_bytes = usize::try_from(config.http.response_limit).unwrap_or(usize::MAX);
            let secret = config.http.secret.clone();
            let setup = HttpSetup { url, secret, timeout: config.http.timeout, answer_bytes };
            Ok(Some(Arc::new(Http::new(setup, clock)?)))
        }
        HandlerName::Nats => {
            let bus = nats.ok_or(HandlerSetupError::NoNats)?.clone();
            let config::NatsHandler { subject, timeout, response_limit } = config.nats.clone();
            let subject = subject.ok_or(HandlerSetupError::NoSubject)?;
            let answer_bytes = usize::try_from(response_limit).unwrap_or(usize::MAX);
            Ok(Some(Arc::new(Nats::new(NatsSetup { subject, timeout, answer_bytes }, bus))))
        }
    }
}

/// A process's worker.
pub struct Worker {
    lanes: Lanes,
    peers: Option<NatsBus>,
    shop: Arc<Workshop>,
    grace: Duration,
}

impl Worker {
    /// Builds the worker and registers its series.
    ///
    /// # Errors
    ///
    /// The registry has a worker's series already.
    pub fn new(parts: Parts, registry: &Registry) -> Result<Self, StartError> {
        let Parts { config, bots, bus, peers, state, pool, presence, handler, owner, clock } =
            parts;
        let share = if peers.is_some() { Share::among_others() } else { Share::alone() };
        let share = Arc::new(share);
        let name = handler.as_ref().map(|handler| handler.name());
        let metrics = Metrics::register(registry, name)?;
        let egress = egress::Parts {
            bus: Arc::clone(&bus),
            state: Arc::clone(&state),
            pool,
            presence,
            owner: owner.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            share: Arc::clone(&share),
        };
        let shop = Arc::new(Workshop {
            state: Arc::clone(&state),
            egress: Egress::new(egress, egress_setup(&config.egress)),
            handler,
            handlers: Semaphore::new(config.worker.parallel as usize),
            solitude: Solitude::default(),
            dead_letters: DeadLetters::new(Arc::clone(&bus), metrics.clone()),
            metrics: metrics.clone(),
            settings: Settings {
                failures_max: config.worker.failures.into(),
                memory: config.log.max_age,
                text_chars_max: TEXT_CHARS_MAX,
            },
            bots,
            clock,
        });
        let grace = config.worker.drain_grace;
        let lanes = Lanes {
            bus,
            state,
            shop: Arc::clone(&shop),
            metrics,
            owner,
            bounds: Bounds { scope_pieces: config.worker.scope_queue.into(), ..Bounds::default() },
            times: config.lease.times(),
            grace,
            share,
        };
        Ok(Self { lanes, peers, shop, grace })
    }

    /// The same worker with other bounds than configured, for a machine with less memory.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.lanes.bounds = bounds;
        self
    }

    /// Works until `stop`, then drains within the configured grace.
    pub async fn run(self, stop: CancellationToken) -> Drained {
        let Self { lanes, peers, shop, grace } = self;
        let (lanes, mut running, mut agreeing) = (Arc::new(lanes), JoinSet::new(), JoinSet::new());
        if let Some(bus) = peers {
            let (lanes, stop) = (Arc::clone(&lanes), stop.clone());
            agreeing.spawn(async move {
                let (owner, metrics) = (lanes.owner.clone(), lanes.metrics.clone());
                lanes.share.agree(bus, owner, metrics, stop).await;
            });
        }
        for lane in Lane::all() {
            running.spawn(keep(Arc::clone(&lanes), lane, stop.clone()));
        }
        let audits = tokio::spawn(async move {
            let mut round = interval(AUDIT_ROUND);
            loop {
                round.tick().await;
                shop.egress.end_overdue_audits().await;
            }
        });
        stop.cancelled().await;
        let mut left = 0;
        let all = async {
            while let Some(given_back) = running.join_next().await {
                left += given_back.expect("a lane's panics are caught where it runs");
            }
        };
        if timeout(grace + FAREWELL, all).await.is_err() {
            tracing::warn!(lanes = running.len(), "lanes were left before they had drained");
        }
        audits.abort();
        if left == 0 { Drained::Clean } else { Drained::GivenBack(left) }
    }
}

/// Holds a lane until `stop`. A panic in one is a fault of ours and must not end its neighbours.
async fn keep(lanes: Arc<Lanes>, lane: Lane, stop: CancellationToken) -> usize {
    loop {
        match AssertUnwindSafe(lanes.hold(lane, &stop)).catch_unwind().await {
            Ok(given_back) => return given_back,
            Err(_) => tracing::error!(%lane, "lane died of a panic and is taken again"),
        }
        stop.run_until_cancelled(sleep(AFTER_PANIC)).await;
    }
}

fn egress_setup(config: &config::Egress) -> egress::Setup {
    egress::Setup {
        limits: config.limits.clone(),
        retry: RetryPolicy {
            attempts: config.retry.attempts,
            wait: Doubling::full(config.retry.base, config.retry.cap),
        },
        budget_percent: config.retry.budget_percent,
        hold: config.hold,
    }
}
