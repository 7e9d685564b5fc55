//! A gateway and a worker with the configuration that is shipped, each as its role, on a nats-server
//! with the shipped permissions, and with a platform of their own.

use std::fs;
use std::path::Path;

use qqrelay_simulator::{AppConfig, Config as PlatformConfig, Simulator};
use qqrelay_tests::process::{Relay, Start};
use qqrelay_tests::servers::redis::RedisServer;
use qqrelay_tests::wait::eventually;
use tempfile::TempDir;

use crate::server::{Role, Server, tree};

/// The bot of the shipped configuration.
pub(crate) const APP: &str = "102000001";
const REDIS_PASSWORD: &str = "password-of-redis";

/// What runs. Dropping it kills it.
pub(crate) struct Deployment {
    pub(crate) nats: Server,
    pub(crate) platform: Simulator,
    pub(crate) folder: TempDir,
    redis: RedisServer,
    gateway: Option<Relay>,
    worker: Option<Relay>,
}

impl Deployment {
    /// Starts everything, with one shard for the shipped bot and for each of these, and these
    /// variables besides.
    pub(crate) async fn start(more: &[&str], besides: &[(&str, &str)]) -> anyhow::Result<Self> {
        let bots = [&[APP], more].concat();
        let apps = bots.iter().map(|app| AppConfig::new(*app, secret(app))).collect();
        let platform = PlatformConfig { apps, ..PlatformConfig::default() };
        let mut deployment = Self {
            nats: Server::start().await?,
            platform: Simulator::start(platform).await?,
            folder: tempfile::tempdir()?,
            redis: RedisServer::start(&format!("requirepass {REDIS_PASSWORD}")).await?,
            gateway: None,
            worker: None,
        };
        deployment.gateway = Some(deployment.process(Role::Gateway, &bots, besides).await?);
        deployment.worker = Some(deployment.process(Role::Worker, &bots, besides).await?);
        eventually("each session is live", async || {
            let shards = deployment.gateway.as_ref()?.shards().await.ok()?;
            let live = shards.iter().filter(|shard| shard["phase"] == "live").count();
            (live == bots.len()).then_some(())
        })
        .await?;
        Ok(deployment)
    }

    async fn process(
        &self,
        role: Role,
        bots: &[&str],
        besides: &[(&str, &str)],
    ) -> anyhow::Result<Relay> {
        let folder = self.folder.path();
        let (nats, redis) = (self.nats.url(), self.redis.url());
        let mut env = environment(role, folder, &nats, &redis, bots)?;
        let platform = self.platform.base_url();
        for (name, value) in [
            ("PLATFORM__PROFILE", "custom"),
            ("PLATFORM__TOKEN_URL", &platform),
            ("PLATFORM__API_URL", &platform),
        ]
        .iter()
        .chain(besides)
        {
            env.push((format!("QQRELAY_{name}"), (*value).to_owned()));
        }
        let output = folder.join(format!("{}.log", role.user()));
        let config = tree().join("deploy/qqrelay.toml");
        Relay::start(Start { role: role.user(), config: &config, env: &env, output, under: &[] })
            .await
    }

    /// How often the platform has shown this text.
    pub(crate) fn shown(&self, text: &str) -> usize {
        self.platform.journal().shown().iter().filter(|sent| sent.content == text).count()
    }
}

fn secret(app: &str) -> String {
    format!("the-secret-of-{app}")
}

/// What is on a machine and not in the file.
pub(crate) fn environment(
    role: Role,
    folder: &Path,
    nats: &str,
    redis: &str,
    bots: &[&str],
) -> anyhow::Result<Vec<(String, String)>> {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map(|()| path.display().to_string())
    };
    let mut named = vec![
        ("ADMIN__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("NATS__URLS__0".to_owned(), nats.to_owned()),
        ("NATS__USER".to_owned(), role.user().to_owned()),
        ("NATS__PASSWORD_FILE".to_owned(), file(role.user(), &role.password())?),
        ("NATS__INBOX_PREFIX".to_owned(), role.inbox().to_owned()),
        ("REDIS__URLS__0".to_owned(), redis.to_owned()),
        ("REDIS__PASSWORD_FILE".to_owned(), file("redis", REDIS_PASSWORD)?),
    ];
    for (number, app) in bots.iter().enumerate() {
        let of_it = |member: &str, value: String| (format!("BOTS__{number}__{member}"), value);
        named.push(of_it("APP_ID", (*app).to_owned()));
        named.push(of_it("SECRET_FILE", file(&format!("bot-{app}"), &secret(app))?));
        named.push(of_it("SHARDS", "1".to_owned()));
    }
    Ok(named.into_iter().map(|(name, value)| (format!("QQRELAY_{name}"), value)).collect())
}
