//! Taking in a changed file while the process runs: its bots. All else needs a new start, and that is
//! said.
//!
//! The file is looked at now and then, because what a cluster mounts is swapped without a word; a
//! SIGHUP has it looked at now. What cannot be run changes nothing, and neither does a file in which
//! no bot is enabled: that is a slip far more often than a wish.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::{Bot, Config, Loaded, Problems, load};

/// How often the file is looked at. What is new is taken in once two looks in a row agree on it: some
/// editors write a file in pieces.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A process's bots, as the configuration says now.
pub type Bots = Arc<[Bot]>;

/// Watches a configuration for as long as its process runs.
#[derive(Debug)]
pub struct Reload {
    file: PathBuf,
    environment: Vec<(String, String)>,
    running: Config,
    bots: watch::Sender<Bots>,
    metrics: Metrics,
    /// What the last look found, if it is not in force.
    pending: Option<Bots>,
    /// What was said last of what cannot be taken in.
    complaint: Option<String>,
}

/// What is in force, of a process whose configuration nobody watches.
#[must_use]
pub fn fixed(config: &Config) -> watch::Receiver<Bots> {
    watch::Sender::new(config.bots.clone().into()).subscribe()
}

impl Reload {
    /// Watches the file that `config` was read from, under the environment of that time.
    ///
    /// # Errors
    ///
    /// Two series share a name: the process watches one already.
    pub fn new(
        file: PathBuf,
        environment: impl IntoIterator<Item = (String, String)>,
        config: &Config,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            file,
            environment: environment.into_iter().collect(),
            running: config.clone(),
            bots: watch::Sender::new(config.bots.clone().into()),
            metrics: Metrics::register(registry)?,
            pending: None,
            complaint: None,
        })
    }

    /// The bots, each time they change.
    #[must_use]
    pub fn bots(&self) -> watch::Receiver<Bots> {
        self.bots.subscribe()
    }

    /// Looks for ever. `prepare` is given new bots before anybody else hears of them.
    pub async fn run(mut self, prepare: impl Fn(&[Bot])) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hangups = signal(SignalKind::hangup()).ok();
        loop {
            let at_once = tokio::select! {
                _ = look.tick() => false,
                () = hangup(&mut hangups) => true,
            };
            let (file, environment) = (self.file.clone(), self.environment.clone());
            let read = tokio::task::spawn_blocking(move || load(Some(&file), environment)).await;
            let Ok(read) = read else { continue }; // the runtime is going down
            if let Some(bots) = self.judge(read, at_once) {
                prepare(&bots);
                self.metrics.applied();
                self.bots.send_replace(bots);
            }
        }
    }

    /// The bots to be taken in, if there are new ones and everything is in order.
    fn judge(&mut self, read: Result<Loaded, Problems>, at_once: bool) -> Option<Bots> {
        let config = match read {
            Ok(Loaded { config, .. }) => config,
            Err(problems) => {
                self.refuse(problems.to_string());
                return None;
            }
        };
        let bots: Bots = config.bots.clone().into();
        let is_new = bots != *self.bots.borrow();
        if is_new && bots.iter().all(|bot| !bot.enabled) {
            let what = "no bot is enabled; start anew if that is meant";
            self.refuse(format!("{}: {what}", self.file.display()));
            return None;
        }
        let unread = unread(&self.running, &config);
        if unread.is_empty() {
            self.complaint = None;
        } else {
            let what = format!("changes of {} need a new start", unread.join(", "));
            self.complain(&what, |what| warn!("{what}"));
        }
        self.metrics.refused.set(0);
        if !is_new {
            self.pending = None;
            return None;
        }
        if !at_once && self.pending.as_ref() != Some(&bots) {
            self.pending = Some(bots);
            return None;
        }
        self.pending = None;
        let count = bots.iter().filter(|bot| bot.enabled).count();
        info!(bots = count, "the configuration has changed");
        Some(bots)
    }

    fn refuse(&mut self, why: String) {
        self.pending = None;
        self.metrics.refused.set(1);
        let metrics = self.metrics.clone();
        self.complain(&why, |why| {
            metrics.reloads.with_label_values(&["refused"]).inc();
            error!(error = why, "the configuration is not taken in; the one before goes on");
        });
    }

    /// Says it, unless it is what was said last.
    fn complain(&mut self, what: &str, say: impl FnOnce(&str)) {
        if self.complaint.as_deref() != Some(what) {
            say(what);
            self.complaint = Some(what.to_owned());
        }
    }
}

/// The sections beside the bots that differ.
fn unread(running: &Config, read: &Config) -> Vec<&'static str> {
    let sections = [
        ("platform", running.platform != read.platform),
        ("log", running.log != read.log),
        ("embedded", running.embedded != read.embedded),
        ("nats", running.nats != read.nats),
        ("redis", running.redis != read.redis),
        ("lease", running.lease != read.lease),
        ("gateway", running.gateway != read.gateway),
        ("worker", running.worker != read.worker),
        ("egress", running.egress != read.egress),
        ("admin", running.admin != read.admin),
        ("telemetry", running.telemetry != read.telemetry),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

async fn hangup(signals: &mut Option<Signal>) {
    if let Some(signals) = signals
        && signals.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

#[derive(Debug, Clone)]
struct Metrics {
    reloads: IntCounterVec,
    refused: IntGauge,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let reloads = Opts::new(
            "qqrelay_config_reloads_total",
            "Changes of the configuration that were taken in, or not.",
        );
        let metrics = Self {
            reloads: IntCounterVec::new(reloads, &["result"])?,
            refused: IntGauge::new(
                "qqrelay_config_refused",
                "1 while the file says what cannot be taken in.",
            )?,
        };
        for result in ["applied", "refused"] {
            metrics.reloads.with_label_values(&[result]);
        }
        registry.register(Box::new(metrics.reloads.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        Ok(metrics)
    }

    fn applied(&self) {
        self.reloads.with_label_values(&["applied"]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use crate::config::problem::Problem;
    use qqrelay_proto::id::AppId;

    fn bot(app: &str) -> Bot {
        Bot { app_id: AppId::from(app), ..Bot::default() }
    }

    fn config(apps: &[&str]) -> Config {
        Config { bots: apps.iter().map(|app| bot(app)).collect(), ..Config::default() }
    }

    fn reload() -> Reload {
        Reload::new("qqrelay.toml".into(), [], &config(&["1"]), &Registry::new()).expect("series")
    }

    fn read(config: Config) -> Result<Loaded, Problems> {
        Ok(Loaded { config, warnings: Vec::new() })
    }

    fn broken() -> Result<Loaded, Problems> {
        let problem = Problem {
            origin: Origin::Default,
            field: "bots[0].app_id".to_owned(),
            what: "is missing".to_owned(),
            fix: "write it".to_owned(),
        };
        Err(Problems::of(vec![problem]))
    }

    #[test]
    fn bots_are_taken_in_once_two_looks_agree() {
        let mut reload = reload();
        let mut apps = |apps: &[&str], at_once| {
            let bots = reload.judge(read(config(apps)), at_once)?;
            Some(bots.iter().map(|bot| bot.app_id.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(apps(&["1"], false), None, "as it was");
        assert_eq!(apps(&["1", "2"], false), None);
        assert_eq!(apps(&["1", "3"], false), None, "it is still being written");
        assert_eq!(apps(&["1", "3"], false), Some(vec!["1".to_owned(), "3".to_owned()]));
        assert_eq!(apps(&["2"], true), Some(vec!["2".to_owned()]), "a SIGHUP says that it is done");
    }

    #[test]
    fn what_cannot_be_run_changes_nothing() {
        let mut reload = reload();
        let refused = reload.metrics.reloads.with_label_values(&["refused"]);
        assert_eq!(reload.judge(broken(), true), None);
        assert_eq!(reload.judge(broken(), true), None);
        assert_eq!((refused.get(), reload.metrics.refused.get()), (1, 1), "said once");
        assert_eq!(reload.judge(read(config(&["1"])), true), None);
        assert_eq!(reload.metrics.refused.get(), 0, "it is as it was again");
        assert_eq!(reload.judge(read(config(&[])), true), None, "no bot at all");
        assert_eq!((refused.get(), reload.metrics.refused.get()), (2, 1));
    }

    #[test]
    fn what_needs_a_new_start_is_named() {
        let mut changed = config(&["1"]);
        changed.log.record_limit += 1;
        changed.gateway.close_code += 1;
        assert_eq!(unread(&config(&["1"]), &changed), ["log", "gateway"]);
    }
}
