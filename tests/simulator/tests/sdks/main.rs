//! The official SDKs, changed in nothing but the address, from READY over a reply and op 7 to
//! RESUMED and the next reply.
//!
//! They are installed by `tests/simulator/sdk/install` and are run with `--features sdks`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use qqrelay_simulator::journal::Entry;
use qqrelay_simulator::{Action, AppConfig, Config, Injection, Simulator, Target};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const APP: &str = "102000001";
const SECRET: &str = "secret-of-the-first-bot";
/// The slowest SDK waits five seconds before it connects again.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// A platform and an SDK's bot in a process of its own.
struct Run {
    simulator: Simulator,
    bot: Child,
}

impl Run {
    async fn start(program: &str, script: &str) -> Self {
        let config = Config { apps: vec![AppConfig::new(APP, SECRET)], ..Config::default() };
        let simulator = Simulator::start(config).await.unwrap();
        let crate_root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let sdks = crate_root.join("../../target/sdks");
        assert!(
            sdks.join("node_modules").exists() && sdks.join("python").exists(),
            "the SDKs are not installed: run tests/simulator/sdk/install"
        );
        let program =
            if program == "python" { sdks.join("python/bin/python") } else { program.into() };
        let mut command = Command::new(program);
        command
            .arg(crate_root.join("sdk").join(script))
            .env("SIM_BASE", simulator.base_url())
            .env("SIM_APP", APP)
            .env("SIM_SECRET", SECRET)
            .env("SIM_SDKS", &sdks)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "wss_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        let bot = command.spawn().expect("the interpreter starts");
        Self { simulator, bot }
    }

    /// Waits for something to be in the journal.
    async fn until(&mut self, what: &str, found: impl Fn(&Entry) -> bool) {
        let wait = async {
            loop {
                if self.simulator.journal().all().iter().any(|line| found(&line.entry)) {
                    return;
                }
                if let Some(status) = self.bot.try_wait().unwrap() {
                    panic!("the bot ended with {status} before {what}");
                }
                sleep(LOOK).await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("no {what} in {:#?}", self.simulator.journal().all());
        }
    }

    /// A message, and the bot's answer to it.
    async fn answered(&mut self, event: Injection, id: &str) {
        let event = event.with(serde_json::json!({ "id": id }));
        let pushed = self.simulator.inject(APP, &event).unwrap();
        assert_eq!(pushed.placed.len(), 1);
        self.until(&format!("reply to {id}"), |entry| {
            let Entry::Rest { applied: true, sent: Some(sent), .. } = entry else { return false };
            sent.msg_id.as_deref() == Some(id) && sent.content == "pong"
        })
        .await;
    }

    fn count(&self, kind: &str) -> u64 {
        self.simulator.journal().counts().0.get(kind).copied().unwrap_or(0)
    }

    /// Op 7, then 4009; the bot comes back to its session.
    async fn reconnected(&mut self) {
        let target = Target::default();
        self.simulator.perform(&Action::Reconnect { target, code: 4009, after: None }).unwrap();
        self.until("RESUMED", |entry| matches!(entry, Entry::Resumed { .. })).await;
        assert_eq!(self.count("identify"), 1, "a reconnect costs no identify");
    }
}

#[tokio::test]
async fn botpy_is_ready_answers_and_resumes() {
    let mut run = Run::start("python", "botpy_bot.py").await;
    run.until("READY", |entry| matches!(entry, Entry::Ready { .. })).await;
    run.answered(Injection::group_at("G1", "U1", "hi"), "group-1").await;
    run.answered(Injection::c2c("U1", "hi"), "c2c-1").await;
    run.answered(Injection::at("1", "2", "3", "hi"), "at-1").await;
    run.reconnected().await;
    run.answered(Injection::group_at("G1", "U1", "hi"), "group-2").await;
}

#[tokio::test]
async fn the_agent_sdk_is_ready_answers_and_resumes() {
    let mut run = Run::start("python", "agent_bot.py").await;
    run.until("READY", |entry| matches!(entry, Entry::Ready { .. })).await;
    run.answered(Injection::group_at("G1", "U1", "hi"), "group-1").await;
    run.answered(Injection::c2c("U1", "hi"), "c2c-1").await;
    run.reconnected().await;
    run.answered(Injection::c2c("U1", "hi"), "c2c-2").await;
}

#[tokio::test]
async fn the_node_sdk_is_ready_answers_and_resumes() {
    let mut run = Run::start("node", "node_bot.js").await;
    run.until("READY", |entry| matches!(entry, Entry::Ready { .. })).await;
    run.answered(Injection::at("1", "2", "3", "hi"), "at-1").await;
    run.reconnected().await;
    run.answered(Injection::at("1", "2", "3", "hi"), "at-2").await;
}
