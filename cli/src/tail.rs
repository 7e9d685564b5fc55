//! `qqrelay tail`: events as they come.

use std::path::Path;
use std::time::SystemTime;

use futures_util::StreamExt;
use qqrelay_proto::event::Event;
use qqrelay_proto::id::Scene;
use qqrelay_proto::subject::Token;
use qqrelay_runtime::bus::{Bus, BusError, Reader, Start};
use serde_json::value::RawValue;

use crate::args::Tail;
use crate::exit::{Failure, Outcome};
use crate::local_api::{self, Line, TailQuery};
use crate::out::{self, Ink, ink, one_line};
use crate::running::Process;
use crate::stores::bus_of;

/// Text of a message that is shown on a line.
const TEXT_WIDTH: usize = 80;

/// The longest line that is read; a record is shorter.
const LINE_MAX: usize = 4 << 20;

/// Runs the subcommand.
///
/// # Errors
///
/// The process cannot be asked, or has ended.
pub(crate) async fn run(args: &Tail) -> Outcome {
    match &args.running.config {
        Some(file) => from_servers(args, file).await,
        None => from_process(args).await,
    }
}

async fn from_servers(args: &Tail, file: &Path) -> Outcome {
    let bus = bus_of(file).await?;
    let start = if args.from_start { Start::Oldest } else { Start::New };
    let reader = Reader { filter: filter(args), start };
    let mut records = bus.read(reader).await.map_err(Failure::unavailable)?;
    let mut left = args.count;
    while left != Some(0) {
        match records.next().await {
            Ok((_, stored)) => {
                let text = std::str::from_utf8(&stored.record.payload)?;
                show(text, args.json)?;
                left = left.map(|left| left - 1);
            }
            // The reader goes on behind the hole.
            Err(error @ BusError::Behind { .. }) => eprintln!("qqrelay: {error}"),
            Err(error) => return Err(Failure::unavailable(error)),
        }
    }
    Ok(())
}

async fn from_process(args: &Tail) -> Outcome {
    let process = Process::at(args.running.admin)?;
    let query = TailQuery { filter: filter(args), from_start: args.from_start };
    let mut answer = process.get(local_api::TAIL, &query).await?.bytes_stream();
    let (mut rest, mut left) = (Vec::new(), args.count);
    while left != Some(0) {
        let Some(Ok(chunk)) = answer.next().await else {
            return Err(Failure::unavailable(anyhow::anyhow!("the process has ended")));
        };
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if left == Some(0) {
                break;
            }
            let line: Line<&RawValue> = serde_json::from_slice(&line)?;
            show(line.payload.get(), args.json)?;
            left = left.map(|left| left - 1);
        }
        if rest.len() > LINE_MAX {
            return Err(Failure::Failed(anyhow::anyhow!("a line without an end")));
        }
    }
    Ok(())
}

/// The subject filter that these options mean.
fn filter(args: &Tail) -> String {
    let token = |text: Option<&str>| {
        text.map_or_else(|| "*".to_owned(), |it| Token::escape(it).to_string())
    };
    let app = token(args.app.as_ref().map(qqrelay_proto::id::AppId::as_str));
    let source = args.source.map_or_else(|| "*".to_owned(), |source| source.to_string());
    let scene = args.scene.map_or("*", Scene::as_str);
    let scope = token(args.scope.as_deref());
    let kind = args.kind.map_or("*", |kind| kind.as_str());
    format!("qq.v1.ev.*.{app}.{source}.e.*.{scene}.{scope}.{kind}")
}

fn show(event: &str, as_json: bool) -> Outcome {
    if as_json {
        out::line(event);
        return Ok(());
    }
    let event: Event<'_> = serde_json::from_str(event)?;
    out::line(summary(&event, out::is_coloured()));
    Ok(())
}

/// An event on one line, for people.
#[must_use]
pub(crate) fn summary(event: &Event<'_>, coloured: bool) -> String {
    let clock = jiff::Timestamp::try_from(SystemTime::now());
    let clock = clock.map_or_else(|_| String::new(), |now| now.strftime("%H:%M:%S").to_string());
    let text = event.message.as_ref().and_then(|message| message.text.as_deref()).unwrap_or("");
    format!(
        "{}  {}  {} {}  {}  {}",
        ink(&clock, Ink::Dim, coloured),
        one_line(&event.app, 16),
        ink(event.scene.as_str(), Ink::Cyan, coloured),
        one_line(&event.scope, 32),
        event.kind,
        one_line(text, TEXT_WIDTH),
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn options_become_a_subject_filter() {
        let check = |options: &str, expected: &str| {
            let line = format!("qqrelay tail {options}");
            let Command::Tail(args) = Cli::parse_from(line.split_whitespace()).command else {
                panic!("tail is tail");
            };
            assert_eq!(filter(&args), expected);
        };
        check("", "qq.v1.ev.*.*.*.e.*.*.*.*");
        check("--app 102 --scene group", "qq.v1.ev.*.102.*.e.*.group.*.*");
        check("--scope a.b --kind message_create", "qq.v1.ev.*.*.*.e.*.*.a=2Eb.message_create");
        check("--source 4-0", "qq.v1.ev.*.*.4-0.e.*.*.*.*");
    }
}
