//! What a shard needs of the platform besides its socket: token, address, leave to identify.
//!
//! Sockets live on the partitions' own threads, while calls and their connections belong to the
//! process's runtime. Every question is therefore asked there.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use qqrelay_proto::id::{AppId, UserId};
use qqrelay_proto::identify::{Asker, Permit, StartLimit};
use qqrelay_runtime::rest::{DiscoveryError, GatewayBot, Pool, RestError};
use qqrelay_runtime::state::{State, StateError};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tracing::warn;

use crate::trouble::InFull;

/// The address is asked for again when it is this old: it has been seen to move, but not by the
/// hour, and the platform takes two questions a minute.
const ADDRESS_AGE: Duration = Duration::from_secs(30 * 60);

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
    /// The newest answer of the platform that the identify budget has heard of.
    told: Mutex<Option<Arc<GatewayBot>>>,
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
    /// No leave to identify: the budget cannot be read.
    #[error("the identify budget cannot be read")]
    Budget(#[source] StateError),
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
    pub(crate) fn new(app: AppId, pool: Pool, state: Arc<dyn State>, main: Handle) -> Self {
        let (user, given, told) = (OnceLock::new(), Mutex::new(None), Mutex::new(None));
        Self { app, pool, state, main, user, given, told }
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
    ///
    /// Each new answer is told to the identify budget, once: an old `remaining` would give back
    /// what was spent since.
    pub(crate) async fn gateway(&self) -> Result<Arc<GatewayBot>, BotError> {
        let mut told = self.told.lock().await;
        let asked = Instant::now();
        let gateway = self.pool.gateway(&self.app, ADDRESS_AGE).await.map_err(BotError::Address)?;
        let is_new = told.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &gateway));
        if let Some(limit) = start_limit(&gateway).filter(|_| is_new) {
            let learnt = self.state.learn_identify(&self.app, limit, asked.elapsed()).await;
            learnt.map_err(BotError::Budget)?;
            *told = Some(gateway.clone());
        }
        Ok(gateway)
    }

    /// Waits for leave to start one IDENTIFY, and counts it.
    pub(crate) async fn identify_permit(self: &Arc<Self>) -> Result<(), BotError> {
        self.on_main(|bot| async move {
            loop {
                let limit = start_limit(&*bot.gateway().await?);
                let permit = bot.state.permit_identify(&bot.app, limit, Asker::Relay).await;
                match permit.map_err(BotError::Budget)? {
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

fn start_limit(gateway: &GatewayBot) -> Option<StartLimit> {
    gateway.limit.map(|limit| StartLimit {
        total: limit.total,
        remaining: limit.remaining,
        reset_after: limit.reset_after,
        max_concurrency: u32::from(limit.max_concurrency),
    })
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
