//! Copies of resume points in the shared state: for people, and for a log that lost records. RESUME
//! itself goes by the log's tail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::id::{AppId, OwnerId, ShardId};
use qqrelay_proto::record::{Place, ResumePoint};
use qqrelay_proto::subject::Source;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::state::{ResumeCopy, State};
use tokio::time::{MissedTickBehavior, interval};

use crate::status::{Board, ShardStatus, seconds_now};

/// How far a copy may be behind.
const COPY_EVERY: Duration = Duration::from_secs(5);

/// Writes what has changed since it was last written, for as long as the process runs.
pub(crate) async fn keep(board: Board, state: Arc<dyn State>, owner: OwnerId) {
    let mut every = interval(COPY_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written: HashMap<(AppId, ShardId), ResumePoint> = HashMap::new();
    loop {
        every.tick().await;
        for shard in board.shards() {
            let Some((point, copy)) = copy(&shard, &owner) else { continue };
            let key = (shard.app.clone(), shard.shard);
            if written.get(&key) == Some(&point) {
                continue;
            }
            if let Err(error) =
                state.put_resume(&shard.app, Source::Shard(shard.shard), &copy).await
            {
                tracing::debug!(%error, "resume points are not copied");
                break; // the others would fare no better
            }
            written.insert(key, point);
        }
    }
}

fn copy(shard: &ShardStatus, owner: &OwnerId) -> Option<(ResumePoint, ResumeCopy)> {
    let (point, number) = shard.resume.clone()?;
    let copy = ResumeCopy {
        session: point.session.clone(),
        seq: point.seq,
        place: Place { stream: shard.partition.stream(), seq: number },
        owner: owner.clone(),
        at: UnixMs(seconds_now() * 1000),
    };
    Some((point, copy))
}
