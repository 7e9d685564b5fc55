//! More events than anybody asked for.

use std::collections::BTreeSet;

use qqrelay_simulator::flood::FloodConfig;
use qqrelay_simulator::{Action, Config, Injection, Target};
use serde_json::json;

use crate::bot::{APP, Bot, End, INTENTS, platform};

fn unbounded(config: &mut Config) {
    config.flood = Some(FloodConfig { templates: 16, ..FloodConfig::default() });
}

#[tokio::test]
async fn a_flood_comes_in_sequence_and_no_event_twice() {
    let simulator = platform(unbounded).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let mut ids = BTreeSet::new();
    for seq in 2..3_000 {
        let frame = socket.next().await;
        assert_eq!(frame["s"], seq);
        assert!(ids.insert(frame["id"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test]
async fn a_resume_makes_the_missed_events_of_a_flood_again() {
    let simulator = platform(unbounded).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    let mut seen = Vec::new();
    while seen.len() < 500 {
        seen.push(socket.next_text().await);
    }
    simulator
        .perform(&Action::Reconnect { target: Target::default(), code: 4009, after: None })
        .unwrap();
    assert_eq!(socket.end().await, End::Code(4009));
    // Sequence 2 is the first that was seen; from 100 on they come again, the very same.
    let mut socket = bot.resuming(&session, 99).await;
    for text in &seen[98..] {
        assert_eq!(socket.next_text().await, *text);
    }
    let mut seq = 501;
    loop {
        let frame = socket.next().await;
        seq += 1;
        assert_eq!(frame["s"], seq);
        if frame["t"] == "RESUMED" {
            break;
        }
    }
    assert_eq!(socket.next().await["s"], seq + 1);
}

#[tokio::test]
async fn an_injected_event_and_a_heartbeat_find_their_way_through_a_flood() {
    let simulator = platform(unbounded).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    socket.send(json!({"op": 1, "d": 1})).await;
    let placed = simulator.inject(APP, &Injection::c2c("U1", "in the middle")).unwrap().placed;
    let (mut acknowledged, mut seq, mut found) = (false, 1, false);
    while !(acknowledged && found) {
        let frame = socket.next().await;
        if frame["op"] == 11 {
            acknowledged = true;
            continue;
        }
        seq += 1;
        assert_eq!(frame["s"], seq);
        if frame["d"]["content"] == "in the middle" {
            assert_eq!(placed[0].seq, seq);
            found = true;
        }
    }
}

#[tokio::test]
async fn a_hole_in_a_flood_stays_one() {
    let simulator = platform(|config| config.flood = Some(FloodConfig::of(1))).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    simulator.perform(&Action::Skip { target: Target::default(), count: 2 }).unwrap();
    simulator.inject(APP, &Injection::c2c("U1", "after the hole")).unwrap();
    let mut before = 1;
    loop {
        let frame = socket.next().await;
        let seq = frame["s"].as_u64().unwrap();
        if frame["d"]["content"] == "after the hole" {
            assert_eq!(seq, before + 3);
            break;
        }
        before = seq;
    }
    drop(socket);
    let mut socket = bot.resuming(&session, before).await;
    assert_eq!(socket.next().await["s"], before + 3);
}

#[tokio::test]
async fn a_flood_is_counted_and_not_told_one_by_one() {
    let simulator = platform(|config| config.flood = Some(FloodConfig::of(5_000))).await;
    let bot = Bot::new(&simulator).await;
    let (mut a, _) = bot.ready_as([0, 2], INTENTS).await;
    let (mut b, _) = bot.ready_as([1, 2], INTENTS).await;
    for _ in 0..50 {
        a.next().await;
        b.next().await;
    }
    assert!(simulator.platform().counters().flooded >= 100);
    assert_eq!(simulator.journal().counts().0.get("dispatch"), None);
}
