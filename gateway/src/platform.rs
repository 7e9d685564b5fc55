//! What a shard needs of the platform besides its socket: token, address, leave to identify.
//!
//! Sockets live on the partitions' own threads, while calls and their connections belong to the
//! process's runtime. Every question is therefore asked there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qqrelay_proto::id::{AppId, UserId};
use qqrelay_proto::identify::{Asker, OwnBudget, Permit, Share};
use qqrelay_proto::subject::Source;
use qqrelay_runtime::rest::{DiscoveryError, Found, Pool, RestError};
use qqrelay_runtime::state::{GatewayAnswer, Sighting, State, UNTOLD};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::partition::Sighted;
use crate::shard::now;
use crate::trouble::InFull;

/// The address is asked for again when it is this old: it has been seen to move, but not by the
/// hour, and the platform takes two questions a minute.
const ADDRESS_AGE: Duration = Duration::from_secs(30 * 60);

/// An answer that the budget has not heard of, or that stands in for it, is no older than this.
const FRESH: Duration = Duration::from_secs(60);

/// How long an event may wait until it is known whether another source has stored it, and how often
/// it is asked about.
const SEE_WITHIN: Duration = Duration::from_secs(5);
const SEE_AGAIN: Duration = Duration::from_millis(20);

/// The longest wait before leave to identify is asked for again.
const PERMIT_AGAIN: Duration = Duration::from_secs(60);

/// One bot account, shared by its shards.
pub(crate) struct Bot {
    app: AppId,
    pool: Pool,
    state: Arc<dyn State>,
    main: Handle,
    user: OnceLock<UserId>,
    /// The generation of the token that was given out last.
    given: Mutex<Option<u64>>,
    /// What the identify budget has heard.
    told: Mutex<Told>,
    /// What is started while that budget cannot be read.
    own: Mutex<OwnBudget>,
    share: watch::Receiver<Share>,
    /// Whether two sets of its shards may show the same event.
    overlaps: AtomicBool,
    /// The platform wants another number of shards.
    replan: Notify,
}

/// What the identify budget has heard of the platform's answers.
#[derive(Debug, Default)]
struct Told {
    /// When the newest was asked for.
    asked: Option<Instant>,
    /// The state was away when the last one came, and counts by an older one.
    owed: bool,
}

/// The platform did not give what a shard needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BotError {
    /// No access token.
    #[error("no access token")]
    Token(#[source] RestError),
    /// No address.
    #[error("no gateway address")]
    Address(#[source] DiscoveryError),
    /// The process is going down.
    #[error("the process is going down")]
    Stopping,
}

impl BotError {
    /// With all its causes, on one line.
    pub(crate) fn in_full(&self) -> String {
        InFull(self).to_string()
    }
}

impl Bot {
    /// A bot whose questions are asked on `main`, in a gateway with this share of them all.
    pub(crate) fn new(
        app: AppId,
        pool: Pool,
        state: Arc<dyn State>,
        main: Handle,
        share: watch::Receiver<Share>,
    ) -> Self {
        Self {
            app,
            pool,
            state,
            main,
            user: OnceLock::new(),
            given: Mutex::default(),
            told: Mutex::default(),
            own: Mutex::default(),
            share,
            overlaps: AtomicBool::new(false),
            replan: Notify::new(),
        }
    }

    /// Whose it is.
    pub(crate) const fn app(&self) -> &AppId {
        &self.app
    }

    /// Says that the platform wants another number of shards.
    pub(crate) fn replan(&self) {
        self.replan.notify_one();
    }

    /// Waits until the platform wants another number of shards.
    pub(crate) async fn wants_replan(&self) {
        self.replan.notified().await;
    }

    /// Whether two sets of its shards may show the same event.
    pub(crate) fn overlaps(&self) -> bool {
        self.overlaps.load(Ordering::Relaxed)
    }

    /// From here on they may, or may not.
    pub(crate) fn set_overlaps(&self, overlaps: bool) {
        if self.overlaps.swap(overlaps, Ordering::Relaxed) != overlaps {
            debug!(app = %self.app, overlaps, "sets of shards side by side");
        }
    }

    /// Asks whether another source has shown this event, and waits a little for one that is about to
    /// store it.
    pub(crate) async fn see(self: &Arc<Self>, id: &str, source: Source) -> Sighted {
        let id = id.to_owned();
        let asked = self.on_main(async move |bot| {
            loop {
                match bot.state.see(&bot.app, &id, source).await {
                    Ok(Sighting::First) => return Ok(Sighted::Ours),
                    Ok(Sighting::Again(place)) => return Ok(Sighted::Elsewhere(place)),
                    Ok(Sighting::Pending) => sleep(SEE_AGAIN).await,
                    Err(_) => return Ok(Sighted::Unknown),
                }
            }
        });
        timeout(SEE_WITHIN, asked).await.ok().and_then(Result::ok).unwrap_or(Sighted::Unknown)
    }

    /// A session has ended: nobody is to be told where it would be resumed.
    pub(crate) async fn forget_resume(self: &Arc<Self>, source: Source) {
        let forgotten = self.on_main(async move |bot| {
            if let Err(error) = bot.state.forget_resume(&bot.app, source).await {
                debug!(%error, "the copy of an ended session's resume point is left to end by itself");
            }
            Ok(())
        });
        let _ = forgotten.await; // the process is going down
    }

    /// The bot's own user id, once a READY has told it.
    pub(crate) fn user(&self) -> Option<&UserId> {
        self.user.get()
    }

    /// Whether READY names the bot that every READY before it named.
    pub(crate) fn is(&self, user: Option<&UserId>) -> bool {
        user.is_none_or(|user| self.user.get_or_init(|| user.clone()) == user)
    }

    /// The access token; a new one where the last was refused.
    pub(crate) async fn token(self: &Arc<Self>, renew: bool) -> Result<Arc<str>, BotError> {
        self.on_main(|bot| async move {
            let mut given = bot.given.lock().await;
            if let Some(generation) = given.filter(|_| renew) {
                bot.pool.token_refused(&bot.app, generation).await;
            }
            let current = bot.pool.token(&bot.app).await.map_err(BotError::Token)?;
            *given = Some(current.generation);
            Ok(Arc::from(current.token.expose()))
        })
        .await
    }

    /// Where to connect.
    pub(crate) async fn gateway_url(self: &Arc<Self>) -> Result<String, BotError> {
        self.on_main(|bot| async move { Ok(bot.gateway().await?.url.clone()) }).await
    }

    /// What the platform says of this bot's sockets.
    pub(crate) async fn gateway(&self) -> Result<Arc<GatewayAnswer>, BotError> {
        self.gateway_within(ADDRESS_AGE).await
    }

    /// What it has said since then.
    pub(crate) async fn gateway_since(
        &self,
        since: Instant,
    ) -> Result<Arc<GatewayAnswer>, BotError> {
        self.gateway_within(since.elapsed()).await
    }

    /// The same, not older than this.
    ///
    /// Each new answer is told to the identify budget, once: an old `remaining` would give back
    /// what was spent since. A state that is away holds nobody up; it is told of the next one.
    async fn gateway_within(&self, max_age: Duration) -> Result<Arc<GatewayAnswer>, BotError> {
        let mut told = self.told.lock().await;
        let max_age = if told.owed { max_age.min(FRESH) } else { max_age };
        let found = self.pool.gateway(&self.app, max_age).await.map_err(BotError::Address)?;
        let Found { answer, asked } = found;
        if let (Some(limit), Some(at)) = (answer.limit, asked)
            && told.asked != asked
        {
            let learnt = self.state.learn_identify(&self.app, limit, at.elapsed()).await;
            *told = Told { asked, owed: learnt.is_err() };
        }
        Ok(answer)
    }

    /// Waits for leave to start one IDENTIFY, and counts it.
    pub(crate) async fn identify_permit(self: &Arc<Self>) -> Result<(), BotError> {
        self.on_main(|bot| async move {
            loop {
                match bot.ask_to_identify().await? {
                    Permit::Now => return Ok(()),
                    Permit::After(wait) => sleep(wait.min(PERMIT_AGAIN)).await,
                    Permit::RefusedUntil(until) => {
                        warn!(app = %bot.app, %until, "no IDENTIFY left but those kept for people");
                        sleep(PERMIT_AGAIN).await;
                    }
                }
            }
        })
        .await
    }

    /// Asks the budget of all gateways, or this one's part of what the platform says while that
    /// cannot be read.
    async fn ask_to_identify(&self) -> Result<Permit, BotError> {
        if let Some(wait) = self.own.lock().await.settling(now()) {
            return Ok(Permit::After(wait));
        }
        let limit = self.gateway().await?.limit;
        match self.state.permit_identify(&self.app, limit, Asker::Relay).await {
            Ok(permit) => {
                self.own.lock().await.together();
                Ok(permit)
            }
            Err(error) => {
                let share = *self.share.borrow();
                let why = InFull(&error).to_string();
                warn!(app = %self.app, error = why, ?share, "the identify budget cannot be read");
                let limit = self.gateway_within(FRESH).await?.limit.unwrap_or(UNTOLD);
                Ok(self.own.lock().await.ask(limit, share, now()))
            }
        }
    }

    async fn on_main<T, F>(
        self: &Arc<Self>,
        ask: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, BotError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BotError>> + Send + 'static,
    {
        let task = AbortOnDrop(self.main.spawn(ask(Arc::clone(self))));
        task.await.unwrap_or(Err(BotError::Stopping))
    }
}

/// A task that ends with whoever waits for it: a shard that gives up leaves no question behind.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
