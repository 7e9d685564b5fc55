//! Giving a command and waiting for what becomes of it: the one way, whoever asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::command::{Command, CommandId};
use qqrelay_proto::id::Scope;
use qqrelay_proto::outcome::{News, ResultRecord};
use qqrelay_proto::subject::ScopeSubject;
use tokio::time::{Instant, timeout_at};

use super::{Bus, BusError};

/// The longest that a caller may wait for an outcome.
pub const WAIT_MAX: Duration = Duration::from_secs(300);

/// What a bus that was asked to wait may need beyond the time it was given.
const LATE: Duration = Duration::from_secs(1);

/// What is known of a command when the wait is over.
#[derive(Debug)]
pub enum Asked {
    /// Its newest outcome; reviewers may have a later word.
    Outcome(Box<ResultRecord>),
    /// It is stored under this id and goes on.
    Pending(CommandId),
}

/// Stores a command, once for its id, and waits for an outcome for `limit` at most, which is no
/// more than [`WAIT_MAX`]. `json` is what the command was read from. Asking again is safe.
///
/// # Errors
///
/// The bus did not take it, or could not say what became of it.
pub async fn ask(
    bus: &dyn Bus,
    command: &Command,
    json: Bytes,
    limit: Duration,
) -> Result<Asked, BusError> {
    let scope = Scope::new(command.scene, Arc::clone(&command.scope));
    let subject = ScopeSubject::new(&command.app, &scope);
    let id = command.id.as_str();
    bus.command(id, &subject.command(command.action.name()), json).await?;
    let newest = outcome(bus, &subject.result(id), limit.min(WAIT_MAX)).await?;
    Ok(newest.map_or_else(
        || Asked::Pending(command.id.clone()),
        |record| Asked::Outcome(Box::new(record)),
    ))
}

/// The newest outcome of a command; waits for a first one, and does not wait for reviewers.
async fn outcome(
    bus: &dyn Bus,
    subject: &str,
    limit: Duration,
) -> Result<Option<ResultRecord>, BusError> {
    let until = Instant::now() + limit;
    let mut seen = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let waiting = bus.await_result(subject, seen, left);
        let known = timeout_at(until + LATE, waiting).await;
        let known = known.unwrap_or_else(|_| Ok(Vec::new()))?;
        let records = known.iter().filter_map(|entry| serde_json::from_slice(entry).ok());
        let newest = records.filter(has_outcome).last();
        if newest.is_some() || known.len() <= seen {
            return Ok(newest);
        }
        seen = known.len();
    }
}

fn has_outcome(record: &ResultRecord) -> bool {
    matches!(record.news, News::Outcome(_))
}
