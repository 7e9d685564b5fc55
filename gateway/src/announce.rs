//! Says how the shards of this process are, so that workers elsewhere know which bots are heard.

use std::collections::HashMap;
use std::time::Duration;

use qqrelay_proto::id::{AppId, OwnerId, ShardId};
use qqrelay_proto::subject::Source;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::nats::{NatsBus, ShardState};
use tokio::time::{MissedTickBehavior, interval};

use crate::status::{Board, Phase, ShardStatus, seconds_now};

/// How often everything is said again, for those who came later or missed a word. Listeners forget
/// after three times as long.
pub const SAY_EVERY: Duration = Duration::from_secs(5);

/// Says it for as long as the process runs: changes at once, everything now and then.
pub async fn announce(board: Board, bus: NatsBus, gateway: OwnerId) {
    let mut live = board.live_sessions();
    let mut again = interval(SAY_EVERY);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = HashMap::new();
    loop {
        tokio::select! {
            _ = again.tick() => said.clear(),
            changed = live.changed() => if changed.is_err() { return },
        }
        for shard in changed(&board.shards(), &mut said) {
            let source = Source::Shard(shard.shard);
            if let Err(error) = bus.say_shard(source, &state(&shard, source, &gateway)).await {
                tracing::debug!(%error, "the state of a shard was not said");
            }
        }
    }
}

/// Those of which something else was said last, or nothing yet.
fn changed(
    shards: &[ShardStatus],
    said: &mut HashMap<(AppId, ShardId), Phase>,
) -> Vec<ShardStatus> {
    let is_new = |shard: &&ShardStatus| {
        said.insert((shard.app.clone(), shard.shard), shard.phase) != Some(shard.phase)
    };
    shards.iter().filter(is_new).cloned().collect()
}

fn state(shard: &ShardStatus, source: Source, gateway: &OwnerId) -> ShardState {
    ShardState {
        app: shard.app.clone(),
        source: source.to_string(),
        live: shard.phase == Phase::Live,
        phase: shard.phase.label().to_owned(),
        gateway: gateway.clone(),
        at: UnixMs(seconds_now() * 1000),
    }
}
