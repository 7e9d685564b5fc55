//! `qqrelay shards --config`: where sessions would be resumed, as the shared state has it.

use std::path::Path;

use qqrelay_runtime::state::State;
use serde_json::json;

use crate::args::Form;
use crate::exit::{Failure, Outcome};
use crate::out;
use crate::stores::state_of;

/// Shows the copies of every bot.
///
/// # Errors
///
/// The configuration has no Redis, or it cannot be asked.
pub(crate) async fn show(file: &Path, form: Form) -> Outcome {
    let state = state_of(file).await?;
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
