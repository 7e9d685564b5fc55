//! One bot's access token: a task drives the machine of `proto`, everybody else looks.
//!
//! There is one request at a time for each bot, whoever asks and however many. The request belongs
//! to the task, so that a caller who gives up does not end it for the others.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use qqrelay_proto::code::{self, Action};
use qqrelay_proto::id::AppId;
use qqrelay_proto::token::{AccessToken, Current, Input, Output, TokenFailure, TokenLife};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::endpoint::Fetcher;
use super::error::NoToken;
use super::metrics::Metrics;
use crate::random;
use crate::store::Clock;

/// Refusals on their way to the task; who finds no room waits.
const INBOX: usize = 16;

/// What everybody sees of a bot's token.
#[derive(Debug, Clone)]
struct View {
    /// The token and when it ends.
    held: Option<(Current, Instant)>,
    /// Whether a request is under way, so that waiting makes sense.
    asking: bool,
    /// When the next request is due.
    due: Instant,
    /// What became of the last one, if it failed.
    failure: Option<TokenFailure>,
}

/// A refusal, and whom to tell once the machine knows of it.
struct Refusal {
    generation: u64,
    action: Action,
    done: oneshot::Sender<()>,
}

/// One bot's access token. The first who asks starts the task; it then holds a token for as long
/// as the source lives.
#[derive(Debug)]
pub(super) struct TokenSource {
    view: watch::Sender<View>,
    inbox: OnceLock<mpsc::Sender<Refusal>>,
    waiting: Mutex<Option<Driver>>,
}

impl TokenSource {
    pub(super) fn new(fetcher: Fetcher, metrics: Metrics, clock: Clock) -> Self {
        // Asking, so that who looks before the task has run waits for it.
        let view = View { held: None, asking: true, due: Instant::now(), failure: None };
        let view = watch::Sender::new(view);
        let fetcher = Arc::new(fetcher);
        let view_of_task = view.clone();
        let driver =
            Driver { fetcher, view: view_of_task, metrics, clock, granted: None, failure: None };
        Self { view, inbox: OnceLock::new(), waiting: Mutex::new(Some(driver)) }
    }

    /// The token to use now. Waits for a request that is under way, and for no other.
    pub(super) async fn current(&self) -> Result<Current, NoToken> {
        self.started();
        let mut view = self.view.subscribe();
        loop {
            {
                let (seen, now) = (view.borrow_and_update(), Instant::now());
                if let Some((current, _)) = seen.held.as_ref().filter(|(_, ends)| now < *ends) {
                    return Ok(current.clone());
                }
                if !seen.asking {
                    let retry_after = seen.due.saturating_duration_since(now);
                    return Err(NoToken { retry_after, failure: seen.failure.clone() });
                }
            }
            view.changed().await.expect("the sender is this source's own");
        }
    }

    /// Says that the platform refused a token; when this returns, [`TokenSource::current`] does not
    /// give it any more unless its endpoint stands by it.
    pub(super) async fn refused(&self, generation: u64, action: Action) {
        let (done, heard) = oneshot::channel();
        let refusal = Refusal { generation, action, done };
        if self.started().send(refusal).await.is_ok() {
            let _ = heard.await; // the task ends only with its runtime
        }
    }

    /// A token other than the refused one, for one repetition; `None` where there is none.
    pub(super) async fn renewed(&self, generation: u64, action: Action) -> Option<Current> {
        self.refused(generation, action).await;
        self.current().await.ok().filter(|current| current.generation != generation)
    }

    fn started(&self) -> &mpsc::Sender<Refusal> {
        self.inbox.get_or_init(|| {
            let (inbox, refusals) = mpsc::channel(INBOX);
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let driver = waiting.take().expect("only the first who asks starts the task");
            tokio::spawn(driver.run(refusals));
            inbox
        })
    }
}

/// The task's side.
#[derive(Debug)]
struct Driver {
    fetcher: Arc<Fetcher>,
    view: watch::Sender<View>,
    metrics: Metrics,
    clock: Clock,
    /// The newest token, even if it was refused.
    granted: Option<AccessToken>,
    failure: Option<TokenFailure>,
}

impl Driver {
    /// Runs until the source is dropped.
    async fn run(mut self, mut refusals: mpsc::Receiver<Refusal>) {
        let mut life = TokenLife::new(Instant::now().into_std(), random::share());
        let mut flight = None;
        let mut input = Input::Tick;
        let mut heard: Option<oneshot::Sender<()>> = None;
        loop {
            self.note(&input);
            life.handle(Instant::now().into_std(), input);
            while let Some(output) = life.poll() {
                match output {
                    Output::Fetch => {
                        let fetcher = self.fetcher.clone();
                        let held = self.granted.clone();
                        flight = Some(Box::pin(async move { fetcher.fetch(held).await }));
                    }
                    Output::Park { code } => self.page(code),
                }
            }
            self.show(&life, flight.is_some());
            if let Some(done) = heard.take() {
                let _: Result<(), ()> = done.send(()); // the caller may have given up
            }
            let due = life.deadline().map_or_else(Instant::now, Instant::from_std);
            input = tokio::select! {
                landed = async { flight.as_mut().expect("checked below").await }, if flight.is_some() => {
                    flight = None;
                    match landed {
                        Ok(grant) => Input::Granted(grant),
                        Err(failure) => Input::Failed(failure),
                    }
                }
                refusal = refusals.recv() => {
                    let Some(Refusal { generation, action, done }) = refusal else { return };
                    heard = Some(done);
                    Input::Refused { generation, action }
                }
                () = sleep_until(due), if life.deadline().is_some() => Input::Tick,
            };
        }
    }

    fn note(&mut self, input: &Input) {
        match input {
            Input::Granted(grant) => {
                self.failure = None;
                self.granted = Some(grant.token.clone());
            }
            Input::Failed(failure) => {
                warn!(app = %self.app(), error = %failure, "token request failed");
                self.failure = Some(failure.clone());
            }
            Input::Tick | Input::Refused { .. } | Input::SecretChanged => {}
        }
    }

    fn page(&self, code: u32) {
        let meaning = code::token_meaning(code).unwrap_or("unknown");
        error!(app = %self.app(), code, meaning, "bot is parked until its credentials are mended");
    }

    fn show(&self, life: &TokenLife, asking: bool) {
        let now = Instant::now();
        let ends = life.expires().map(Instant::from_std);
        let held = life.current(now.into_std()).zip(ends);
        if let Some(ends) = ends {
            let left = ends.saturating_duration_since(now);
            self.metrics.token_holds_until(self.app(), self.clock.now().plus(left));
        }
        let due = life.deadline().map_or(now, Instant::from_std);
        self.view.send_replace(View { held, asking, due, failure: self.failure.clone() });
    }

    fn app(&self) -> &AppId {
        self.fetcher.app()
    }
}
