//! The thread that writes: collects, applies, commits, answers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::database::{Committed, Database, Written};
use super::{COMMIT_EVERY, COMMIT_OPERATIONS, Clock, Operation, StoreError, Sweep, Swept};

/// How often what is too old or too much is looked for while there is nothing known to remove.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

pub(super) enum Message {
    Operation(Box<dyn Operation>),
    Sweep(Box<dyn Sweep>),
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    database: Arc<Database>,
    clock: Clock,
    inbox: Receiver<Message>,
    sweeps: Vec<Box<dyn Sweep>>,
    next_sweep: Instant,
    next_commit: Instant,
    health: Health,
}

/// Whether the last commit worked, so that an outage is logged when it begins and when it ends.
enum Health {
    Good,
    Failing,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, clock: Clock, inbox: Receiver<Message>) -> Self {
        let now = Instant::now();
        Self {
            database,
            clock,
            inbox,
            sweeps: Vec::new(),
            next_sweep: now + SWEEP_EVERY,
            next_commit: now,
            health: Health::Good,
        }
    }

    /// Runs until the store is closed or its last handle is gone.
    pub(super) fn run(mut self) {
        let closed = loop {
            let mut batch = Vec::new();
            let flow = self.collect(&mut batch);
            self.commit(batch);
            if let ControlFlow::Break(closed) = flow {
                break closed;
            }
        };
        // Sweeps and whatever else arrived too late are dropped, which is an answer, too.
        let Self { database, inbox, .. } = self;
        drop(inbox);
        database.shut();
        if let Some(closed) = closed {
            let _ = closed.send(()); // whoever closed it need not wait
        }
    }

    /// Takes what comes until a commit is due.
    fn collect(
        &mut self,
        batch: &mut Vec<Box<dyn Operation>>,
    ) -> ControlFlow<Option<oneshot::Sender<()>>> {
        while batch.len() < COMMIT_OPERATIONS {
            let due = if batch.is_empty() { self.next_sweep } else { self.next_commit };
            let wait = due.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Operation(operation)) => batch.push(operation),
                Ok(Message::Sweep(sweep)) => self.sweeps.push(sweep),
                Ok(Message::Close(closed)) => return ControlFlow::Break(Some(closed)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(None),
            }
        }
        ControlFlow::Continue(())
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Operation>>) {
        let started = Instant::now();
        let sweeping = started >= self.next_sweep;
        if batch.is_empty() && !sweeping {
            return;
        }
        self.next_commit = started + COMMIT_EVERY;
        let mut more = false;
        let committed = self.database.write(|tx| {
            let mut written = Written::Nothing;
            for operation in &mut batch {
                operation.apply(tx)?;
                written = Written::Something;
            }
            if sweeping {
                for sweep in &mut self.sweeps {
                    match sweep.sweep(tx, self.clock.now())? {
                        Swept::Nothing => {}
                        Swept::Done => written = Written::Something,
                        Swept::More => (written, more) = (Written::Something, true),
                    }
                }
            }
            Ok(written)
        });
        if sweeping {
            self.next_sweep = started + if more { COMMIT_EVERY } else { SWEEP_EVERY };
        }
        let outcome = self.heard(committed);
        for operation in batch {
            operation.settle(outcome.clone());
        }
    }

    fn heard(&mut self, committed: Committed) -> Result<(), StoreError> {
        match (committed, &self.health) {
            (Committed::Nothing, _) | (Committed::Stored, Health::Good) => Ok(()),
            (Committed::Stored, Health::Failing) => {
                tracing::info!("the store commits again");
                self.health = Health::Good;
                Ok(())
            }
            (Committed::Failed(error), Health::Failing) => Err(error),
            (Committed::Failed(error), Health::Good) => {
                tracing::error!(error = error.with_causes(), "the store cannot commit");
                self.health = Health::Failing;
                Err(error)
            }
        }
    }
}
