//! What a process offers on its admin port, to this machine only: its events, and a way to give it
//! commands. With servers beside it, NATS is the way for both from other machines.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use qqrelay_gateway::{Board, ShardStatus};
use qqrelay_proto::command::{Command, TEXT_CHARS_MAX};
use qqrelay_proto::id::AppId;
use qqrelay_proto::outcome::{News, Outcome, ResultRecord};
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::ask::{Asked, ask};
use qqrelay_runtime::bus::{Bus, BusError, Reader, Records, Start};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Where events are followed.
pub(crate) const TAIL: &str = "/v1/tail";
/// Where commands are given.
pub(crate) const COMMANDS: &str = "/v1/commands";
/// Where shards are listed.
pub(crate) const SHARDS: &str = "/v1/shards";

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct Local {
    /// The bus of this process, once it is there.
    bus: Arc<OnceLock<Arc<dyn Bus>>>,
    /// The shards of this process.
    board: Board,
}

impl Local {
    /// Routes of a process that has no bus yet.
    pub(crate) fn new(board: Board) -> Self {
        Self { bus: Arc::default(), board }
    }

    /// Lets the routes work on this bus from now on.
    pub(crate) fn offer(&self, bus: Arc<dyn Bus>) {
        let _ = self.bus.set(bus); // a process has one bus
    }

    fn bus(&self) -> Result<&dyn Bus, BusError> {
        let starting = || BusError::Unavailable("the process still waits for its servers".into());
        self.bus.get().map(|bus| &**bus).ok_or_else(starting)
    }
}

/// The routes.
pub(crate) fn router(local: Local) -> Router {
    Router::new()
        .route(TAIL, get(tail))
        .route(COMMANDS, post(command))
        .route(SHARDS, get(shards))
        .with_state(local)
}

/// One record, as a line of [`TAIL`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line<P> {
    /// `00`
    pub(crate) partition: String,
    /// Its number there.
    pub(crate) number: u64,
    /// Where it stands.
    pub(crate) subject: String,
    /// What it says.
    pub(crate) payload: P,
}

/// What to follow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TailQuery {
    /// A NATS subject filter.
    pub(crate) filter: String,
    /// Whether to begin with what is there already.
    #[serde(default)]
    pub(crate) from_start: bool,
}

/// What went wrong, for a caller.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What is wrong, and what to do about it.
    pub(crate) error: String,
}

/// How long to wait for the outcome.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CommandQuery {
    /// Seconds; 0 does not wait.
    #[serde(default)]
    pub(crate) wait: u64,
}

/// The answer to [`SHARDS`].
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    /// Every shard.
    pub(crate) shards: Vec<ShardStatus>,
    /// Bots without shards yet, and why.
    pub(crate) waiting: BTreeMap<AppId, String>,
}

impl Listing {
    /// What a board shows now.
    pub(crate) fn of(board: &Board) -> Self {
        Self { shards: board.shards(), waiting: board.waiting() }
    }
}

async fn shards(State(local): State<Local>) -> Json<Listing> {
    Json(Listing::of(&local.board))
}

async fn tail(State(local): State<Local>, Query(query): Query<TailQuery>) -> Response {
    let start = if query.from_start { Start::Oldest } else { Start::New };
    let reader = Reader { filter: query.filter, start };
    let reading = async { local.bus()?.read(reader).await };
    let records = match reading.await {
        Ok(records) => records,
        Err(error) => return refusal(&error),
    };
    let lines = stream::unfold(records, |mut records| async move {
        let line = next_line(&mut *records).await?;
        Some((Ok::<_, Infallible>(line), records))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// The next record as a line; `None` once nothing more can be read.
async fn next_line(records: &mut dyn Records) -> Option<Bytes> {
    loop {
        let (partition, stored) = match records.next().await {
            Ok(next) => next,
            Err(BusError::Behind { .. }) => continue, // the reader goes on behind the hole
            Err(_) => return None,
        };
        if let Some(line) = line_of(partition, &stored) {
            return Some(line);
        }
    }
}

fn line_of(partition: Partition, stored: &Stored) -> Option<Bytes> {
    let payload: &RawValue = serde_json::from_slice(&stored.record.payload).ok()?;
    let line = Line {
        partition: partition.to_string(),
        number: stored.number,
        subject: stored.record.subject.clone(),
        payload,
    };
    let mut bytes = serde_json::to_vec(&line).ok()?;
    bytes.push(b'\n');
    Some(bytes.into())
}

async fn command(
    State(local): State<Local>,
    Query(query): Query<CommandQuery>,
    body: Bytes,
) -> Response {
    let command = match Command::read(&body, TEXT_CHARS_MAX) {
        Ok(command) => command,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, Json(Refusal { error: error.to_string() }))
                .into_response();
        }
    };
    let limit = Duration::from_secs(query.wait);
    let asking = async { ask(local.bus()?, &command, body, limit).await };
    match asking.await {
        Ok(Asked::Outcome(record)) => Json(record).into_response(),
        Ok(Asked::Pending(id)) => (StatusCode::ACCEPTED, Json(id)).into_response(),
        Err(error) => refusal(&error),
    }
}

/// What a record says became of the command.
pub(crate) fn outcome_of(record: &ResultRecord) -> Option<&Outcome> {
    match &record.news {
        News::Outcome(outcome) => Some(outcome),
        News::Attempt(_) => None,
    }
}

fn refusal(error: &BusError) -> Response {
    let status = match error {
        BusError::Refused(_) => StatusCode::BAD_REQUEST,
        BusError::Full(_)
        | BusError::Taken
        | BusError::Behind { .. }
        | BusError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Refusal { error: error.to_string() })).into_response()
}
