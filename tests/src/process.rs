//! The relay's binary as a child process: started, asked, stopped and killed by its id.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::edges::Edges;
use crate::wait::{PATIENCE, within};

/// The variable that names a binary to be tested in place of one built here.
pub const BIN: &str = "QQRELAY_BIN";

/// The profile that it is built under for tests, as the workspace has it. A benchmark of a release
/// build measures one.
const PROFILE: &str = "suites";

/// A relay that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    /// Where its admin port is.
    pub admin: SocketAddr,
    /// The proxies that are its own.
    pub edges: Edges,
}

/// The binary, built once by the first who asks, into the folder of the test that asks.
///
/// # Errors
///
/// It cannot be built.
pub fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BINARY.get_or_init(|| match env::var_os(BIN) {
        Some(path) => Ok(path.into()),
        None => built("qqrelay").map_err(|error| format!("{error:#}")),
    });
    found.as_deref().map_err(|error| anyhow::anyhow!("no binary: {error}"))
}

/// The binary of a package of this workspace that has its name, built into the folder of the test
/// that asks.
///
/// # Errors
///
/// It cannot be built.
pub fn built(package: &str) -> anyhow::Result<PathBuf> {
    let asking = env::current_exe()?;
    // <target>/<profile>/deps/<test>, or <target>/<profile>/<program>
    let folder = asking.parent().context("no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let folder = folder.context("a test that cargo has not built")?;
    let target = folder.parent().context("a test that cargo has not built")?;
    let profile = if folder.ends_with("release") { "release" } else { PROFILE };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo says of this test's package is no part of the other's build: a build script that looks
    // at it, such as ring's, would run again and with it all that stands on it.
    withhold(&mut cargo, ["CARGO_PKG_", "CARGO_MANIFEST_"]);
    let status = cargo
        .args(["build", "--quiet", "--profile", profile, "--package", package, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .context("cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(target.join(profile).join(package))
}

/// How a process is started.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// What it is: `standalone`, `gateway` or `worker`.
    pub role: &'static str,
    /// Its configuration.
    pub config: &'a Path,
    /// What its environment says beside that, such as `QQRELAY_LOG__MAX_AGE`.
    pub env: &'a [(String, String)],
    /// The file that gets all it says.
    pub output: PathBuf,
    /// The command that runs it, such as `valgrind`; empty where it runs by itself.
    pub under: &'a [String],
}

impl Relay {
    /// Starts a process and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It ended before it was ready, or was not in time; what it said is in the error.
    pub async fn start(start: Start<'_>) -> anyhow::Result<Self> {
        let mut child = spawn(&start)?;
        let ready = within(PATIENCE, "the relay is ready", async || {
            let ended = child.try_wait().ok().flatten();
            let said = fs::read_to_string(&start.output).unwrap_or_default();
            let ready = said.lines().find_map(admin).map(Ok);
            ready.or_else(|| ended.map(|status| Err((status, said))))
        });
        match ready.await? {
            Ok(admin) => Ok(Self { child, admin, edges: Edges::default() }),
            Err((status, said)) => bail!("the relay ended with {status}:\n{said}"),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its admin port answers.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        Ok(ask(self.admin, path).await?.error_for_status()?.text().await?)
    }

    /// Its series that begin like this, each a line with its value at the end.
    ///
    /// # Errors
    ///
    /// It does not say.
    pub async fn lines(&self, begin: &str) -> anyhow::Result<Vec<String>> {
        let metrics = self.get("/metrics").await?;
        Ok(metrics.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect())
    }

    /// The values of its series that begin like this.
    ///
    /// # Errors
    ///
    /// It does not say, or says what is no number.
    pub async fn series(&self, begin: &str) -> anyhow::Result<Vec<f64>> {
        let value = |line: String| Ok(line.rsplit(' ').next().unwrap_or_default().parse()?);
        self.lines(begin).await?.into_iter().map(value).collect()
    }

    /// What its shards are doing, as it says itself.
    ///
    /// # Errors
    ///
    /// It does not say so.
    pub async fn shards(&self) -> anyhow::Result<Vec<Value>> {
        let mut listing: Value = serde_json::from_str(&self.get("/v1/shards").await?)?;
        Ok(serde_json::from_value(listing["shards"].take())?)
    }

    /// Stops it where it stands, as `kill -STOP` does.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    pub fn stand_still(&self) -> anyhow::Result<()> {
        signal(&self.child, "STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    pub fn go_on(&self) -> anyhow::Result<()> {
        signal(&self.child, "CONT")
    }

    /// Ends it where it stands, as `kill -9` does.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    ///
    /// # Errors
    ///
    /// It has not ended within `limit`.
    pub async fn terminate(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        signal(&self.child, "TERM").context("the relay")?;
        within(limit, "the relay ends", async || self.child.try_wait().ok().flatten()).await
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // One that has ended already is no reason to complain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process answers on its admin port, whatever its status.
///
/// # Errors
///
/// It does not answer.
pub async fn ask(admin: SocketAddr, path: &str) -> anyhow::Result<reqwest::Response> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    Ok(http.get(format!("http://{admin}{path}")).send().await?)
}

/// Sends a signal by the shell's own `kill`: there is no other way without unsafe code, and one is
/// everywhere.
pub(crate) fn signal(child: &Child, name: &str) -> anyhow::Result<()> {
    let id = child.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &id]).status()?;
    ensure!(sent.success(), "it has ended by itself");
    Ok(())
}

/// Keeps the variables of ours that begin so from a process.
fn withhold(command: &mut Command, beginnings: [&str; 2]) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if beginnings.iter().any(|begin| text.starts_with(begin)) {
            command.env_remove(&name);
        }
    }
}

fn spawn(start: &Start<'_>) -> anyhow::Result<Child> {
    let Start { role, config, env, output, under } = start;
    let file = File::create(output).context("the relay's output")?;
    let mut command = match under.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary()?);
            command
        }
        None => Command::new(binary()?),
    };
    withhold(&mut command, ["QQRELAY_", "OTEL_"]);
    command
        .args([role, "--config"])
        .arg(config)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file)
        .spawn()
        .context("the relay")
}

/// The address in the line that says "ready".
fn admin(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["msg"] == "ready").then(|| line["admin"].as_str()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_ready_names_the_admin_port() {
        let line = r#"{"level":"INFO","msg":"ready","role":"standalone","admin":"127.0.0.1:9"}"#;
        assert_eq!(admin(line), Some(([127, 0, 0, 1], 9).into()));
        assert_eq!(admin(&line.replace("ready", "drained")), None);
        assert_eq!(admin("ready"), None);
    }
}
