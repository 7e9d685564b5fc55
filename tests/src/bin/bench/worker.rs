//! Commands that a worker sends, and a bare HTTP loop that sends as much, by turns.

use std::env;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use async_nats::{HeaderMap, jetstream};
use qqrelay_proto::command::{Command, Content, Reply, ReplyTo};
use qqrelay_proto::id::{AppId, Scene, Scope};
use qqrelay_proto::subject::ScopeSubject;
use qqrelay_simulator::rules::Limits;
use qqrelay_simulator::{Config, Simulator};
use qqrelay_tests::cluster::{Bot, Servers};
use qqrelay_tests::meter::Meter;
use qqrelay_tests::wait::within;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Builder;

use crate::scene::{self, APP, Measured, platform, token};
use crate::table::{Table, median};

const COMMANDS: usize = 20_000;
const GROUPS: usize = 1_000;

/// Requests at once of the bare loop.
const CONCURRENCY: usize = 64;

const DONE_WITHIN: Duration = Duration::from_secs(300);

/// Every limit is counted, and none is in the way.
const LIMITS: &str =
    "[egress.limits]\ngroup = \"20000/s burst 20000\"\ngroup_app = \"60000/s burst 60000\"\n";

/// Measures both.
pub(crate) async fn measure(runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "replies to groups: worker, and a bare reqwest loop with 64 requests at once",
        &[("per second and core", 0), ("CPU µs", 1), ("bare CPU µs", 1), ("bare ÷ worker", 2)],
    );
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        bare.push(bare_loop().await?);
        ours.push(our_worker().await?);
    }
    let (ours, bare) = (median(ours), median(bare));
    table.row("worker", [1e6 / ours, ours, bare, bare / ours]);
    Ok(table)
}

async fn unlimited() -> anyhow::Result<Simulator> {
    platform(1, Config { limits: Limits::off(), ..Config::default() }).await
}

/// Processor time of a worker for each command, in µs.
async fn our_worker() -> anyhow::Result<f64> {
    let (platform, servers) = (unlimited().await?, Servers::start(1).await?);
    let gateway = Measured::start("gateway", 1, &platform, Some(&servers), LIMITS).await?;
    gateway.live(1).await?;
    let worker = Measured::start("worker", 1, &platform, Some(&servers), LIMITS).await?;
    let meter = Meter::of(worker.relay.id());
    let cpu = meter.cpu()?;
    publish(&servers).await?;
    within(DONE_WITHIN, "every command is sent", async || {
        let sent = worker.count("qqrelay_outcomes_total{outcome=\"sent\"}").await.ok()?;
        (sent >= COMMANDS as f64).then_some(())
    })
    .await?;
    Ok((meter.cpu()? - cpu) * 1e6 / COMMANDS as f64)
}

async fn publish(servers: &Servers) -> anyhow::Result<()> {
    let client = async_nats::connect(servers.nats.urls()).await?;
    let jetstream = jetstream::new(client);
    let app = AppId::from(APP);
    let mut stored = Vec::new();
    for number in 0..COMMANDS {
        let place = Scope::new(Scene::Group, format!("group-{}", number % GROUPS));
        let subject = ScopeSubject::new(&app, &place).command("send");
        let id = format!("bench/{number}");
        let content = Content::Text(text(number));
        let command = Command::send(id.as_str().into(), app.clone(), place, content);
        let to = ReplyTo::MsgId(format!("message-{number}").as_str().into());
        let reply = Some(Reply { to, expires_at: None, limit: None });
        let payload = serde_json::to_vec(&Command { reply, ..command })?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        stored.push(jetstream.publish_with_headers(subject, headers, payload.into()).await?);
        if stored.len() == 256 {
            for stored in stored.drain(..) {
                stored.await?;
            }
        }
    }
    for stored in stored {
        stored.await?;
    }
    Ok(())
}

fn text(number: usize) -> String {
    format!("an answer of the usual length to question {number}, which somebody has asked")
}

/// Where the bare loop sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    platform: String,
    secret: String,
}

/// Processor time of the bare loop for each request, in µs, as it says itself.
async fn bare_loop() -> anyhow::Result<f64> {
    let platform = unlimited().await?;
    let secret = Bot::new(APP, 1).secret();
    let target = serde_json::to_string(&Target { platform: platform.base_url(), secret })?;
    let program = env::current_exe()?;
    let ran = tokio::task::spawn_blocking(move || {
        Process::new(program).args(["http", &target]).stderr(Stdio::inherit()).output()
    });
    let ran = ran.await??;
    ensure!(ran.status.success(), "the bare loop ended with {}", ran.status);
    Ok(String::from_utf8(ran.stdout)?.trim().parse()?)
}

/// Sends so much, on one thread, and prints what each took.
pub(crate) fn http(target: Target) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(send_all(target))
}

async fn send_all(target: Target) -> anyhow::Result<()> {
    let http = scene::http()?;
    let token = token(&http, &target.platform, &target.secret).await?;
    let (platform, token): (Arc<str>, Arc<str>) =
        (target.platform.as_str().into(), format!("QQBot {token}").as_str().into());
    let meter = Meter::of(std::process::id());
    let (cpu, begun) = (meter.cpu()?, Instant::now());
    let next = Arc::new(AtomicUsize::new(0));
    let sender = |_| {
        let (http, next) = (http.clone(), Arc::clone(&next));
        let (platform, token) = (Arc::clone(&platform), Arc::clone(&token));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= COMMANDS {
                    return anyhow::Ok(());
                }
                let group = number % GROUPS;
                let body = json!({"content": text(number), "msg_type": 0, "msg_id": format!("message-{number}"), "msg_seq": 1});
                let request = http
                    .post(format!("{platform}/v2/groups/group-{group}/messages"))
                    .header("authorization", &*token)
                    .header("content-type", "application/json")
                    .body(body.to_string());
                let answer = request.send().await?;
                ensure!(answer.status().is_success(), "{}", answer.text().await?);
                answer.bytes().await?;
            }
        })
    };
    let senders: Vec<_> = (0..CONCURRENCY).map(sender).collect();
    for sender in senders {
        sender.await??;
    }
    eprintln!("bare loop: {:.0} requests/s", COMMANDS as f64 / begun.elapsed().as_secs_f64());
    println!("{}", (meter.cpu()? - cpu) * 1e6 / COMMANDS as f64);
    Ok(())
}
