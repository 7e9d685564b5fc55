//! nats-server: one, or a cluster of three, with JetStream in a directory of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use tempfile::TempDir;

use super::{free_port, program, seen_within};
use crate::process::signal;

/// How long a server may take to listen; a busy machine starts many at once.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A server that runs. Dropping it kills it and removes what it stored.
#[derive(Debug)]
pub struct NatsServer {
    home: TempDir,
    child: Child,
    env: Vec<(String, String)>,
    /// The port that clients connect to; it stays the same over restarts.
    pub port: u16,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Who may connect: everybody, where nothing else is said.
    pub accounts: String,
    /// More of the configuration file: TLS, limits.
    pub config: String,
    /// More for the block `jetstream`.
    pub jetstream: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self::with_accounts("")
    }
}

impl Setup {
    /// With accounts beside the system's, each `NAME { … }`.
    #[must_use]
    pub fn with_accounts(accounts: &str) -> Self {
        let system = "SYS { users: [ {user: sys, password: sys} ] }";
        Self {
            accounts: format!("system_account: SYS\naccounts {{ {system}\n{accounts}\n}}"),
            config: String::new(),
            jetstream: String::new(),
        }
    }
}

/// Waits until the server has read all that this client said before, which its `flush` does not
/// promise: the server reads a connection in order, and so it has when it gives back what was said
/// last.
///
/// # Errors
///
/// The connection ended.
pub async fn heard(client: &Client) -> anyhow::Result<()> {
    let own = client.new_inbox();
    let mut back = client.subscribe(own.clone()).await?;
    client.publish(own, Bytes::new()).await?;
    back.next().await.context("the connection ended")?;
    Ok(())
}

impl NatsServer {
    /// Starts one server.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen in time; the end of its log is in the text.
    pub async fn start(setup: &Setup) -> anyhow::Result<Self> {
        Self::start_named("n1", setup).await
    }

    async fn start_named(name: &str, setup: &Setup) -> anyhow::Result<Self> {
        let Setup { accounts, config, jetstream } = setup;
        // The largest file store is what all streams may reserve together, not what is written.
        let text = |home: &Path| {
            let store = home.join("store");
            Ok(format!(
                "server_name: {name}\n\
                 jetstream {{ store_dir: {store:?}, max_mem: 256MB, max_file: 1TB\n{jetstream}\n}}\n\
                 {accounts}\n{config}\n",
            ))
        };
        Self::start_with(text, Vec::new()).await
    }

    /// Starts one server with a configuration file of its own, made for the directory that it gets,
    /// and with these variables. Where it listens is not for the file to say.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen in time; the end of its log is in the text.
    pub async fn start_with(
        text: impl FnOnce(&Path) -> anyhow::Result<String>,
        env: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let text = format!("{}\nports_file_dir: {:?}\n", text(home.path())?, home.path());
        fs::write(home.path().join("nats.conf"), text)?;
        let child = run(home.path(), None, &env)?;
        let mut server = Self { home, child, env, port: 0 };
        server.port = server.wait_for_port().await?;
        Ok(server)
    }

    /// `nats://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would end it: nothing is said, nothing is written out.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it stand still, sockets open, until [`NatsServer::go_on`].
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn stand_still(&self) -> anyhow::Result<()> {
        signal(&self.child, "STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn go_on(&self) -> anyhow::Result<()> {
        signal(&self.child, "CONT")
    }

    /// Starts it again over what it had stored, on the same port.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        for stale in ports_files(self.home.path()) {
            fs::remove_file(stale)?;
        }
        self.child = run(self.home.path(), Some(self.port), &self.env)?;
        self.wait_for_port().await?;
        Ok(())
    }

    /// Waits until it has written down where it listens.
    async fn wait_for_port(&mut self) -> anyhow::Result<u16> {
        #[derive(Deserialize)]
        struct Ports {
            nats: Vec<String>,
        }
        let (home, child) = (self.home.path(), &mut self.child);
        let found = seen_within(START_WITHIN, "nats-server listens", || {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Err(status));
            }
            let text = fs::read(ports_files(home).next()?).ok()?;
            let ports: Ports = serde_json::from_slice(&text).ok()?;
            ports.nats.first()?.rsplit_once(':')?.1.parse().ok().map(Ok)
        })
        .await;
        match found {
            Ok(Ok(port)) => Ok(port),
            Ok(Err(status)) => bail!("nats-server has ended: {status}\n{}", self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(home: &Path, port: Option<u16>, env: &[(String, String)]) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(home.join("log"))?;
    Command::new(program("nats-server"))
        .args(["--addr", "127.0.0.1", "--port"])
        .arg(port.map_or_else(|| "-1".to_owned(), |port| port.to_string()))
        .arg("--config")
        .arg(home.join("nats.conf"))
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("nats-server, which tests/servers/install installs")
}

fn ports_files(home: &Path) -> impl Iterator<Item = PathBuf> {
    let files =
        fs::read_dir(home).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "ports"))
}

/// Three servers that keep each other's streams.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers, `n1` to `n3`.
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers that know each other.
    ///
    /// # Errors
    ///
    /// One of them does not start.
    pub async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let mut servers = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let mut setup = setup.clone();
            write!(
                setup.config,
                "\ncluster {{ name: qq, listen: \"127.0.0.1:{port}\", routes: [ {routes} ], \
                 no_advertise: true }}\n"
            )?;
            servers.push(NatsServer::start_named(&format!("n{}", number + 1), &setup).await?);
        }
        Ok(Self { servers })
    }

    /// The servers' addresses.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The server with this name, `n2`.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn server(&mut self, name: &str) -> &mut NatsServer {
        let number = name.strip_prefix('n').and_then(|number| number.parse::<usize>().ok());
        let index = number.and_then(|number| number.checked_sub(1)).expect("a server's name");
        &mut self.servers[index]
    }
}
