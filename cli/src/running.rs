//! Asking a running process, through its admin port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use qqrelay_runtime::random;
use reqwest::{Client, Response, Url};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Form, Shards};
use crate::copies;
use crate::exit::{Failure, Outcome};
use crate::local_api::{self, Refusal};
use crate::out;

/// Time to connect to a process of this machine.
const CONNECT: Duration = Duration::from_secs(3);

/// A running process.
pub(crate) struct Process {
    http: Client,
    admin: SocketAddr,
}

impl Process {
    /// The process whose admin port is there.
    ///
    /// # Errors
    ///
    /// No HTTP client.
    pub(crate) fn at(admin: SocketAddr) -> Result<Self, Failure> {
        // A second call finds a provider installed, and it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().connect_timeout(CONNECT).no_proxy().build()?;
        Ok(Self { http, admin })
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// Nobody is there, or the answer is no.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<Response, Failure> {
        self.answer(self.http.get(self.url(path, query)?)).await
    }

    /// Gives something.
    ///
    /// # Errors
    ///
    /// Nobody is there, or the answer is no.
    pub(crate) async fn post(
        &self,
        path: &str,
        query: &impl Serialize,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        self.answer(self.http.post(self.url(path, query)?).body(body)).await
    }

    fn url(&self, path: &str, query: &impl Serialize) -> anyhow::Result<Url> {
        let mut url = Url::parse(&format!("http://{}{path}", self.admin))?;
        let members = serde_json::to_value(query)?;
        let members = members.as_object().into_iter().flatten();
        let pairs = members.map(|(name, value)| match value.as_str() {
            Some(text) => (name.clone(), text.to_owned()),
            None => (name.clone(), value.to_string()),
        });
        let pairs: Vec<_> = pairs.collect();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(url)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let nobody = || {
            format!(
                "nothing answers on {}: is the process running, and is this its admin port \
                 ([admin] listen)?",
                self.admin
            )
        };
        let answer = request.send().await.with_context(nobody).map_err(Failure::Unavailable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.unwrap_or_default();
        let said = serde_json::from_slice(&body).map(|Refusal { error }| error);
        let said = said.unwrap_or_else(|_| match status.as_u16() {
            404 => "this process does not offer that: its admin port must be on loopback, and it \
                    must hold the embedded file"
                .to_owned(),
            _ => format!("the process answered with HTTP status {status}"),
        });
        Err(Failure::Failed(anyhow!(said)))
    }
}

/// A command id that nobody else has.
#[must_use]
pub(crate) fn fresh_id() -> String {
    format!("cli/{}", random::id())
}

/// Runs `qqrelay shards`.
///
/// # Errors
///
/// The process cannot be asked.
pub(crate) async fn shards(args: &Shards) -> Outcome {
    if let Some(config) = &args.running.config {
        return copies::show(config, args.output).await;
    }
    let process = Process::at(args.running.admin)?;
    let answer = process.get(local_api::SHARDS, &()).await?;
    let listing: Value = answer.json().await.context("an unreadable answer")?;
    match args.output {
        Form::Json => out::line(serde_json::to_string_pretty(&listing)?),
        Form::Text => {
            out::text(out::table(&rows(&listing)));
            troubles(&listing).iter().for_each(out::line);
        }
    }
    Ok(())
}

/// Why shards and bots have no session, a line each.
fn troubles(listing: &Value) -> Vec<String> {
    let of_shard = |shard: &Value| {
        let why = shard["trouble"].as_str()?;
        Some(format!("{} {}: {why}", text(&shard["app"]), text(&shard["shard"])))
    };
    let of_bot = |(app, why): (&String, &Value)| format!("{app}: {}", text(why));
    let shards = listing["shards"].as_array().into_iter().flatten().filter_map(of_shard);
    let bots = listing["waiting"].as_object().into_iter().flatten().map(of_bot);
    shards.chain(bots).collect()
}

/// Shards as rows of a table, for people.
pub(crate) fn rows(listing: &Value) -> Vec<Vec<String>> {
    const COLUMNS: [(&str, &str); 9] = [
        ("BOT", "app"),
        ("SHARD", "shard"),
        ("STATE", "phase"),
        ("BLOCKED", "blocked"),
        ("DURABLE", "durable"),
        ("RESUMES", "resumes"),
        ("IDENTIFIES", "identifies"),
        ("PARTITION", "partition"),
        ("SESSION", "session"),
    ];
    let head = COLUMNS.iter().map(|(title, _)| (*title).to_owned()).collect();
    let row = |shard: &Value| COLUMNS.iter().map(|(_, member)| text(&shard[*member])).collect();
    let shards = listing["shards"].as_array().into_iter().flatten().map(row);
    std::iter::once(head).chain(shards).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(pair) => pair.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"),
        other => other.to_string(),
    }
}
