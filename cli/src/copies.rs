//! `qqrelay shards --config`: where sessions would be resumed, as the shared state has it.

use std::path::Path;

use anyhow::anyhow;
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::redis::RedisState;
use serde_json::json;

use crate::args::{Form, Process};
use crate::config;
use crate::exit::{Failure, Outcome};
use crate::out;
use crate::stores::failure;

/// Shows the copies of every bot.
///
/// # Errors
///
/// The configuration has no Redis, or it cannot be asked.
pub(crate) async fn show(file: &Path, form: Form) -> Outcome {
    let config = config::load(&Process { config: Some(file.to_owned()) })?.config;
    let redis = config.redis.ok_or_else(|| {
        let text = "redis: is missing; without it ask the process itself, with --admin";
        Failure::Setting(anyhow!(text))
    })?;
    let connected = RedisState::connect(&redis).await;
    let state = connected.map_err(|error| failure(error.is_passing(), error))?;
    let mut copies = state.resumes(None).await.map_err(Failure::unavailable)?;
    copies.sort_by_key(|(app, source, _)| (app.clone(), source.to_string()));
    match form {
        Form::Json => {
            let lines: Vec<_> = copies
                .iter()
                .map(|(app, source, copy)| json!({"app": app, "source": source.to_string(), "resume": copy}))
                .collect();
            out::line(serde_json::to_string_pretty(&lines)?);
        }
        Form::Text => {
            let head = ["BOT", "SOURCE", "SEQ", "RECORD", "AT", "SESSION", "GATEWAY"];
            let rows = copies.iter().map(|(app, source, copy)| {
                let place = format!("{}:{}", copy.place.stream, copy.place.seq);
                let (session, owner) = (copy.session.to_string(), copy.owner.to_string());
                let (seq, at) = (copy.seq.to_string(), copy.at.to_string());
                vec![app.to_string(), source.to_string(), seq, place, at, session, owner]
            });
            let head = head.map(str::to_owned).to_vec();
            out::text(out::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        }
    }
    Ok(())
}
