//! A nats-server with the configuration that is shipped, in a folder and on a port of its own.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use async_nats::{Client, ConnectOptions};
use qqrelay_runtime::bus::Layout;
use qqrelay_runtime::bus::conformance::LAYOUT;
use qqrelay_runtime::bus::embedded::Limits;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config::Nats;
use qqrelay_tests::servers::nats::NatsServer;
use qqrelay_tests::servers::program;
use tempfile::TempDir;

/// How long a record may go unanswered.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Who connects, as `deploy/nats.conf` knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    Worker,
    Consumer,
    Admin,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Gateway, Self::Worker, Self::Consumer, Self::Admin];

    pub(crate) const fn user(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Consumer => "consumer",
            Self::Admin => "admin",
        }
    }

    /// Where it may get answers.
    pub(crate) const fn inbox(self) -> &'static str {
        match self {
            Self::Gateway => "_INBOX_qqgw",
            Self::Worker => "_INBOX_qqwk",
            Self::Consumer => "_INBOX_qqco",
            Self::Admin => "_INBOX_qqad",
        }
    }

    pub(crate) fn password(self) -> String {
        format!("password-of-{}", self.user())
    }
}

/// A server that runs. Dropping it kills it.
pub(crate) struct Server {
    nats: NatsServer,
    secrets: TempDir,
}

impl Server {
    /// Starts a server with `deploy/nats.conf`; only where it listens and stores is otherwise.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let shipped = fs::read_to_string(tree().join("deploy/nats.conf"))?;
        let nats = NatsServer::start_with(|home| here(&shipped, home), passwords().into()).await?;
        Ok(Self { nats, secrets: tempfile::tempdir()? })
    }

    /// Kills it and starts it again over what it had stored.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.nats.restart().await
    }

    pub(crate) fn url(&self) -> String {
        self.nats.url()
    }

    pub(crate) async fn connect(&self, role: Role) -> anyhow::Result<Client> {
        let options = ConnectOptions::with_user_and_password(role.user().into(), role.password());
        Ok(options.custom_inbox_prefix(role.inbox()).connect(self.url()).await?)
    }

    /// The relay's own bus, as this role.
    pub(crate) async fn bus(&self, role: Role) -> anyhow::Result<NatsBus> {
        self.bus_of(role, LAYOUT).await
    }

    /// The same, over a log that was made with another layout than the suites'.
    pub(crate) async fn bus_of(&self, role: Role, layout: Layout) -> anyhow::Result<NatsBus> {
        let password_file = self.secrets.path().join(role.user());
        fs::write(&password_file, role.password())?;
        let nats = Nats {
            urls: vec![self.url()],
            inbox_prefix: role.inbox().to_owned(),
            user: Some(role.user().to_owned()),
            password_file: Some(password_file),
            ..Nats::default()
        };
        Ok(NatsBus::connect(&nats, role.user(), layout, &Limits::default(), ANSWER_WITHIN).await?)
    }
}

/// The root of this repository.
pub(crate) fn tree() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The variables that `deploy/nats.conf` reads.
fn passwords() -> [(String, String); 4] {
    Role::ALL.map(|role| (variable(role), role.password()))
}

pub(crate) fn variable(role: Role) -> String {
    format!("QQ_{}_PASSWORD", role.user().to_uppercase())
}

/// A look at the shipped configuration, with the roles' passwords.
fn look() -> Command {
    let mut command = Command::new(program("nats-server"));
    command.arg("--config").arg(tree().join("deploy/nats.conf")).arg("-t").envs(passwords());
    command
}

/// The configuration with ports that the kernel gives and this folder. What it replaces has to be
/// there once, so that nothing of the machine's is touched.
fn here(shipped: &str, folder: &Path) -> anyhow::Result<String> {
    let data = format!("store_dir: {:?}", folder.join("data"));
    let mut own = shipped.to_owned();
    for (theirs, ours) in [
        ("store_dir: /data", data.as_str()),
        ("http: \"127.0.0.1:8222\"", "http: \"127.0.0.1:-1\""),
    ] {
        ensure!(own.matches(theirs).count() == 1, "deploy/nats.conf: {theirs} is not there once");
        own = own.replace(theirs, ours);
    }
    Ok(own)
}

#[test]
fn the_shipped_configuration_is_one_that_the_server_takes_whole() {
    let check = look().output().expect("nats-server");
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

#[test]
fn a_password_that_is_missing_is_named() {
    for role in Role::ALL {
        let name: OsString = variable(role).into();
        let check = look().env_remove(&name).output().expect("nats-server");
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(!check.status.success());
        assert!(said.contains(&*name.to_string_lossy()), "{said}");
    }
}
