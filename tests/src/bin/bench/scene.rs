//! What every measurement stands on: a platform in this process, servers, and a process that is
//! measured.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use qqrelay_simulator::{AppConfig, Config, Simulator};
use qqrelay_tests::cluster::{self, Bot, Servers};
use qqrelay_tests::process::{Relay, Start};
use qqrelay_tests::wait::within;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const APP: &str = "102000001";

/// For two thousand handshakes, on a machine that may be slow.
pub(crate) const LIVE_WITHIN: Duration = Duration::from_secs(120);

/// A platform of so many sessions.
pub(crate) async fn platform(sessions: u16, platform: Config) -> anyhow::Result<Simulator> {
    let bot = Bot::new(APP, sessions);
    let mut platform = Config { apps: vec![AppConfig::new(APP, bot.secret())], ..platform };
    platform.gateway.max_concurrency = u32::from(sessions);
    platform.gateway.identifies_a_day = u32::from(sessions) * 10;
    Ok(Simulator::start(platform).await?)
}

/// A client of the platform's, for what is no part of the relay.
pub(crate) fn http() -> anyhow::Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// An access token of the bot's.
pub(crate) async fn token(
    http: &reqwest::Client,
    platform: &str,
    secret: &str,
) -> anyhow::Result<String> {
    let asked = http
        .post(format!("{platform}/app/getAppAccessToken"))
        .header("content-type", "application/json")
        .body(json!({"appId": APP, "clientSecret": secret}).to_string());
    let answer: Value = serde_json::from_str(&asked.send().await?.text().await?)?;
    Ok(answer["access_token"].as_str().context("no token")?.to_owned())
}

/// A process of the relay, with a folder of its own.
pub(crate) struct Measured {
    pub(crate) relay: Relay,
    _folder: TempDir,
}

impl Measured {
    /// Starts a process of this role, on servers or on a file.
    pub(crate) async fn start(
        role: &'static str,
        sessions: u16,
        platform: &Simulator,
        servers: Option<&Servers>,
        more: &str,
    ) -> anyhow::Result<Self> {
        Self::start_under(&[], role, sessions, platform, servers, more).await
    }

    /// Starts one that this command runs.
    pub(crate) async fn start_under(
        under: &[String],
        role: &'static str,
        sessions: u16,
        platform: &Simulator,
        servers: Option<&Servers>,
        more: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| -> PathBuf { folder.path().join(name) };
        let servers = servers.map(Servers::sections).unwrap_or_default();
        let bot = Bot::new(APP, sessions);
        let config = cluster::config(&platform.base_url(), &[bot]);
        fs::write(file("qqrelay.toml"), format!("{servers}{more}{config}"))?;
        let env = [
            ("QQRELAY_EMBEDDED__PATH", file("log.redb").display().to_string()),
            ("QQRELAY_WORKER__HANDLER", "none".to_owned()),
            ("QQRELAY_TELEMETRY__LOG", "warn,qqrelay=info".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value));
        let (config, output) = (&file("qqrelay.toml"), file("relay.log"));
        let relay = Relay::start(Start { role, config, env: &env, output, under }).await?;
        Ok(Self { relay, _folder: folder })
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn end(self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.relay.terminate(within).await
    }

    /// Waits until so many sessions are live.
    pub(crate) async fn live(&self, sessions: u16) -> anyhow::Result<()> {
        within(LIVE_WITHIN, "every session is live", async || {
            let shards = self.relay.shards().await.ok()?;
            let live = shards.iter().filter(|shard| shard["phase"] == "live").count();
            (live == usize::from(sessions)).then_some(())
        })
        .await
    }

    /// A series of the process's without labels.
    pub(crate) async fn count(&self, series: &str) -> anyhow::Result<f64> {
        let values = self.relay.series(&format!("{series} ")).await?;
        values.first().copied().with_context(|| format!("no {series}"))
    }
}
