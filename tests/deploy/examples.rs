//! The programs of `docs/examples`, each as the shipped role of a consumer against a whole relay: it
//! is given every event, in the order of the log, though it is killed on the way, answers each once,
//! hears what became of it, and can be told to listen to one place only.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Layout;
use qqrelay_runtime::config::Config;
use qqrelay_simulator::Injection;
use qqrelay_tests::process::built;
use qqrelay_tests::run::read_log;
use qqrelay_tests::wait::within;

use crate::deployment::{APP, Deployment};
use crate::server::{Role, tree};

/// A second bot.
const OTHER: &str = "102000002";

/// Of the shipped configuration.
const PARTITIONS: u8 = 3;

/// Events until the program is killed, and as many after it.
const EVENTS: usize = 120;

/// Places that the events take turns with.
const PLACES: usize = 12;

/// Each so-manieth event of a place is a question.
const ASKED_EACH: usize = 5;

/// What a program had in hand that was killed comes again 10 s later, and others run beside it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that runs. Dropping it kills it.
struct Program {
    child: Child,
    output: PathBuf,
}

impl Program {
    fn start(
        deployment: &Deployment,
        command: &[&Path],
        filter: &[&str],
        name: &str,
    ) -> anyhow::Result<Self> {
        let (role, output) = (Role::Consumer, deployment.folder.path().join(name));
        let said = File::create(&output)?;
        let child = Command::new(command[0])
            .args(&command[1..])
            .args(filter)
            .env("NATS_URL", deployment.nats.url())
            .env("NATS_USER", role.user())
            .env("NATS_PASSWORD", role.password())
            .env("NATS_INBOX_PREFIX", role.inbox())
            .stdin(Stdio::null())
            .stderr(said.try_clone()?)
            .stdout(said)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self { child, output })
    }

    /// The second words of the lines that begin like this.
    fn said(&self, what: &str) -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(&self.output)?;
        let words = text.lines().filter_map(|line| line.strip_prefix(what)?.split(' ').nth(1));
        Ok(words.map(str::to_owned).collect())
    }

    /// Waits for something that it says; all that it said is in the error.
    async fn until(
        &mut self,
        what: &str,
        mut seen: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let waited = within(PATIENCE, what, async || match self.child.try_wait() {
            Ok(None) => seen(self).map(|seen| seen.then_some(())).transpose(),
            ended => Some(Err(anyhow::anyhow!("it has ended: {ended:?}"))),
        });
        let waited = waited.await.and_then(|seen| seen);
        waited.with_context(|| fs::read_to_string(&self.output).unwrap_or_default())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already is no reason to complain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pushes events, some of which ask; how many do.
fn push(deployment: &Deployment, round: usize) -> anyhow::Result<usize> {
    let mut asked = 0;
    for number in 0..EVENTS {
        let (place, turn) = (number % PLACES, number / PLACES);
        let is_asked = turn % ASKED_EACH == 0;
        asked += usize::from(is_asked);
        let text = if is_asked { "/ping".to_owned() } else { format!("{round}-{number}") };
        let app = [APP, OTHER][number % 2];
        let event = match place / 2 {
            0..2 => Injection::c2c(&format!("user-{place}"), &text),
            2..4 => Injection::group_at(&format!("group-{place}"), "user", &text),
            _ => Injection::at("2", &format!("100000{place}"), "user", &text),
        };
        let pushed = deployment.platform.inject(app, &event)?;
        ensure!(pushed.placed.len() == 1, "nobody is told of {event:?}");
    }
    Ok(asked)
}

/// The ids of all events, partition by partition, in the order of the log.
async fn stored(deployment: &Deployment) -> anyhow::Result<Vec<Vec<String>>> {
    let mut ids = vec![Vec::new(); usize::from(PARTITIONS)];
    let layout = Layout { partitions: PARTITIONS, ..Config::default().layout() };
    let bus = deployment.nats.bus_of(Role::Admin, layout).await?;
    for (partition, Stored { record, .. }) in read_log(&bus).await? {
        if let (Partition::Chain(index), Some(event)) = (partition, record.headers.event) {
            ids[usize::from(index)].push(event.id.to_string());
        }
    }
    Ok(ids)
}

/// Each id where it stands first.
fn first(said: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    said.into_iter().filter(|id| seen.insert(id.clone())).collect()
}

async fn follows(command: &[&Path]) -> anyhow::Result<()> {
    let deployment = Deployment::start(&[OTHER], &[("WORKER__HANDLER", "none")]).await?;
    let mut asked = push(&deployment, 1)?;
    let mut killed = Program::start(&deployment, command, &[], "killed")?;
    killed
        .until("half of the events have come", |program| {
            Ok(program.said("event")?.len() >= EVENTS / 2)
        })
        .await?;
    let (before, output) =
        ([killed.said("event")?, killed.said("outcome")?], killed.output.clone());
    drop(killed);
    ensure!(output.exists());

    asked += push(&deployment, 2)?;
    let mut program = Program::start(&deployment, command, &[], "again")?;
    let of_both = |program: &Program| -> anyhow::Result<[Vec<String>; 2]> {
        let [events, outcomes] = before.clone();
        Ok([
            first(events.into_iter().chain(program.said("event")?)),
            first(outcomes.into_iter().chain(program.said("outcome")?)),
        ])
    };
    program
        .until("every event and every outcome has come", |program| {
            let [events, outcomes] = of_both(program)?;
            Ok(events.len() == 2 * EVENTS && outcomes.len() == asked)
        })
        .await?;
    let [events, _] = of_both(&program)?;
    for partition in stored(&deployment).await? {
        let seen: Vec<&String> = events.iter().filter(|id| partition.contains(id)).collect();
        ensure!(seen == partition.iter().collect::<Vec<_>>(), "{seen:?}, not as in {partition:?}");
    }
    let said = fs::read_to_string(&program.output)?;
    let mut unsent =
        said.lines().filter(|line| line.starts_with("outcome") && !line.ends_with("sent"));
    ensure!(unsent.next().is_none(), "{said}");
    ensure!(deployment.shown("pong") == asked, "{} of {asked}", deployment.shown("pong"));
    drop(program);

    // One place of one bot. What is in other places was stored before the last of them.
    let mut program = Program::start(&deployment, command, &[OTHER, "group", "group-5"], "filter")?;
    push(&deployment, 3)?;
    let wanted = EVENTS / PLACES;
    program
        .until("the events of one place have come", |program| {
            Ok(first(program.said("event")?).len() >= wanted)
        })
        .await?;
    let came = first(program.said("event")?);
    let others = came.iter().filter(|id| !id.starts_with(OTHER)).count();
    ensure!(came.len() == wanted && others == 0, "{came:?}");
    Ok(())
}

/// Where `docs/examples/install` has put something.
fn installed(name: &str) -> PathBuf {
    tree().join("target/examples").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_in_python_is_given_every_event() -> anyhow::Result<()> {
    let program = tree().join("docs/examples/python/consumer.py");
    follows(&[&installed("python/bin/python"), &program]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_in_node_is_given_every_event() -> anyhow::Result<()> {
    follows(&[Path::new("node"), &installed("node/consumer.mjs")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_in_go_is_given_every_event() -> anyhow::Result<()> {
    follows(&[&installed("go/consumer")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_in_rust_is_given_every_event() -> anyhow::Result<()> {
    follows(&[&built("qqrelay-example-consumer")?]).await
}
