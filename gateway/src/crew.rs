//! The shards of a partition that is held: each is started, relieved and ended as the roster says.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use qqrelay_proto::id::{AppId, ShardId};
use qqrelay_proto::intent::Intents;
use qqrelay_proto::record::EndReason;
use qqrelay_proto::session::Patience;
use qqrelay_proto::subject::{Partition, Source, SourceSubject};
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span};

use crate::fleet::Recruit;
use crate::partition::Inbox;
use crate::shard::{Driver, DriverSettings, Orders, Service};
use crate::thread::{Supplies, bytes};

/// Wait before a shard is begun again whose task failed: what made it fail may come again.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// Which shard of which bot.
pub(crate) type Key = (AppId, ShardId);

/// The shards of one partition, for as long as it is held.
pub(crate) struct Crew<'a> {
    pub(crate) partition: Partition,
    pub(crate) supplies: &'a Supplies,
    /// Cancelled when the partition is to be let go of.
    pub(crate) leave: &'a CancellationToken,
    /// The way to the owner. It goes with the crew: after that the shards' own copies are the last.
    pub(crate) inbox: Inbox,
    pub(crate) tasks: &'a mut JoinSet<Key>,
}

/// A shard that runs.
struct Posted {
    task: task::Id,
    service: watch::Sender<Service>,
    halt: CancellationToken,
    intents: Intents,
}

/// Shards that run, and those that are done with.
#[derive(Default)]
struct Rolls {
    posted: HashMap<Key, Posted>,
    /// What is not started again unless it shall serve.
    done: HashSet<Key>,
    /// What failed, and when it may be begun again.
    failed: HashMap<Key, Instant>,
}

impl Crew<'_> {
    /// Does as the roster says, for ever.
    pub(crate) async fn run(mut self, mut roster: watch::Receiver<Vec<Recruit>>) {
        let (mut rolls, mut is_kept) = (Rolls::default(), true);
        loop {
            let recruits = roster.borrow_and_update().clone();
            rolls.failed.retain(|_, until| *until > Instant::now());
            for recruit in recruits {
                self.settle(&mut rolls, recruit);
            }
            let again = rolls.failed.values().min().copied();
            tokio::select! {
                changed = roster.changed(), if is_kept => is_kept = changed.is_ok(),
                Some(ended) = self.tasks.join_next_with_id() => {
                    if rolls.ended(ended) {
                        self.supplies.parts.metrics.shard_failed();
                    }
                }
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                else => std::future::pending().await, // nobody could put one on it any more
            }
        }
    }

    /// Does with one shard as the roster says.
    fn settle(&mut self, rolls: &mut Rolls, recruit: Recruit) {
        let key = (recruit.bot.app().clone(), recruit.shard);
        match rolls.posted.get(&key) {
            Some(posted) => posted.obey(recruit.service, recruit.intents),
            None if rolls.failed.contains_key(&key) => {}
            None if recruit.service == Service::Serve || !rolls.done.contains(&key) => {
                rolls.done.remove(&key);
                let posted = self.start(key.clone(), recruit);
                rolls.posted.insert(key, posted);
            }
            None => {}
        }
    }

    fn start(&mut self, key: Key, recruit: Recruit) -> Posted {
        let span = info_span!("shard", app = %key.0, shard = %key.1);
        let (service, halt) = (watch::Sender::new(recruit.service), self.leave.child_token());
        let (told, intents) = (recruit.service, recruit.intents);
        let orders =
            Orders { service: service.subscribe(), halt: halt.clone(), leave: self.leave.clone() };
        let running = self.driver(recruit, orders).run();
        let task = async move {
            running.await;
            key
        };
        let task = self.tasks.spawn_local(task.instrument(span)).id();
        let posted = Posted { task, service, halt, intents };
        posted.obey(told, intents); // before it runs for the first time
        posted
    }

    fn driver(&self, recruit: Recruit, orders: Orders) -> Driver {
        let Recruit { bot, shard, intents, not_before, .. } = recruit;
        let Supplies { parts, way, .. } = self.supplies;
        let gateway = &parts.config.gateway;
        let settings = DriverSettings {
            app: bot.app().clone(),
            shard,
            intents,
            source: SourceSubject::new(self.partition, bot.app(), Source::Shard(shard)),
            record_limit: bytes(parts.config.log.record_limit),
            connect_timeout: gateway.connect_timeout,
            patience: Patience {
                hello: gateway.hello_timeout,
                ready: gateway.ready_timeout,
                resumed: gateway.resume_timeout,
            },
            close_code: gateway.close_code,
            silence: Some(gateway.silence).filter(|silence| !silence.is_zero()),
            not_before,
        };
        let metrics = parts.metrics.shard();
        let status = parts.board.add(bot.app().clone(), shard, self.partition);
        Driver::new(settings, bot, self.inbox.clone(), way.clone(), metrics, status, orders)
    }
}

impl Posted {
    /// Gives new orders. One that ends its session does so, whatever the roster says by then.
    fn obey(&self, service: Service, intents: Intents) {
        if self.halt.is_cancelled() {
            return;
        }
        let service = match service {
            Service::Serve if intents != self.intents => Service::End(EndReason::Reconfigured),
            service => service,
        };
        self.service.send_if_modified(|before| std::mem::replace(before, service) != service);
        if let Service::End(_) = service {
            self.halt.cancel();
        }
    }
}

impl Rolls {
    /// Takes one off; whether it failed.
    fn ended(&mut self, ended: Result<(task::Id, Key), JoinError>) -> bool {
        let panic = match ended {
            Ok((_, key)) => {
                self.posted.remove(&key);
                self.done.insert(key);
                return false;
            }
            Err(panic) => panic,
        };
        let failed = self.posted.extract_if(|_, posted| posted.task == panic.id());
        for (key, _) in failed {
            error!(%panic, app = %key.0, shard = %key.1, "a shard's task failed and is begun again");
            self.failed.insert(key, Instant::now() + AFTER_PANIC);
        }
        true
    }
}
