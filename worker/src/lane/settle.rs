//! Done marks: written in batches, one at a time, before acknowledgements; looked up at arrival.
//!
//! While the state does not answer, nothing is lost and nothing waits: what cannot be marked is
//! acknowledged from the floor only, and what cannot be looked up counts as new.

use std::collections::HashMap;
use std::error::Error;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use qqrelay_proto::id::AppId;
use qqrelay_proto::subject::Lane;
use qqrelay_runtime::bus::Position;
use qqrelay_runtime::state::{State, StateError};
use tokio::time::{Instant, sleep_until, timeout};

use crate::scopes::Identity;

/// How long one call to the state may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// After a call that failed, how long until the next one.
const REST: Duration = Duration::from_secs(1);

/// Marks that are written at once.
const BATCH: usize = 512;

type Mark = (Position, Identity);

/// What became of a batch of marks.
pub(super) enum Settled {
    /// They stand.
    Marked(Vec<Mark>),
    /// Nobody knows whether they do.
    Unmarked(Vec<Mark>),
}

/// One lane's done marks.
pub(super) struct Settler {
    state: Arc<dyn State>,
    lane: Lane,
    /// How long a mark is kept.
    memory: Duration,
    waiting: Vec<Mark>,
    /// What could not be written, and is tried again.
    failed: Vec<Mark>,
    flight: Option<BoxFuture<'static, Settled>>,
    /// Nothing is asked of the state before this.
    rest_until: Instant,
}

impl Settler {
    pub(super) fn new(state: Arc<dyn State>, lane: Lane, memory: Duration) -> Self {
        let (waiting, failed) = (Vec::new(), Vec::new());
        Self { state, lane, memory, waiting, failed, flight: None, rest_until: Instant::now() }
    }

    /// Writes a mark with the next batch.
    pub(super) fn mark(&mut self, position: Position, identity: Identity) {
        self.waiting.push((position, identity));
    }

    /// Writes a mark that could not be written, after a rest.
    pub(super) fn mark_later(&mut self, position: Position, identity: Identity) {
        self.failed.push((position, identity));
    }

    /// The next batch's end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Settled {
        if self.flight.is_none() {
            if self.waiting.is_empty() {
                if self.failed.is_empty() {
                    return std::future::pending().await;
                }
                sleep_until(self.rest_until).await;
                self.waiting = mem::take(&mut self.failed);
            }
            let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
            let batch = mem::replace(&mut self.waiting, rest);
            let (state, lane, memory) = (Arc::clone(&self.state), self.lane, self.memory);
            self.flight = Some(Box::pin(async move {
                match timeout(ANSWER_WITHIN, write(&*state, lane, &batch, memory)).await {
                    Ok(Ok(())) => return Settled::Marked(batch),
                    Ok(Err(error)) => {
                        tracing::warn!(%lane, error = &error as &dyn Error, "done marks not written");
                    }
                    Err(_) => tracing::warn!(%lane, "done marks not written: the state is slow"),
                }
                Settled::Unmarked(batch)
            }));
        }
        let flight = self.flight.as_mut().expect("it was just begun, or is under way");
        let settled = flight.await;
        self.flight = None;
        if matches!(settled, Settled::Unmarked(_)) {
            self.rest_until = Instant::now() + REST;
        }
        settled
    }

    /// Whether each of these was finished before; of `None` and of what nobody can say, no.
    pub(super) async fn recall(&mut self, asked: &[Option<&Identity>]) -> Vec<bool> {
        let mut finished = vec![false; asked.len()];
        if Instant::now() < self.rest_until {
            return finished;
        }
        let mut by_app: HashMap<&AppId, Vec<usize>> = HashMap::new();
        for (at, identity) in asked.iter().enumerate() {
            if let Some(identity) = identity {
                by_app.entry(&identity.app).or_default().push(at);
            }
        }
        for (app, places) in by_app {
            let ids: Vec<_> = places.iter().filter_map(|&at| Some(&*asked[at]?.id)).collect();
            match timeout(ANSWER_WITHIN, self.state.done(self.lane, app, &ids)).await {
                Ok(Ok(answers)) => {
                    for (at, done) in places.into_iter().zip(answers) {
                        finished[at] = done;
                    }
                }
                Ok(Err(error)) => {
                    let error = &error as &dyn Error;
                    tracing::warn!(lane = %self.lane, error, "done marks not read");
                    self.rest_until = Instant::now() + REST;
                    break;
                }
                Err(_) => {
                    tracing::warn!(lane = %self.lane, "done marks not read: the state is slow");
                    self.rest_until = Instant::now() + REST;
                    break;
                }
            }
        }
        finished
    }
}

async fn write(
    state: &dyn State,
    lane: Lane,
    batch: &[Mark],
    memory: Duration,
) -> Result<(), StateError> {
    let mut by_app: HashMap<&AppId, Vec<&str>> = HashMap::new();
    for (_, identity) in batch {
        by_app.entry(&identity.app).or_default().push(&identity.id);
    }
    for (app, ids) in by_app {
        state.mark_done(lane, app, &ids, memory).await?;
    }
    Ok(())
}
