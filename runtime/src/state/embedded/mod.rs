//! The shared state of one process alone, in the file that its bus uses too.
//!
//! Leases, the limiter and who fetches a token are in memory: nobody else is there to share them,
//! and a restart is one more reason to ask the platform. All else is a row in the file, on disk
//! before the answer.

mod leases;
mod limiter;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::command::CommandId;
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::identify::{Asker, IdentifyBudget, Permit, StartLimit};
use qqrelay_proto::ledger::{Claim, LEDGER_LIFE, Ledger, Right};
use qqrelay_proto::record::Place;
use qqrelay_proto::subject::{Lane, Source};
use qqrelay_proto::time::UnixMs;

use self::leases::Leases;
use self::limiter::Limiter;
use self::rows::{Ended, RowError, Rows, View};
use super::{
    Admission, Flight, GatewayAnswer, Lease, LeaseKey, Renewal, ReplyKey, ResumeCopy, SealedToken,
    Sighting, State, StateError, Taking, UNTOLD, Want, key,
};
use crate::state::values::{GatewayRow, ResumeRow, Seen, Tries};
use crate::store::{Store, StoreError};

/// The state of a process that is alone.
pub struct Embedded {
    store: Store,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    leases: Leases,
    limiter: Limiter,
    /// Who fetches a bot's token, and until when at most.
    flights: HashMap<AppId, (OwnerId, UnixMs)>,
}

impl Embedded {
    /// The state in an open file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub async fn new(store: Store) -> Result<Self, StateError> {
        let now = store.now();
        let make = move |tx: &redb::WriteTransaction| Ok(Rows::open(tx, now).map(drop)?);
        store.submit(make).await?;
        store.add_sweep(Box::new(Ended))?;
        Ok(Self { store, memory: Mutex::default() })
    }

    /// One decision over rows, on disk when this answers.
    async fn change<T, F>(&self, decide: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Rows<'_>) -> Result<T, RowError> + Send + 'static,
    {
        let now = self.store.now();
        let change = move |tx: &redb::WriteTransaction| {
            let mut rows = Rows::open(tx, now)?;
            foreign(decide(&mut rows))
        };
        self.store.submit(change).await?
    }

    async fn look<T, F>(&self, look: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<T, RowError> + Send + 'static,
    {
        let now = self.store.now();
        self.store.read(move |tx| foreign(look(&View::open(tx, now)?))).await?
    }

    async fn find<T>(&self, key: String) -> Result<Option<T>, StateError>
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        self.look(move |view| view.get(&key)).await
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // What is held is whole after every statement, so a panic elsewhere spoils nothing.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that is not ours is an answer about one key; a file that failed ends the commit.
fn foreign<T>(outcome: Result<T, RowError>) -> Result<Result<T, StateError>, redb::Error> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(RowError::Foreign(key)) => Ok(Err(StateError::Foreign { key })),
        Err(RowError::File(error)) => Err(error),
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("store", &self.store).finish_non_exhaustive()
    }
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotStored(_) => Self::Refused(Box::new(error)),
            StoreError::Unknown(_) | StoreError::Unreadable(_) | StoreError::Closed => {
                Self::Unavailable(Box::new(error))
            }
        }
    }
}

#[async_trait]
impl State for Embedded {
    async fn lease(&self, key: LeaseKey) -> Result<Option<Lease>, StateError> {
        Ok(self.memory().leases.find(key, self.store.now()))
    }

    async fn take_lease(
        &self,
        key: LeaseKey,
        owner: &OwnerId,
        seen: Option<&Lease>,
    ) -> Result<Taking, StateError> {
        Ok(self.memory().leases.take(key, owner, seen, self.store.now()))
    }

    async fn renew_lease(&self, key: LeaseKey, held: &Lease) -> Result<Renewal, StateError> {
        Ok(self.memory().leases.renew(key, held, self.store.now()))
    }

    async fn release_lease(&self, key: LeaseKey, held: &Lease) -> Result<(), StateError> {
        self.memory().leases.release(key, held, self.store.now());
        Ok(())
    }

    async fn admit(&self, app: &AppId, wants: &[Want<'_>]) -> Result<Admission, StateError> {
        Ok(self.memory().limiter.admit(app, wants, self.store.now()))
    }

    async fn cool_down(&self, app: &AppId, bucket: &str, wait: Duration) -> Result<(), StateError> {
        self.memory().limiter.cool_down(app, bucket, wait, self.store.now());
        Ok(())
    }

    async fn claim_reply(
        &self,
        key: ReplyKey<'_>,
        command: &CommandId,
        right: Right,
    ) -> Result<Claim, StateError> {
        let command = command.clone();
        self.change_ledger(key, move |ledger, now| ledger.claim(&command, right, now)).await
    }

    async fn release_reply(
        &self,
        key: ReplyKey<'_>,
        command: &CommandId,
    ) -> Result<(), StateError> {
        let command = command.clone();
        self.change_ledger(key, move |ledger, _| ledger.release(&command)).await
    }

    async fn number_taken(&self, key: ReplyKey<'_>, command: &CommandId) -> Result<(), StateError> {
        let command = command.clone();
        self.change_ledger(key, move |ledger, _| ledger.number_taken(&command)).await
    }

    async fn exhaust_replies(&self, key: ReplyKey<'_>) -> Result<(), StateError> {
        self.change_ledger(key, |ledger, _| ledger.exhaust()).await
    }

    async fn done(&self, lane: Lane, app: &AppId, ids: &[&str]) -> Result<Vec<bool>, StateError> {
        let keys: Vec<_> = ids.iter().map(|id| key::done(app, lane, id)).collect();
        let found = |view: &View, key: &String| Ok(view.get::<()>(key)?.is_some());
        self.look(move |view| keys.iter().map(|key| found(view, key)).collect()).await
    }

    async fn mark_done(
        &self,
        lane: Lane,
        app: &AppId,
        ids: &[&str],
        ttl: Duration,
    ) -> Result<(), StateError> {
        let keys = |id: &&str| (key::done(app, lane, id), key::tries(app, id));
        let keys: Vec<_> = ids.iter().map(keys).collect();
        let decide = move |rows: &mut Rows<'_>| {
            for (done, tries) in &keys {
                rows.put(done, &(), ttl)?;
                rows.remove(tries)?;
            }
            Ok(())
        };
        self.change(decide).await
    }

    async fn count_start(&self, app: &AppId, id: &str, ttl: Duration) -> Result<u32, StateError> {
        let key = key::tries(app, id);
        self.count(key, ttl, |tries| &mut tries.starts).await
    }

    async fn count_failure(&self, app: &AppId, id: &str, ttl: Duration) -> Result<u32, StateError> {
        let key = key::tries(app, id);
        self.count(key, ttl, |tries| &mut tries.failures).await
    }

    async fn see(&self, app: &AppId, id: &str, source: Source) -> Result<Sighting, StateError> {
        let (key, source) = (key::seen(app, id), source.to_string());
        let decide = move |rows: &mut Rows<'_>| {
            match rows.get(&key)? {
                Some(Seen::At(place)) => return Ok(Sighting::Again(place)),
                Some(Seen::By(other)) if other != source => return Ok(Sighting::Pending),
                Some(Seen::By(_)) | None => {}
            }
            rows.put(&key, &Seen::By(source), key::SIGHTING_HOLD)?;
            Ok(Sighting::First)
        };
        self.change(decide).await
    }

    async fn stored(&self, app: &AppId, id: &str, place: &Place) -> Result<(), StateError> {
        let (key, place) = (key::seen(app, id), place.clone());
        let decide = move |rows: &mut Rows<'_>| match rows.get(&key)? {
            Some(Seen::At(_)) => Ok(()),
            Some(Seen::By(_)) | None => rows.put(&key, &Seen::At(place), key::SEEN_TTL),
        };
        self.change(decide).await
    }

    async fn token(&self, app: &AppId) -> Result<Option<SealedToken>, StateError> {
        self.find(key::token(app)).await
    }

    async fn put_token(&self, app: &AppId, token: &SealedToken) -> Result<(), StateError> {
        let (key, token) = (key::token(app), token.clone());
        let decide = move |rows: &mut Rows<'_>| match token.expires_at.since(rows.now()) {
            Duration::ZERO => Ok(()),
            life => rows.put(&key, &token, life),
        };
        self.change(decide).await?;
        self.memory().flights.remove(app);
        Ok(())
    }

    async fn token_flight(
        &self,
        app: &AppId,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Flight, StateError> {
        let now = self.store.now();
        let mut memory = self.memory();
        let held = memory.flights.get(app);
        if held.is_some_and(|(holder, until)| holder != owner && now < *until) {
            return Ok(Flight::Anothers);
        }
        memory.flights.insert(app.clone(), (owner.clone(), now.plus(ttl)));
        Ok(Flight::Ours)
    }

    async fn permit_identify(
        &self,
        app: &AppId,
        told: Option<StartLimit>,
        asker: Asker,
    ) -> Result<Permit, StateError> {
        let key = key::identify(app);
        let decide = move |rows: &mut Rows<'_>| {
            let now = rows.now();
            let known: Option<IdentifyBudget> = rows.get(&key)?;
            let mut budget =
                known.unwrap_or_else(|| IdentifyBudget::new(told.unwrap_or(UNTOLD), now));
            let permit = budget.ask(asker, now);
            rows.put(&key, &budget, key::IDENTIFY_TTL)?;
            Ok(permit)
        };
        self.change(decide).await
    }

    async fn learn_identify(
        &self,
        app: &AppId,
        limit: StartLimit,
        took: Duration,
    ) -> Result<(), StateError> {
        let key = key::identify(app);
        let decide = move |rows: &mut Rows<'_>| {
            let now = rows.now();
            let known: Option<IdentifyBudget> = rows.get(&key)?;
            let mut budget = known.unwrap_or_else(|| IdentifyBudget::new(limit, now));
            budget.learn(limit, now.minus(took), now);
            rows.put(&key, &budget, key::IDENTIFY_TTL)
        };
        self.change(decide).await
    }

    async fn gateway(&self, app: &AppId) -> Result<Option<(GatewayAnswer, Duration)>, StateError> {
        let row: Option<GatewayRow> = self.find(key::gateway(app)).await?;
        let now = self.store.now();
        Ok(row.map(|row| row.read(now)))
    }

    async fn put_gateway(
        &self,
        app: &AppId,
        answer: &GatewayAnswer,
        ttl: Duration,
    ) -> Result<(), StateError> {
        let (key, row) = (key::gateway(app), GatewayRow::new(answer, self.store.now()));
        self.change(move |rows| rows.put(&key, &row, ttl)).await
    }

    async fn put_resume(
        &self,
        app: &AppId,
        source: Source,
        copy: &ResumeCopy,
    ) -> Result<(), StateError> {
        let key = key::resume(app, source);
        let row = ResumeRow::new(app, source, copy);
        self.change(move |rows| rows.put(&key, &row, key::RESUME_TTL)).await
    }

    async fn resumes(
        &self,
        app: Option<&AppId>,
    ) -> Result<Vec<(AppId, Source, ResumeCopy)>, StateError> {
        let prefix = key::resumes(app);
        let rows: Vec<ResumeRow> = self.look(move |view| view.all(&prefix)).await?;
        Ok(rows.into_iter().filter_map(ResumeRow::read).collect())
    }

    async fn forget_resume(&self, app: &AppId, source: Source) -> Result<(), StateError> {
        let key = key::resume(app, source);
        self.change(move |rows| rows.remove(&key)).await
    }
}

impl Embedded {
    async fn change_ledger<T, F>(&self, key: ReplyKey<'_>, change: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Ledger, UnixMs) -> T + Send + 'static,
    {
        let key = key::ledger(key);
        let decide = move |rows: &mut Rows<'_>| {
            let mut ledger: Ledger = rows.get(&key)?.unwrap_or_default();
            let answer = change(&mut ledger, rows.now());
            rows.put(&key, &ledger, LEDGER_LIFE)?;
            Ok(answer)
        };
        self.change(decide).await
    }

    async fn count(
        &self,
        key: String,
        ttl: Duration,
        which: fn(&mut Tries) -> &mut u32,
    ) -> Result<u32, StateError> {
        let decide = move |rows: &mut Rows<'_>| {
            let mut tries: Tries = rows.get(&key)?.unwrap_or_default();
            let count = which(&mut tries);
            *count = count.saturating_add(1);
            let count = *count;
            rows.put(&key, &tries, ttl)?;
            Ok(count)
        };
        self.change(decide).await
    }
}
