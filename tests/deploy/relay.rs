//! A gateway and a worker with the configuration that is shipped, each as its role, on a nats-server
//! with the shipped permissions; and a program of somebody's, as a consumer.

use std::fs;

use anyhow::{Context as _, ensure};
use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use qqrelay_proto::command::{Command, Content};
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::outcome::{News, ResultRecord};
use qqrelay_runtime::config;
use qqrelay_simulator::Injection;
use qqrelay_tests::wait::eventually;

use crate::deployment::{APP, Deployment, environment};
use crate::server::{Role, tree};

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_configuration_makes_a_relay_whose_consumer_answers() -> anyhow::Result<()> {
    let deployment = Deployment::start(&[], &[]).await?;

    // A program of somebody's: it answers events, and asks for a message.
    let consumer = deployment.nats.connect(Role::Consumer).await?;
    let mut events = consumer.subscribe("qq.handler.mine").await?;
    consumer.flush().await?;
    deployment.platform.inject(APP, &Injection::c2c("user", "ping"))?;
    let event = events.next().await.context("an event")?;
    let answer = event.reply.context("it wants an answer")?;
    consumer.publish(answer, r#"{"reply": "pong"}"#.into()).await?;
    eventually("the reply is shown", async || (deployment.shown("pong") == 1).then_some(()))
        .await?;

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
    ensure!(deployment.shown("hello") == 1, "it was said to be sent");
    Ok(())
}

/// Where secrets are in a container or service, so that nothing else is wrong.
#[test]
fn the_shipped_configuration_is_in_order() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for role in [Role::Gateway, Role::Worker] {
        let env =
            environment(role, folder.path(), "nats://nats:4222", "redis://redis:6379", &[APP])?;
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
