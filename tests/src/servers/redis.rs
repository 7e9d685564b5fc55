//! redis-server: one, a cluster of three, or one that a sentinel watches, each in a directory of its
//! own and with a clock that a test can move.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use redis::{FromRedisValue, Value};
use tempfile::TempDir;

use super::{free_port, program, seen_within};
use crate::process::signal;

/// How long a server may take to listen; a busy machine starts many at once.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A port that was free a moment ago may be another's now.
const PORTS_TRIED: usize = 5;

/// A server that runs. Dropping it kills it and removes what it stored.
#[derive(Debug)]
pub struct RedisServer {
    home: TempDir,
    child: Child,
    role: Role,
    /// The port that clients connect to; it stays the same over restarts.
    pub port: u16,
    ahead_us: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Sentinel,
}

impl RedisServer {
    /// Starts one server, which writes everything down before it answers. `config` is more of its
    /// configuration file.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen in time; the end of its log is in the text.
    pub async fn start(config: &str) -> anyhow::Result<Self> {
        Self::start_as(Role::Server, config).await
    }

    /// Starts one server that speaks TLS on the port that is given beside it.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub async fn start_with_tls(config: &str) -> anyhow::Result<(Self, u16)> {
        let port = free_port()?;
        Ok((Self::start(&format!("tls-port {port}\n{config}")).await?, port))
    }

    async fn start_as(role: Role, config: &str) -> anyhow::Result<Self> {
        let mut tried = 0;
        loop {
            let home = tempfile::tempdir()?;
            let port = free_port()?;
            let text = format!(
                "bind 127.0.0.1\nport {port}\ndir {}\nsave \"\"\n{config}\n{}",
                home.path().display(),
                if role == Role::Server { "appendonly yes\nappendfsync always\n" } else { "" },
            );
            fs::write(home.path().join("redis.conf"), text)?;
            File::create(home.path().join("clock"))?.write_all_at(&0_i64.to_le_bytes(), 0)?;
            let child = run(home.path(), role)?;
            let mut server = Self { home, child, role, port, ahead_us: 0 };
            match server.wait_until_it_listens().await {
                Ok(()) => return Ok(server),
                Err(_) if tried < PORTS_TRIED && server.log().contains("in use") => tried += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// `redis://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would end it.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again over what it had stored, on the same port.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.child = run(self.home.path(), self.role)?;
        self.wait_until_it_listens().await
    }

    /// Lets it stand still, sockets open, until [`RedisServer::go_on`].
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

    /// Moves its clock forward, or back.
    ///
    /// # Errors
    ///
    /// The file of its clock cannot be written.
    pub fn move_clock(&mut self, by_us: i64) -> anyhow::Result<()> {
        self.ahead_us += by_us;
        let file = File::options().write(true).open(self.home.path().join("clock"))?;
        Ok(file.write_all_at(&self.ahead_us.to_le_bytes(), 0)?)
    }

    /// One command, and its answer.
    ///
    /// # Errors
    ///
    /// It does not answer, refuses, or answers something else.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> anyhow::Result<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        let (name, rest) = words.split_first().context("a command")?;
        Ok(redis::cmd(name).arg(rest).query(&mut connection)?)
    }

    async fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let found = seen_within(START_WITHIN, "redis-server listens", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(status));
            }
            match self.command::<Value>(&["PING"]) {
                Ok(_) => Some(Ok(())),
                // Somebody answers who wants more of us than this.
                Err(error) if error.to_string().contains("NOAUTH") => Some(Ok(())),
                Err(_) => None,
            }
        });
        match found.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("redis-server has ended: {status}\n{}", self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(home: &Path, role: Role) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(home.join("log"))?;
    let mut command = Command::new(program("redis-server"));
    command.arg(home.join("redis.conf"));
    if role == Role::Sentinel {
        command.arg("--sentinel");
    }
    command
        .env("LD_PRELOAD", clock()?)
        .env("QQ_CLOCK", home.join("clock"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("redis-server, which is a package of the same name")
}

/// The library that moves a server's clock, compiled by the first who asks.
fn clock() -> anyhow::Result<&'static Path> {
    static CLOCK: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = CLOCK.get_or_init(|| compile_clock().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow::anyhow!("no clock for servers: {error}"))
}

fn compile_clock() -> anyhow::Result<PathBuf> {
    // Beside the test, and under a name that no other process writes.
    let test = env::current_exe()?;
    let library = test.with_extension(format!("clock-{}.so", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/servers/clock.c");
    let status = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status()
        .context("cc")?;
    ensure!(status.success(), "cc: {status}");
    Ok(library)
}

/// Three servers that share the keys.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers.
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts three servers and gives each a third of the slots.
    ///
    /// # Errors
    ///
    /// One of them does not start, or they do not agree in time.
    pub async fn start() -> anyhow::Result<Self> {
        const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let mut servers = Vec::new();
        for (from, to) in SLOTS {
            // The port of the bus is 10,000 above the other unless it is said; many are that high.
            let bus = free_port()?;
            let config = format!("cluster-enabled yes\ncluster-port {bus}\n");
            let server = RedisServer::start(&config).await?;
            server.command::<Value>(&["CLUSTER", "ADDSLOTSRANGE", from, to])?;
            servers.push((server, bus));
        }
        let [(first, _), others @ ..] = &servers[..] else { bail!("three servers") };
        for (other, bus) in others {
            let (port, bus) = (other.port.to_string(), bus.to_string());
            first.command::<Value>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        seen_within(START_WITHIN, "the servers agree", || {
            let agrees = |(server, _): &(RedisServer, u16)| {
                let told: anyhow::Result<String> = server.command(&["CLUSTER", "INFO"]);
                told.is_ok_and(|told| {
                    told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3")
                })
            };
            servers.iter().all(agrees).then_some(())
        })
        .await?;
        Ok(Self { servers: servers.into_iter().map(|(server, _)| server).collect() })
    }

    /// The servers' addresses.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(RedisServer::url).collect()
    }
}

/// What the sentinel calls the server that it watches.
pub const MASTER: &str = "qq";

/// A server, its replica, and a sentinel that watches both.
#[derive(Debug)]
pub struct RedisWatched {
    /// The first master.
    pub master: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    /// Who watches.
    pub sentinel: RedisServer,
}

impl RedisWatched {
    /// Starts the three.
    ///
    /// # Errors
    ///
    /// One of them does not start, or the sentinel does not see the replica in time.
    pub async fn start() -> anyhow::Result<Self> {
        let master = RedisServer::start("repl-diskless-sync-delay 0").await?;
        let replica = RedisServer::start(&format!("replicaof 127.0.0.1 {}", master.port)).await?;
        let config = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {MASTER} \
             1000\nsentinel failover-timeout {MASTER} 5000\n",
            master.port
        );
        let sentinel = RedisServer::start_as(Role::Sentinel, &config).await?;
        let watched = Self { master, replica, sentinel };
        seen_within(START_WITHIN, "the sentinel sees the replica", || {
            let in_step: String = watched.replica.command(&["INFO", "replication"]).ok()?;
            let known: Vec<Value> =
                watched.sentinel.command(&["SENTINEL", "replicas", MASTER]).ok()?;
            (in_step.contains("master_link_status:up") && !known.is_empty()).then_some(())
        })
        .await?;
        Ok(watched)
    }
}
