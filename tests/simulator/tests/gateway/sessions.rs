//! READY, sequences, replay and RESUMED.

use std::time::Duration;

use qqrelay_simulator::config::{ResumedFrames, SecondSocket};
use qqrelay_simulator::{Action, Injection};
use serde_json::json;

use crate::bot::{APP, Bot, End, INTENTS, OTHER_APP, platform};

fn message(n: usize) -> Injection {
    Injection::group_at("G1", "U1", &format!("message {n}"))
}

#[tokio::test]
async fn ready_is_the_first_of_the_sequence_and_echoes_what_was_identified() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let mut socket = bot.greeted().await;
    bot.identify(&mut socket, [2, 5], INTENTS).await;
    let ready = socket.next().await;
    assert_eq!((&ready["op"], &ready["s"]), (&json!(0), &json!(1)));
    assert_eq!(ready["d"]["shard"], json!([2, 5]));
    assert_eq!(ready["d"]["version"], 1);
    let id = ready["d"]["user"]["id"].as_str().unwrap();
    assert!(id.parse::<u64>().is_ok(), "botpy parses {id} as a number");
    assert_eq!(ready["d"]["user"]["bot"], true);
}

#[tokio::test]
async fn an_event_has_the_next_sequence_a_type_and_an_id() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let pushed = simulator.inject(APP, &message(1)).unwrap();
    let frame = socket.next().await;
    assert_eq!((&frame["op"], &frame["s"]), (&json!(0), &json!(2)));
    assert_eq!(frame["t"], "GROUP_AT_MESSAGE_CREATE");
    assert!(frame["id"].as_str().unwrap().starts_with("GROUP_AT_MESSAGE_CREATE:"));
    assert_eq!(frame["d"]["content"], "message 1");
    assert_eq!(pushed.placed.len(), 1);
    assert_eq!(pushed.placed[0].seq, 2);
}

#[tokio::test]
async fn a_heartbeat_is_acknowledged_whatever_it_carries() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let beats = [
        json!({"op": 1, "d": 1}),
        json!({"op": 1, "d": null}),
        json!({"op": 1, "d": 0, "Session": null}),
        json!({"op": 1, "s": 1}),
    ];
    for beat in beats {
        socket.send(beat).await;
        assert_eq!(socket.next_text().await, r#"{"op":11}"#);
    }
}

#[tokio::test]
async fn a_resume_replays_what_was_missed_then_says_resumed_then_goes_on() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    (0..3).for_each(|n| drop(simulator.inject(APP, &message(n)).unwrap()));
    assert_eq!(socket.until("GROUP_AT_MESSAGE_CREATE").await.len(), 1);
    drop(socket);
    simulator.inject(APP, &message(3)).unwrap();
    let mut socket = bot.resuming(&session, 2).await;
    let replayed: Vec<u64> = socket.until("RESUMED").await.into_iter().map(|(s, _)| s).collect();
    assert_eq!(replayed, [3, 4, 5, 6]);
    simulator.inject(APP, &message(4)).unwrap();
    let live = socket.next().await;
    assert_eq!((&live["s"], &live["d"]["content"]), (&json!(7), &json!("message 4")));
}

#[tokio::test]
async fn resumed_carries_an_empty_text_and_a_sequence() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (_socket, session) = bot.ready().await;
    let mut socket = bot.resuming(&session, 1).await;
    assert_eq!(socket.next_text().await, r#"{"op":0,"s":2,"t":"RESUMED","d":""}"#);
}

#[tokio::test]
async fn a_session_is_resumed_with_and_without_the_scheme_before_the_token() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (_socket, session) = bot.ready().await;
    for token in [bot.bearer(), bot.token.clone()] {
        let mut socket = bot.greeted().await;
        let d = json!({"token": token, "session_id": session, "seq": 1});
        socket.send(json!({"op": 6, "d": d, "Session": null})).await;
        socket.until("RESUMED").await;
    }
}

#[tokio::test]
async fn what_no_longer_can_be_replayed_is_refused_with_op_9() {
    let simulator = platform(|config| config.replay.frames = 5).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    (0..10).for_each(|n| drop(simulator.inject(APP, &message(n)).unwrap()));
    while socket.next().await["s"] != 11 {}
    drop(socket);
    simulator.inject(APP, &message(10)).unwrap();
    // Kept are 8 to 12.
    let mut socket = bot.resuming(&session, 6).await;
    assert_eq!(socket.next_text().await, r#"{"op":9,"d":false}"#);
    assert_eq!(socket.end().await, End::Code(4006));
    let mut socket = bot.resuming(&session, 8).await;
    assert_eq!(socket.until("RESUMED").await.len(), 5);
}

#[tokio::test]
async fn a_live_socket_gets_everything_however_little_is_kept() {
    let simulator = platform(|config| config.replay.frames = 1).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    (0..200).for_each(|n| drop(simulator.inject(APP, &message(n)).unwrap()));
    for seq in 2..=201 {
        assert_eq!(socket.next().await["s"], seq);
    }
}

#[tokio::test]
async fn a_sequence_that_was_never_given_out_and_a_session_that_never_was_are_refused() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (_socket, session) = bot.ready().await;
    let other = Bot::of(&simulator, OTHER_APP, "another secret").await;
    let refusals = [
        (bot.resuming(&session, 2).await, 4007),
        (bot.resuming(&session, json!(null)).await, 4007),
        (bot.resuming("0b7d", 1).await, 4006),
        (other.resuming(&session, 1).await, 4006),
    ];
    for (mut socket, code) in refusals {
        assert_eq!(socket.next_text().await, r#"{"op":9,"d":false}"#);
        assert_eq!(socket.end().await, End::Code(code));
    }
}

#[tokio::test]
async fn a_session_that_nobody_comes_back_for_ends() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (socket, session) = bot.ready().await;
    drop(socket);
    while simulator.sessions()[0].connection.is_some() {
        tokio::task::yield_now().await;
    }
    simulator.perform(&Action::Advance { by: Duration::from_secs(299) }).unwrap();
    drop(bot.resuming(&session, 1).await.until("RESUMED").await);
    while simulator.sessions()[0].connection.is_some() {
        tokio::task::yield_now().await;
    }
    simulator.perform(&Action::Advance { by: Duration::from_secs(301) }).unwrap();
    assert_eq!(bot.resuming(&session, 1).await.end().await, End::Code(4006));
    assert!(simulator.sessions().is_empty());
    assert_eq!(simulator.journal().counts().0.get("ended"), Some(&1));
}

#[tokio::test]
async fn the_newest_socket_has_the_session_and_the_older_one_is_closed() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut older, session) = bot.ready().await;
    let mut newer = bot.resuming(&session, 1).await;
    newer.until("RESUMED").await;
    assert_eq!(older.end().await, End::Code(4902));
    simulator.inject(APP, &message(1)).unwrap();
    assert_eq!(newer.next().await["s"], 3);
}

#[tokio::test]
async fn the_oldest_socket_can_be_made_to_keep_the_session() {
    let simulator =
        platform(|config| config.gateway.second_socket = SecondSocket::OldestWins).await;
    let bot = Bot::new(&simulator).await;
    let (mut older, session) = bot.ready().await;
    assert_eq!(bot.resuming(&session, 1).await.end().await, End::Code(4902));
    simulator.inject(APP, &message(1)).unwrap();
    assert_eq!(older.next().await["s"], 2);
}

#[tokio::test]
async fn earlier_resumed_frames_are_part_of_a_replay_unless_they_are_forgotten() {
    for (rule, expected) in
        [(ResumedFrames::Kept, vec![2, 3, 4]), (ResumedFrames::Forgotten, vec![3, 4])]
    {
        let simulator = platform(|config| config.replay.resumed = rule).await;
        let bot = Bot::new(&simulator).await;
        let (_socket, session) = bot.ready().await;
        bot.resuming(&session, 1).await.until("RESUMED").await;
        simulator.inject(APP, &message(1)).unwrap();
        let mut socket = bot.resuming(&session, 1).await;
        let mut seen = Vec::new();
        while seen.last() != Some(&4) {
            seen.push(socket.next().await["s"].as_u64().unwrap());
        }
        assert_eq!(seen, expected, "{rule:?}");
    }
}

#[tokio::test]
async fn a_socket_that_is_too_slow_is_closed_and_can_come_back() {
    let simulator = platform(|config| {
        config.replay.waiting = 10;
        config.replay.frames = 100;
    })
    .await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    let stall = |writing| Action::Stall {
        target: Default::default(),
        reading: false,
        writing,
        lasts: None,
    };
    simulator.perform(&stall(true)).unwrap();
    (0..20).for_each(|n| drop(simulator.inject(APP, &message(n)).unwrap()));
    simulator.perform(&stall(false)).unwrap();
    assert_eq!(socket.end().await, End::Code(4009));
    assert_eq!(bot.resuming(&session, 1).await.until("RESUMED").await.len(), 21);
}

#[tokio::test]
async fn two_sessions_of_one_shard_both_get_its_events() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut a, _) = bot.ready().await;
    let (mut b, _) = bot.ready().await;
    assert_eq!(simulator.inject(APP, &message(1)).unwrap().placed.len(), 2);
    assert_eq!(a.next().await["d"]["id"], b.next().await["d"]["id"]);
}
