//! `qqrelay demo`: the relay at work on a simulated platform, and a summary that does not believe
//! the relay's own counters.
//!
//! What was lost is computed from the platform's journal against the stored log, so the demo is
//! also the smallest end-to-end check there is.

mod play;
mod verdict;
mod watch;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use qqrelay_proto::id::AppId;
use qqrelay_runtime::config::{self, Config, Count, HandlerName, ProfileName, Secret};
use qqrelay_runtime::random;
use qqrelay_simulator::journal::JournalConfig;
use qqrelay_simulator::{AppConfig, Config as PlatformConfig, Simulator};
use qqrelay_worker::presence::Sessions;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::args::Demo;
use crate::base::{Base, Shown, logging};
use crate::exit::{Failure, Outcome};
use crate::out;
use crate::stores::Stores;

/// What the id of a demo's bot begins with. On servers each demo has a bot of its own: what an
/// earlier one left is no session to be resumed.
const APP: &str = "102000001";
const SECRET: &str = "the-demo-bots-secret";

/// What a partition may hold on servers, which set as much aside for each. The file has the usual
/// room, for a demo of any length.
const LOG_BYTES: u64 = 512 << 20;

/// Until the first session is up. A debug build on a busy machine needs some of it.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Until the last reply is out, once everything has been said.
const FINISH_WITHIN: Duration = Duration::from_secs(60);

/// Where the demo keeps its files.
struct Folder {
    path: PathBuf,
    /// Removes a folder that nobody asked to keep.
    _temporary: Option<tempfile::TempDir>,
}

/// Runs the demo to its summary.
///
/// # Errors
///
/// It could not run, or something was lost.
pub(crate) async fn run(args: Demo) -> Outcome {
    let telemetry = logging("demo")?;
    let folder = folder(args.keep.clone())?;
    let app = app(&args);
    let platform = start_platform(&args, &app, &folder).await?;
    let config = relay_config(&platform, &args, &app, &folder);
    let stores = Stores::open(&config, "qqrelay demo").await?;
    if args.nats.is_some() {
        verdict::ensure_unused(&*stores.bus).await?;
    }
    let bots = config::fixed(&config);
    let base = Base::new(config.into(), stores, random::id().into(), Shown::default(), bots)?;
    let stop = CancellationToken::new();
    let gateway = tokio::spawn(base.gateway()?.run(stop.clone()));
    let presence = Arc::new(Sessions(base.shown.board.live_sessions()));
    let worker_stop = CancellationToken::new();
    let worker = tokio::spawn(base.worker(presence)?.run(worker_stop.clone()));

    let mut live = base.shown.board.live_sessions();
    let up =
        live.wait_for(|bots| bots.get(&app).is_some_and(|&live| live == usize::from(args.shards)));
    timeout(START_WITHIN, up).await.context("the bot's sessions did not come up")??;

    let over = CancellationToken::new();
    let show = watch::show(platform.platform().clone(), over.clone());
    let watching = (!args.quiet).then(|| tokio::spawn(show));
    let said = play::run(&platform, &app, &args).await?;
    let finished = verdict::await_replies(&platform, &said, FINISH_WITHIN).await;
    over.cancel();
    if let Some(watching) = watching {
        watching.await.context("what is shown")?;
    }
    stop.cancel();
    gateway.await.context("the gateway")??;
    worker_stop.cancel();
    worker.await.context("the worker")?;
    let log = verdict::read_log(&*base.stores.bus, &app).await?;
    base.close().await;
    let verdict = verdict::judge(&platform.journal().all(), &log, &said);
    platform.shutdown().await;
    telemetry.shutdown(Duration::from_secs(1)).await;

    out::text(verdict.summary(out::is_coloured()));
    if let Some(kept) = &args.keep {
        out::line(format!("kept: {}", kept.display()));
    }
    if finished && verdict.is_clean() { Ok(()) } else { Err(Failure::No) }
}

fn app(args: &Demo) -> AppId {
    match args.nats {
        Some(_) => AppId::from(format!("{APP}{:06}", (random::share() * 1e6) as u32)),
        None => AppId::from(APP),
    }
}

fn folder(keep: Option<PathBuf>) -> Result<Folder, Failure> {
    match keep {
        Some(path) => {
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            if path.join("log.redb").exists() {
                let shown = path.display();
                return Err(Failure::Failed(anyhow!("{shown} holds a log already; name another")));
            }
            Ok(Folder { path, _temporary: None })
        }
        None => {
            let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
            Ok(Folder { path: temporary.path().to_owned(), _temporary: Some(temporary) })
        }
    }
}

async fn start_platform(args: &Demo, app: &AppId, folder: &Folder) -> Result<Simulator, Failure> {
    let memory = 64 * args.events as usize + 100_000;
    let file = args.keep.is_some().then(|| folder.path.join("journal.jsonl"));
    let config = PlatformConfig {
        apps: vec![AppConfig::new(app.as_str(), SECRET)],
        shards: args.shards.into(),
        seed: args.seed,
        journal: JournalConfig { memory, file },
        ..PlatformConfig::default()
    };
    Simulator::start(config).await.map_err(Failure::unavailable)
}

fn relay_config(platform: &Simulator, args: &Demo, app: &AppId, folder: &Folder) -> Config {
    let mut config = Config::default();
    config.platform.profile = ProfileName::Custom;
    config.platform.token_url = Some(platform.base_url());
    config.platform.api_url = Some(platform.base_url());
    config.nats =
        args.nats.clone().map(|url| config::Nats { urls: vec![url], ..config::Nats::default() });
    config.redis =
        args.redis.clone().map(|url| config::Redis { urls: vec![url], ..config::Redis::default() });
    if args.nats.is_some() {
        config.log.max_bytes = LOG_BYTES;
    }
    config.embedded.path = folder.path.join("log.redb");
    config.worker.handler = HandlerName::Echo;
    let bot = config::Bot {
        app_id: app.clone(),
        secret: Secret::new(SECRET.to_owned()),
        shards: Count::Of(NonZeroU16::new(args.shards).unwrap_or(NonZeroU16::MIN)),
        ..config::Bot::default()
    };
    config.bots = vec![bot];
    config
}
