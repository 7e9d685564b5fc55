//! A gateway and a worker with the configuration that is shipped, each as its role, on a nats-server
//! with the shipped permissions; and a program of somebody's, as a consumer.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use qqrelay_proto::command::{Command, Content};
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::outcome::{News, ResultRecord};
use qqrelay_runtime::config;
use qqrelay_simulator::journal::Entry;
use qqrelay_simulator::{AppConfig, Config as PlatformConfig, Injection, Simulator};
use qqrelay_tests::process::{Relay, Start};
use qqrelay_tests::servers::redis::RedisServer;
use qqrelay_tests::wait::eventually;
use tempfile::TempDir;

use crate::server::{Role, Server, tree};

const APP: &str = "102000001";
const SECRET: &str = "the-secret-of-the-bot";
const REDIS_PASSWORD: &str = "password-of-redis";

/// What is on a machine and not in the file.
fn environment(
    role: Role,
    folder: &Path,
    nats: &str,
    redis: &str,
    platform: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map(|()| path.display().to_string())
    };
    let named = [
        ("ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
        ("NATS__URLS__0", nats.to_owned()),
        ("NATS__USER", role.user().to_owned()),
        ("NATS__PASSWORD_FILE", file(role.user(), &role.password())?),
        ("NATS__INBOX_PREFIX", role.inbox().to_owned()),
        ("REDIS__URLS__0", redis.to_owned()),
        ("REDIS__PASSWORD_FILE", file("redis", REDIS_PASSWORD)?),
        ("BOTS__0__SECRET_FILE", file("bot", SECRET)?),
        ("BOTS__0__SHARDS", "1".to_owned()),
        ("PLATFORM__PROFILE", "custom".to_owned()),
        ("PLATFORM__TOKEN_URL", platform.to_owned()),
        ("PLATFORM__API_URL", platform.to_owned()),
    ];
    Ok(named.map(|(name, value)| (format!("QQRELAY_{name}"), value)).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_configuration_makes_a_relay_whose_consumer_answers() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let nats = Server::start().await?;
    let redis = RedisServer::start(&format!("requirepass {REDIS_PASSWORD}")).await?;
    let apps = vec![AppConfig::new(APP, SECRET)];
    let platform = Simulator::start(PlatformConfig { apps, ..PlatformConfig::default() }).await?;
    let gateway = process(Role::Gateway, &folder, &nats, &redis, &platform).await?;
    let _worker = process(Role::Worker, &folder, &nats, &redis, &platform).await?;
    eventually("the session is live", async || {
        let shards = gateway.shards().await.ok()?;
        (shards.len() == 1 && shards[0]["phase"] == "live").then_some(())
    })
    .await?;

    // A program of somebody's: it answers events, and asks for a message.
    let consumer = nats.connect(Role::Consumer).await?;
    let mut events = consumer.subscribe("qq.handler.mine").await?;
    consumer.flush().await?;
    platform.inject(APP, &Injection::c2c("user", "ping"))?;
    let event = events.next().await.context("an event")?;
    let answer = event.reply.context("it wants an answer")?;
    consumer.publish(answer, r#"{"reply": "pong"}"#.into()).await?;
    let sent = |text: &'static str| {
        let journal = platform.journal().all();
        journal.into_iter().any(|line| {
            matches!(line.entry, Entry::Rest { applied: true, sent: Some(sent), .. }
                if sent.content == text)
        })
    };
    eventually("the reply is shown", async || sent("pong").then_some(())).await?;

    let place = Scope::new(Scene::C2c, "user");
    let command = Command::send("mine-1".into(), APP.into(), place, Content::Text("hello".into()));
    let mut headers = HeaderMap::new();
    headers.insert("Qq-Wait", "30");
    let body = serde_json::to_vec(&command)?.into();
    let asked =
        consumer.request_with_headers(format!("qq.v1.rpc.{APP}.send"), headers, body).await?;
    let record: ResultRecord = serde_json::from_slice(&asked.payload)
        .with_context(|| format!("{asked:?} is no outcome"))?;
    ensure!(matches!(record.news, News::Outcome(_)), "{record:?}");
    ensure!(sent("hello"), "it was said to be sent");
    Ok(())
}

async fn process(
    role: Role,
    folder: &TempDir,
    nats: &Server,
    redis: &RedisServer,
    platform: &Simulator,
) -> anyhow::Result<Relay> {
    let (folder, base) = (folder.path(), platform.base_url());
    let env = environment(role, folder, &nats.url(), &redis.url(), &base)?;
    let output = folder.join(format!("{}.log", role.user()));
    let config = tree().join("deploy/qqrelay.toml");
    Relay::start(Start { role: role.user(), config: &config, env: &env, output }).await
}

/// Where secrets are in a container or service, so that nothing else is wrong.
#[test]
fn the_shipped_configuration_is_in_order() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for role in [Role::Gateway, Role::Worker] {
        let env = environment(role, folder.path(), "nats://nats:4222", "redis://redis:6379", "")?;
        let env = env.into_iter().filter(|(name, _)| !name.contains("PLATFORM"));
        let loaded = config::load(Some(&tree().join("deploy/qqrelay.toml")), env)
            .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        ensure!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        ensure!(loaded.config.layout().partitions == 3, "nats.conf has room for three");
    }
    Ok(())
}

/// As systemd reads them, where there is one; the binary is not installed here.
#[test]
fn the_units_are_ones_that_systemd_takes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for role in ["gateway", "worker", "standalone"] {
        let name = format!("qqrelay-{role}.service");
        let unit = fs::read_to_string(tree().join("deploy/systemd").join(&name))?;
        let start = format!("/usr/local/bin/qqrelay {role} --config ");
        ensure!(unit.matches(&start).count() == 1, "{name} starts something else");
        let here = unit.replace("/usr/local/bin/qqrelay", "/bin/true");
        fs::write(folder.path().join(&name), here)?;
        let verified = std::process::Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(folder.path().join(&name))
            .output();
        let Ok(verified) = verified else { continue };
        let said = String::from_utf8_lossy(&verified.stderr);
        ensure!(verified.status.success() && !said.contains(&name), "{said}");
    }
    Ok(())
}
