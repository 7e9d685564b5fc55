//! Handling an event: the handler until it answers, then its replies, one after the other.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use qqrelay_proto::command::{self, Action, Command, CommandId, ReplyTo};
use qqrelay_proto::event::{Event, EventKind, ReplyRight, ReplyTarget};
use qqrelay_proto::id::AppId;
use qqrelay_proto::outcome::Outcome;
use tracing::Instrument;

use super::{Assignment, Past, Workshop, trace};
use crate::dead_letter::Reason;
use crate::duty::{Duty, Leave};
use crate::handler::{Acknowledges, Context, Handler, HandlerError, REPLIES_MAX, Reply, Right};
use crate::scopes::Identity;

/// Starts of a handler on one event, over all workers, after which nothing but the event itself is
/// left to suspect.
const STARTS_MAX: u32 = 20;

/// From this start on the event runs alone in its worker.
const ALONE_FROM: u32 = 3;

/// The first wait after an error of the handler's; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest wait after an error of the handler's.
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// Interactions whose sender sees a spinner until somebody answers "done", and waits for nothing
/// else. Others want an answer with something in it.
const ACKNOWLEDGED: [&str; 2] = ["button", "menu"];

/// The name under which the worker's own acknowledgements have their ids.
const ACKNOWLEDGER: &str = "ack";

/// Handles one event to its end.
pub(super) async fn handle(
    shop: &Workshop,
    assignment: &Assignment,
    duty: &Duty,
) -> Result<(), Leave> {
    let event = match read(assignment) {
        Ok(event) => event,
        Err(detail) => {
            return shop.dead_letters.park(assignment, Reason::Unreadable, &detail, duty).await;
        }
    };
    if let Some(audit) = &event.audit {
        let message_id = audit.message_id.as_ref().map(|id| id.as_str().into());
        let verdict = match event.kind {
            EventKind::MessageAuditPass => Some(Outcome::AuditPass { message_id }),
            EventKind::MessageAuditReject => Some(Outcome::AuditReject),
            _ => None,
        };
        if let (Some(id), Some(verdict)) = (&audit.id, verdict) {
            shop.egress.audited(&event.app.as_str().into(), id, verdict, duty).await?;
        }
    }
    shop.egress.heard_from(&assignment.place);
    let Some(handler) = &shop.handler else { return Ok(()) };
    let handling = Handling { shop, assignment, duty, handler: &**handler, event: &event };
    let Some(replies) = handling.replies().await? else { return Ok(()) };
    for (number, reply) in replies.into_iter().enumerate() {
        let number = u32::try_from(number).expect("REPLIES_MAX bounds it");
        let span = tracing::info_span!("reply", number);
        handling.send(number, reply).instrument(span).await?;
    }
    shop.metrics.answered(event.received, shop.clock.now());
    Ok(())
}

/// Tells the platform that a button press was taken, if that is the worker's to do. Needs no turn
/// in the scope's queue: somebody looks at a spinner.
pub(super) async fn acknowledge(shop: &Workshop, assignment: &Assignment, duty: &Duty) {
    let wanted =
        shop.handler.as_ref().is_some_and(|handler| handler.acknowledges() == Acknowledges::Worker);
    let Some(event) = read(assignment).ok().filter(|_| wanted) else { return };
    let Some(interaction) = event.interaction.as_ref().filter(|interaction| {
        interaction.name.as_deref().is_some_and(|name| ACKNOWLEDGED.contains(&name))
    }) else {
        return;
    };
    let Some(id) = &interaction.id else { return };
    let mut command = command(
        CommandId::of_handler(&event.id, ACKNOWLEDGER, 0),
        &event,
        Action::Acknowledge { interaction: id.as_str().to_owned(), code: 0 },
    );
    command.traceparent = trace::onward(assignment);
    // Whoever takes the lane acknowledges again; the platform takes that as it is meant.
    let _ = shop.egress.run(&command, assignment.past, duty).await;
}

fn read(assignment: &Assignment) -> Result<Event<'_>, String> {
    let json = std::str::from_utf8(&assignment.stored.record.payload)
        .map_err(|error| format!("event is no text: {error}"))?;
    Event::parse(json).map_err(|error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// One event in a handler's hands.
struct Handling<'a> {
    shop: &'a Workshop,
    assignment: &'a Assignment,
    duty: &'a Duty,
    handler: &'a dyn Handler,
    event: &'a Event<'a>,
}

impl Handling<'_> {
    /// What the handler answers; `None` when it was given up.
    async fn replies(&self) -> Result<Option<Vec<Reply>>, Leave> {
        let starts = self.starts().await?;
        if starts > STARTS_MAX {
            let detail = format!("workers died at its last {STARTS_MAX} starts");
            self.park(Reason::Poison, &detail).await?;
            return Ok(None);
        }
        let (mut errors, mut failures) = (0, 0);
        loop {
            let error = match self.attempt(starts, failures).await? {
                Ok(replies) => return Ok(Some(replies)),
                Err(error) => error,
            };
            errors += 1;
            tracing::warn!(
                event = %self.event.id,
                handler = self.handler.name(),
                error = &error as &dyn Error,
                errors,
                "handler gave an error"
            );
            if let HandlerError::Failed(_) = &error {
                failures = self.count_failure(failures).await;
                if failures >= self.shop.settings.failures_max {
                    let detail = format!("failure {failures}: {}", chain(&error));
                    self.park(Reason::Handler, &detail).await?;
                    return Ok(None);
                }
            }
            self.duty.wait(self.shop.jittered(RETRY_FIRST, RETRY_LONGEST, errors)).await?;
        }
    }

    async fn attempt(
        &self,
        starts: u32,
        failures: u32,
    ) -> Result<Result<Vec<Reply>, HandlerError>, Leave> {
        let room = &self.shop.solitude;
        let _entered = self
            .duty
            .run(async {
                if starts < ALONE_FROM { room.among().await } else { room.alone().await }
            })
            .await?;
        let _permit = self.duty.run(self.shop.handlers.acquire()).await?;
        self.duty.assured().await?;
        let context = Context {
            json: self.assignment.stored.record.payload.clone(),
            failures,
            trace_parent: trace::onward(self.assignment),
        };
        let began = Instant::now();
        let span = tracing::info_span!("handle", handler = self.handler.name());
        let handled = AssertUnwindSafe(self.handler.handle(self.event, &context))
            .catch_unwind()
            .instrument(span);
        let answer = match self.duty.run(handled).await? {
            Ok(Ok(replies)) if replies.len() > REPLIES_MAX => {
                Err(HandlerError::Failed(TooManyReplies(replies.len()).into()))
            }
            Ok(answer) => answer,
            Err(_) => Err(HandlerError::Failed(Panicked.into())),
        };
        let result = answer.as_ref().map_or_else(HandlerError::label, |_| "ok");
        self.shop.metrics.handled(self.handler.name(), result, began.elapsed());
        Ok(answer)
    }

    /// Which start of the event's handling this is, over all workers.
    ///
    /// What has no past is at its first start, so that only what comes again costs a write.
    async fn starts(&self) -> Result<u32, Leave> {
        let Some(Identity { app, id }) =
            self.assignment.identity().filter(|_| self.assignment.past == Past::Possible)
        else {
            return Ok(1);
        };
        let ttl = self.shop.settings.memory;
        let counted = self.duty.run(self.shop.state.count_start(app, id, ttl)).await?;
        Ok(counted.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn Error, "start of a handler not counted");
            0
        }) + 1)
    }

    async fn count_failure(&self, known: u32) -> u32 {
        let Some(Identity { app, id }) = self.assignment.identity() else { return known + 1 };
        let ttl = self.shop.settings.memory;
        self.shop.state.count_failure(app, id, ttl).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn Error, "failure of a handler not counted");
            known + 1
        })
    }

    async fn park(&self, reason: Reason, detail: &str) -> Result<(), Leave> {
        self.shop.dead_letters.park(self.assignment, reason, detail, self.duty).await
    }

    /// Sends one reply to its outcome.
    async fn send(&self, number: u32, reply: Reply) -> Result<(), Leave> {
        let Reply { content, quote, right } = reply;
        let id = CommandId::of_handler(&self.event.id, self.handler.name(), number);
        let mut command = command(id, self.event, Action::Send { content, quote });
        command.traceparent = trace::onward(self.assignment);
        command.at_least_once = self.shop.shows_at_least_once(&command.app);
        let past = self.assignment.past;
        match (right, &self.event.reply) {
            (Right::Push, _) => {}
            (Right::Answer, Some(right)) => command.reply = Some(answer(right)),
            (Right::Answer, None) => {
                let sentence = format!("{} takes no reply; send a push instead", self.event.kind);
                self.shop.egress.refuse(&command, past, sentence, self.duty).await?;
                return Ok(());
            }
        }
        self.shop.egress.run(&command, past, self.duty).await?;
        Ok(())
    }
}

fn command(id: CommandId, event: &Event<'_>, action: Action) -> Command {
    Command {
        v: command::Version,
        id,
        app: AppId::from(event.app.as_str()),
        scene: event.scene,
        scope: event.scope.as_str().into(),
        guild: event.guild.as_ref().map(|guild| guild.as_str().into()),
        action,
        reply: None,
        deadline: None,
        at_least_once: false,
        traceparent: None,
    }
}

fn answer(right: &ReplyRight<'_>) -> command::Reply {
    let to = match &right.to {
        ReplyTarget::MsgId(id) => ReplyTo::MsgId(id.as_str().into()),
        ReplyTarget::EventId(id) => ReplyTo::EventId(id.as_str().into()),
    };
    command::Reply { to, expires_at: Some(right.expires_at), limit: right.limit }
}

/// An error and its causes as one sentence.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[derive(Debug, thiserror::Error)]
#[error("the handler gave {0} replies, the most is {REPLIES_MAX}")]
struct TooManyReplies(usize);

#[derive(Debug, thiserror::Error)]
#[error("the handler panicked")]
struct Panicked;
