//! `qqrelay send`: one message, and what became of it.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use qqrelay_proto::command::{Action, Command, Content, Markdown, Reply, ReplyTo, Version};
use qqrelay_proto::outcome::{Outcome as Became, ResultRecord};
use qqrelay_runtime::bus::ask::{Asked, ask};

use crate::args::{self, Form, Send};
use crate::exit::{Failure, Outcome};
use crate::local_api::{self, CommandQuery, outcome_of};
use crate::out;
use crate::running::{Process, fresh_id};
use crate::stores::bus_of;

/// The largest content that is read from a file.
const CONTENT_MAX: u64 = 1 << 20;

/// Runs the subcommand.
///
/// # Errors
///
/// The process cannot be asked, or the message was not taken.
pub(crate) async fn run(args: Send) -> Outcome {
    let command = command(&args)?;
    let body = serde_json::to_vec(&command)?;
    let record = match &args.running.config {
        Some(file) => through_servers(file, &command, body, args.wait).await?,
        None => through_process(&args, body).await?,
    };
    let Some(record) = record else {
        let id = command.id.as_str();
        return Err(Failure::Failed(anyhow::anyhow!(
            "no outcome within {} s; the command is stored as {id} and goes on",
            args.wait
        )));
    };
    match args.output {
        Form::Json => out::line(serde_json::to_string_pretty(&record)?),
        Form::Text => out::line(sentence(&record)),
    }
    match outcome_of(&record) {
        Some(
            Became::Sent { .. }
            | Became::Deduped
            | Became::PendingAudit { .. }
            | Became::AuditPass { .. },
        ) => Ok(()),
        Some(
            Became::AuditReject
            | Became::AuditUnknown
            | Became::Rejected { .. }
            | Became::Expired
            | Became::Ambiguous,
        )
        | None => Err(Failure::No),
    }
}

/// `None` where there is no outcome yet.
async fn through_servers(
    file: &Path,
    command: &Command,
    body: Vec<u8>,
    wait: u64,
) -> Result<Option<ResultRecord>, Failure> {
    let bus = bus_of(file).await?;
    let asked = ask(&bus, command, body.into(), Duration::from_secs(wait)).await;
    Ok(match asked.map_err(Failure::unavailable)? {
        Asked::Outcome(record) => Some(*record),
        Asked::Pending(_) => None,
    })
}

async fn through_process(args: &Send, body: Vec<u8>) -> Result<Option<ResultRecord>, Failure> {
    let process = Process::at(args.running.admin)?;
    let answer = process.post(local_api::COMMANDS, &CommandQuery { wait: args.wait }, body).await?;
    if answer.status() == reqwest::StatusCode::ACCEPTED {
        return Ok(None);
    }
    Ok(Some(answer.json().await.context("an unreadable answer")?))
}

fn command(args: &Send) -> Result<Command, Failure> {
    let reply_to = args.reply_to.clone().map(|id| ReplyTo::MsgId(id.into()));
    let event = args.event_id.clone().map(|id| ReplyTo::EventId(id.into()));
    Ok(Command {
        v: Version,
        id: args.id.clone().unwrap_or_else(fresh_id).into(),
        app: args.app.clone(),
        scene: args.scene,
        scope: args.scope.as_str().into(),
        guild: None,
        action: Action::Send { content: content(&args.content)?, quote: None },
        reply: reply_to.or(event).map(Reply::from),
        deadline: None,
        at_least_once: false,
        traceparent: None,
    })
}

fn content(args: &args::Content) -> Result<Content, Failure> {
    if let Some(text) = &args.text {
        return Ok(Content::Text(text.clone()));
    }
    if let Some(markdown) = &args.markdown {
        let markdown = Markdown { content: Some(markdown.clone()), ..Markdown::default() };
        return Ok(Content::Markdown(markdown));
    }
    let path = args.json.as_deref().context("say what to send")?;
    let text = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let content = serde_json::from_str(&text);
    Ok(content.with_context(|| format!("{} holds no content", path.display()))?)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(path)?)
    };
    source.take(CONTENT_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn sentence(record: &ResultRecord) -> String {
    let id = record.id.as_str();
    let said = match outcome_of(record) {
        None => "being tried".to_owned(),
        Some(Became::Sent { message_id: Some(message) }) => format!("sent as {message}"),
        Some(Became::Sent { message_id: None }) => "sent".to_owned(),
        Some(Became::Deduped) => "sent before, and recognised by the platform".to_owned(),
        Some(Became::PendingAudit { .. }) => "waiting for the platform's reviewers".to_owned(),
        Some(Became::AuditPass { .. }) => "reviewed and shown".to_owned(),
        Some(Became::AuditReject) => "reviewed and not shown".to_owned(),
        Some(Became::AuditUnknown) => "the reviewers said nothing in time".to_owned(),
        Some(Became::Rejected { code, sentence }) => format!("rejected with {code}: {sentence}"),
        Some(Became::Expired) => "too late, nothing was sent".to_owned(),
        Some(Became::Ambiguous) => {
            "nobody knows: it may have been taken, and asking again could show it twice".to_owned()
        }
    };
    format!("{id}: {said}")
}
