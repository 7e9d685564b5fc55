//! One delivered record: what it is, whom it is for, and doing it.
//!
//! The rule a newcomer would break: whatever happens, a piece of work ends in one of three ways:
//! finished, in the dead letters, or given back undone. None is dropped.

mod command;
mod event;
mod persist;
mod solitude;
mod trace;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::AppId;
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::{CommandSubject, LogSubject, ScopeSubject, Token};
use qqrelay_runtime::bus::{Delivery, Position};
use qqrelay_runtime::config::Bots;
use qqrelay_runtime::random;
use qqrelay_runtime::state::State;
use qqrelay_runtime::store::Clock;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::persist::persist;
pub use self::solitude::Solitude;
use crate::dead_letter::{DeadLetters, Reason};
use crate::duty::{Duty, Leave};
use crate::egress::Egress;
use crate::handler::Handler;
use crate::metrics::Metrics;
use crate::scopes::Identity;

/// Everything that work needs, shared by all lanes of a worker.
pub struct Workshop {
    /// Counts starts and failures of handlers.
    pub state: Arc<dyn State>,
    /// Where replies and commands leave.
    pub egress: Egress,
    /// What handles events; without one, events are only acknowledged.
    pub handler: Option<Arc<dyn Handler>>,
    /// How many handlers run at once.
    pub handlers: Semaphore,
    /// Lets suspects run alone.
    pub solitude: Solitude,
    /// Where goes what cannot be handled.
    pub dead_letters: DeadLetters,
    /// What is counted.
    pub metrics: Metrics,
    /// What is configured.
    pub settings: Settings,
    /// The bots, as they are configured now.
    pub bots: watch::Receiver<Bots>,
    /// The wall clock.
    pub clock: Clock,
}

/// How work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Failures of the handler after which an event goes to the dead letters.
    pub failures_max: u32,
    /// How long it is remembered what became of an event: as long as the log keeps it.
    pub memory: Duration,
    /// Longest text of one message, in characters.
    pub text_chars_max: usize,
}

impl Workshop {
    /// Whether a bot's replies are worth showing twice rather than perhaps never.
    fn shows_at_least_once(&self, app: &AppId) -> bool {
        self.bots.borrow().iter().any(|bot| bot.app_id == *app && bot.at_least_once)
    }

    /// Does a piece of work to its end: finished, or in the dead letters.
    ///
    /// # Errors
    ///
    /// It was left undone and has to be given back.
    pub async fn run(&self, assignment: &Assignment, duty: &Duty) -> Result<(), Leave> {
        let work = async {
            match assignment.task {
                Task::Event { .. } => {
                    let span = trace::event(assignment);
                    event::handle(self, assignment, duty).instrument(span).await
                }
                Task::Command { .. } => command::run(self, assignment, duty).await,
            }
        };
        let reason = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Err(Leave::Stuck)) => Reason::Stuck,
            Ok(done) => return done,
            Err(_) => Reason::Poison,
        };
        self.give_up(assignment, reason, &duty.of_piece(CancellationToken::new())).await
    }

    /// Parks a piece of work in the dead letters; whoever sent a command learns of it, too.
    ///
    /// # Errors
    ///
    /// It is to be left first, and comes again.
    pub async fn give_up(
        &self,
        assignment: &Assignment,
        reason: Reason,
        duty: &Duty,
    ) -> Result<(), Leave> {
        self.dead_letters.park(assignment, reason, reason.detail(), duty).await?;
        match assignment.task {
            Task::Event { .. } => Ok(()),
            Task::Command { .. } => command::give_up(self, assignment, reason, duty).await,
        }
    }

    /// Does what cannot wait for the scope's turn.
    pub async fn greet(&self, assignment: &Assignment, duty: &Duty) {
        event::acknowledge(self, assignment, duty).await;
    }

    /// A wait that doubles with each error in a row, from 1, give or take a fifth.
    fn jittered(&self, first: Duration, longest: Duration, errors: u32) -> Duration {
        let doubled = first.saturating_mul(1 << errors.saturating_sub(1).min(16)).min(longest);
        doubled.mul_f64(0.8 + 0.4 * random::share())
    }
}

/// A delivered record on its way to being handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What to acknowledge.
    pub position: Position,
    /// Whether somebody may have worked on it before.
    pub past: Past,
    /// The place it belongs to.
    pub place: ScopeSubject,
    /// What it is.
    pub task: Task,
    /// The record.
    pub stored: Stored,
}

/// Whether there may be traces of earlier work on something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nobody can have worked on it: it is newer than the lane's taking and was given once.
    None,
    /// Somebody may have, and nobody remembers.
    Possible,
}

/// What a record asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Handling an event.
    Event {
        /// What happened.
        kind: EventKind,
        /// The event's id and bot, where the headers name them.
        identity: Option<Identity>,
    },
    /// Running a command from outside.
    Command {
        /// What it does, as its subject says.
        action: Token,
    },
}

impl Assignment {
    /// Reads what a delivery is; `None` of a record that is neither event nor command, which
    /// nothing of ours puts where lanes look.
    #[must_use]
    pub fn read(delivery: Delivery) -> Option<Self> {
        let Delivery { position, delivered, inherited, stored } = delivery;
        let subject = &stored.record.subject;
        let (place, task) = if let Some(CommandSubject { place, action }) =
            CommandSubject::stored(subject)
        {
            (place, Task::Command { action })
        } else {
            let Ok(LogSubject::Event { source, scene, scope, kind, .. }) = subject.parse() else {
                return None;
            };
            let headers = stored.record.headers.event.as_ref();
            let identity =
                headers.map(|event| Identity { app: event.app.clone(), id: event.id.clone() });
            let place = ScopeSubject { app: source.app, scene, scope };
            (place, Task::Event { kind: kind.unwrap_or(EventKind::Unknown), identity })
        };
        let past = if inherited || delivered > 1 { Past::Possible } else { Past::None };
        Some(Self { position, past, place, task, stored })
    }

    /// Whether somebody may be waiting for more than the scope's turn.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        matches!(self.task, Task::Event { kind: EventKind::InteractionCreate, .. })
    }

    /// What makes another record the same piece of work.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match &self.task {
            Task::Event { identity, .. } => identity.as_ref(),
            Task::Command { .. } => None,
        }
    }

    /// What it is, in the subject of a dead letter.
    #[must_use]
    pub fn kind(&self) -> &str {
        match &self.task {
            Task::Event { kind, .. } => kind.as_str(),
            Task::Command { action } => action.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use qqrelay_proto::id::{Scene, Scope, ShardId};
    use qqrelay_proto::record::{EventHeaders, Headers, Record};
    use qqrelay_proto::subject::{Partition, Source, SourceSubject};
    use qqrelay_runtime::bus::WorkStream;

    fn delivery(subject: String, headers: Headers) -> Delivery {
        let record = Record { subject, headers, payload: Bytes::new() };
        Delivery {
            position: Position { stream: WorkStream::Commands, number: 7 },
            delivered: 1,
            inherited: false,
            stored: Stored { number: 7, at_ms: 0, record },
        }
    }

    fn event() -> Delivery {
        let shard = ShardId::new(0, 1).expect("0 is below 1");
        let source = SourceSubject::new(Partition::Chain(0), &"102".into(), Source::Shard(shard));
        let kind = EventKind::FriendAdd;
        let subject = source.event(&Scope::new(Scene::C2c, "u.1"), kind);
        let event = EventHeaders { id: "102:f".into(), app: "102".into(), kind };
        delivery(subject, Headers { event: Some(event), ..Headers::default() })
    }

    #[test]
    fn an_event_is_known_by_its_subject_and_its_headers() {
        let read = Assignment::read(event()).expect("an event");
        assert_eq!(read.place, ScopeSubject::new(&"102".into(), &Scope::new(Scene::C2c, "u.1")));
        assert_eq!(read.kind(), "friend_add");
        assert_eq!(read.identity().map(|identity| &*identity.id), Some("102:f"));
    }

    #[test]
    fn a_command_is_known_by_its_subject() {
        let place = ScopeSubject::new(&"102".into(), &Scope::new(Scene::Group, "A1"));
        let subject = place.stored_command("send");
        let read = Assignment::read(delivery(subject, Headers::default())).expect("a command");
        assert_eq!((read.place.clone(), read.kind()), (place, "send"));
        assert_eq!(read.identity(), None);
    }

    #[test]
    fn what_was_given_before_has_a_past() {
        let past = |inherited, delivered| {
            let delivery = Delivery { inherited, delivered, ..event() };
            Assignment::read(delivery).expect("an event").past
        };
        assert_eq!(past(false, 1), Past::None);
        assert_eq!(past(true, 1), Past::Possible);
        assert_eq!(past(false, 2), Past::Possible);
    }

    #[test]
    fn nothing_else_is_work() {
        let read = |subject: &str| Assignment::read(delivery(subject.into(), Headers::default()));
        assert_eq!(read("qq.v1.ev.00.102.1-0.ses"), None);
        assert_eq!(read("somebody.else"), None);
    }
}
