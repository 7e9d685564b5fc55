//! A thread with its own runtime, and the partitions that live whole on it.
//!
//! The log is opened here and nowhere else: a connection belongs to the runtime that opened it, and
//! each thread shall have its own.

use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, select};
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Log;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::app::Parts;
use crate::crew::Crew;
use crate::fleet::Recruit;
use crate::ownership::Charge;
use crate::partition::{Ended, Owner, OwnerSettings, StoredEvent, inbox};
use crate::shard::Way;
use crate::trouble::InFull;

/// Wait before the log is asked again for something that it could not do.
const LOG_RETRY: Duration = Duration::from_secs(1);

/// A partition that may be held here.
pub(crate) struct Post {
    pub(crate) partition: Partition,
    /// Orders to hold it, one after the other; the thread ends with whoever gives them.
    pub(crate) charges: mpsc::Receiver<Charge>,
    /// Its shards, as they become known.
    pub(crate) roster: watch::Receiver<Vec<Recruit>>,
}

/// What every partition's shards are made with.
#[derive(Clone)]
pub(crate) struct Supplies {
    pub(crate) parts: Parts,
    pub(crate) way: Way,
    /// Hears where events are that two sources may show.
    pub(crate) stored: mpsc::Sender<StoredEvent>,
}

/// Starts a thread that runs these partitions; the receiver hears once all of them are done.
pub(crate) fn start(
    number: usize,
    posts: Vec<Post>,
    supplies: Supplies,
) -> io::Result<oneshot::Receiver<()>> {
    let (done, finished) = oneshot::channel();
    thread::Builder::new().name(format!("partitions-{number}")).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs nothing but what the process already has");
        LocalSet::new().block_on(&runtime, run_all(posts, supplies));
        let _ = done.send(()); // nobody waits any more once the grace is over
    })?;
    Ok(finished)
}

async fn run_all(posts: Vec<Post>, supplies: Supplies) {
    let mut partitions = JoinSet::new();
    for post in posts {
        let span = info_span!("partition", partition = %post.partition);
        partitions.spawn_local(run(post, supplies.clone()).instrument(span));
    }
    while let Some(ended) = partitions.join_next().await {
        if let Err(panic) = ended {
            error!(%panic, "a partition's task failed");
        }
    }
}

/// Holds a partition whenever that is ordered.
async fn run(mut post: Post, supplies: Supplies) {
    let Post { partition, charges, roster } = &mut post;
    while let Some(Charge { leave, ended }) = charges.recv().await {
        let holding = hold(*partition, roster.clone(), supplies.clone(), leave);
        match spawn_local(holding.in_current_span()).await {
            Ok(how) => {
                let _ = ended.send(how); // nobody waits any more once the process ends
            }
            Err(panic) => error!(%panic, "a partition's task failed"),
        }
    }
}

/// Holds a partition until it is to be left and everything is durable, or until it is another's.
async fn hold(
    partition: Partition,
    roster: watch::Receiver<Vec<Recruit>>,
    supplies: Supplies,
    leave: CancellationToken,
) -> Ended {
    let opening = open(partition, &supplies.parts);
    let Some(log) = leave.run_until_cancelled(opening).await else { return Ended::Drained };
    let (inbox, outlet) = inbox();
    let metrics = supplies.parts.metrics.partition(partition);
    let owner = Owner::new(owner_settings(partition, &supplies), log, outlet, metrics);
    let mut shards = JoinSet::new();
    let ended = {
        let (supplies, leave, tasks) = (&supplies, &leave, &mut shards);
        let crew = Crew { partition, supplies, leave, inbox, tasks };
        let (owning, crewing) = (pin!(owner.run()), pin!(until(leave, crew.run(roster))));
        match select(owning, crewing).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), owning)) => owning.await,
        }
    };
    match &ended {
        Ended::Drained => info!("partition drained"),
        Ended::StoodDown(why) => error!(?why, "partition is not held any more"),
    }
    while let Some(ended) = shards.join_next().await {
        if let Err(panic) = ended {
            error!(%panic, "a shard's task failed");
        }
    }
    ended
}

/// Works until `leave`, and lets go of everything that the work has.
async fn until(leave: &CancellationToken, work: impl Future<Output = ()>) {
    leave.run_until_cancelled(work).await;
}

/// Opens the log; as long as that cannot be done, its shards wait to be taken in.
async fn open(partition: Partition, parts: &Parts) -> Box<dyn Log> {
    loop {
        match parts.bus.log(partition).await {
            Ok(log) => return log,
            Err(error) => {
                warn!(error = %InFull(&error), "the log cannot be opened yet");
            }
        }
        sleep(LOG_RETRY).await;
    }
}

fn owner_settings(partition: Partition, supplies: &Supplies) -> OwnerSettings {
    let Supplies { parts, stored, .. } = supplies;
    OwnerSettings {
        partition,
        owner: parts.owner.clone(),
        started: parts.started.clone(),
        window: usize::from(parts.bus.layout().window),
        window_bytes: bytes(parts.config.gateway.window_bytes),
        answer_within: parts.config.gateway.publish_timeout,
        retry_after: LOG_RETRY,
        stored: stored.clone(),
    }
}

/// A configured size.
pub(crate) fn bytes(configured: u64) -> usize {
    usize::try_from(configured).unwrap_or(usize::MAX)
}
