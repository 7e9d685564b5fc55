//! Says how the shards of this process are, so that workers elsewhere know which bots are heard.

use std::collections::BTreeMap;
use std::time::Duration;

use qqrelay_proto::id::{AppId, OwnerId, ShardId};
use qqrelay_proto::subject::Source;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::nats::{NatsBus, ShardState};
use tokio::time::{MissedTickBehavior, interval};

use crate::status::{Board, Phase, seconds_now};

/// How often everything is said again, for those who came later or missed a word. Listeners forget
/// after three times as long.
pub const SAY_EVERY: Duration = Duration::from_secs(5);

/// What was said of each shard last.
type Last = BTreeMap<(AppId, ShardId), Phase>;

/// Says it for as long as the process runs: changes at once, everything now and then.
pub async fn announce(board: Board, bus: NatsBus, gateway: OwnerId) {
    let mut live = board.live_sessions();
    let mut again = interval(SAY_EVERY);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Last::new();
    loop {
        let all = tokio::select! {
            _ = again.tick() => true,
            changed = live.changed() => if changed.is_err() { return } else { false },
        };
        let shown = board.shards().into_iter().map(|shard| ((shard.app, shard.shard), shard.phase));
        for state in news(&mut said, shown.collect(), all, &gateway) {
            if let Err(error) = bus.say_shard(&state).await {
                tracing::debug!(%error, "the state of a shard was not said");
            }
        }
    }
}

/// What is to be said: all that is there, or only what is new, and what is gone in any case.
fn news(said: &mut Last, shown: Last, all: bool, gateway: &OwnerId) -> Vec<ShardState> {
    let is_new = |key, phase| all || said.get(key) != Some(phase);
    let here = shown.iter().filter(|(key, phase)| is_new(key, phase));
    let here = here.map(|((app, shard), phase)| state(app, *shard, *phase, gateway));
    let gone = said.keys().filter(|key| !shown.contains_key(key));
    let gone = gone.map(|(app, shard)| state(app, *shard, Phase::Waiting, gateway));
    let news = here.chain(gone).collect();
    *said = shown;
    news
}

fn state(app: &AppId, shard: ShardId, phase: Phase, gateway: &OwnerId) -> ShardState {
    ShardState {
        app: app.clone(),
        source: Source::Shard(shard),
        live: phase == Phase::Live,
        phase: phase.label().to_owned(),
        gateway: gateway.clone(),
        at: UnixMs(seconds_now() * 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_said_at_once_and_what_is_gone_once_more() {
        let key = |index| (AppId::from("102"), ShardId::new(index, 2).expect("below 2"));
        let mut said = Last::new();
        let mut told = |shown: &[(u16, Phase)], all| {
            let shown = shown.iter().map(|(index, phase)| (key(*index), *phase)).collect();
            let news = news(&mut said, shown, all, &"gw".into()).into_iter();
            news.map(|state| (state.source.to_string(), state.live)).collect::<Vec<_>>()
        };
        let (one, other) = ("2-0".to_owned(), "2-1".to_owned());
        let both = [(0, Phase::Live), (1, Phase::Opening)];
        assert_eq!(told(&both, false), [(one.clone(), true), (other.clone(), false)]);
        assert_eq!(told(&both, false), []);
        assert_eq!(told(&both, true), [(one.clone(), true), (other.clone(), false)]);
        assert_eq!(told(&both[1..], false), [(one, false)], "another gateway has it now");
        assert_eq!(told(&both[1..], true), [(other, false)]);
    }
}
