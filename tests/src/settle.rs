//! When a relay has everything: its own list of shards against the platform's sessions.

use qqrelay_simulator::control::view::SessionView;
use serde_json::Value;

/// Whether a shard, as `/v1/shards` tells it, hears events.
pub(crate) fn is_live(shard: &Value) -> bool {
    shard["phase"] == "live"
}

/// Whether there are so many shards, and every one is live and has all of its session.
pub(crate) fn is_settled(sessions: &[SessionView], shards: &[Value], expected: usize) -> bool {
    let has_all = |shard: &Value| {
        let session = sessions.iter().find(|view| shard["session"] == view.session.as_str());
        is_live(shard) && session.is_some_and(|view| shard["durable"] == view.last_seq)
    };
    shards.len() == expected && shards.iter().all(has_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn session() -> SessionView {
        let view = json!({"app": "102", "shard": [0, 1], "session": "s", "intents": 1,
            "last_seq": 7, "connection": 1, "written": 7,
            "silence": {"acks": false, "dispatches": false}});
        serde_json::from_value(view).expect("a session")
    }

    #[test]
    fn a_relay_has_everything_when_each_shards_newest_frame_is_durable() {
        let check = |shards: Value, expected| {
            let shards = shards.as_array().expect("a list").clone();
            assert_eq!(is_settled(&[session()], &shards, 1), expected, "{shards:?}");
        };
        check(json!([{"phase": "live", "session": "s", "durable": 7}]), true);
        check(json!([{"phase": "live", "session": "s", "durable": 6}]), false);
        check(json!([{"phase": "opening", "session": "s", "durable": 7}]), false);
        check(json!([{"phase": "live", "session": "t", "durable": 7}]), false);
        check(json!([]), false);
    }
}
