//! Everything that can be done to a socket or a session that is there.

use std::time::Duration;

use qqrelay_simulator::control::{Lapse, RawBytes};
use qqrelay_simulator::gateway::session::Silence;
use qqrelay_simulator::{Action, Injection, Simulator, Target};
use serde_json::{Value, json};

use crate::bot::{APP, Bot, End, INTENTS, platform};

fn push(simulator: &Simulator, text: &str) -> u64 {
    simulator.inject(APP, &Injection::group_at("G1", "U1", text)).unwrap().injection
}

fn all() -> Target {
    Target::default()
}

#[tokio::test]
async fn a_reconnect_is_op_7_and_then_a_close() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    simulator.perform(&Action::Reconnect { target: all(), code: 4009, after: None }).unwrap();
    assert_eq!(socket.next_text().await, r#"{"op":7}"#);
    assert_eq!(socket.end().await, End::Code(4009));
    push(&simulator, "missed");
    let mut socket = bot.resuming(&session, 1).await;
    assert_eq!(socket.next().await["d"]["content"], "missed");
}

#[tokio::test]
async fn events_go_on_between_op_7_and_its_close() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let after = Some(Duration::from_secs(3_600));
    simulator.perform(&Action::Reconnect { target: all(), code: 4009, after }).unwrap();
    push(&simulator, "between");
    assert_eq!(socket.next().await["op"], 7);
    assert_eq!(socket.next().await["d"]["content"], "between");
    let close = Action::Close { target: all(), code: Some(1000), reason: String::new() };
    simulator.perform(&close).unwrap();
    assert_eq!(socket.end().await, End::Code(1000), "a sooner close is not held up");
}

#[tokio::test]
async fn an_invalid_session_says_whether_to_come_again() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    for resumable in [true, false] {
        let (mut socket, session) = bot.ready().await;
        let action = Action::InvalidSession { target: all(), resumable, code: 4006 };
        simulator.perform(&action).unwrap();
        assert_eq!(socket.next().await, json!({"op": 9, "d": resumable}));
        assert_eq!(socket.end().await, End::Code(4006));
        // It only said so: whether the session really ended is another action.
        bot.resuming(&session, 1).await.until("RESUMED").await;
    }
    let (mut socket, session) = bot.ready().await;
    simulator.perform(&Action::EndSession { target: all() }).unwrap();
    assert_eq!(socket.next().await, json!({"op": 9, "d": false}));
    assert_eq!(bot.resuming(&session, 1).await.end().await, End::Code(4006));
}

#[tokio::test]
async fn any_close_code_can_be_sent_to_any_part_of_the_sockets() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut first, _) = bot.ready_as([0, 2], INTENTS).await;
    for code in [1000, 1011, 4000, 4009, 4902, 4914, 4999] {
        let (mut second, _) = bot.ready_as([1, 2], INTENTS).await;
        let target = Target::shard(APP, 1, 2);
        let close = Action::Close { target, code: Some(code), reason: "why".into() };
        assert_eq!(simulator.perform(&close).unwrap().touched, 1);
        assert_eq!(second.end().await, End::Code(code));
    }
    simulator.perform(&Action::Close { target: all(), code: None, reason: String::new() }).unwrap();
    assert_eq!(first.end().await, End::NoCode);
}

#[tokio::test]
async fn a_connection_can_be_reset_or_just_end() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    simulator.perform(&Action::Cut { target: all() }).unwrap();
    assert_eq!(socket.end().await, End::Reset);
    let mut socket = bot.resuming(&session, 1).await;
    socket.until("RESUMED").await;
    simulator.perform(&Action::HangUp { target: Target::app(APP) }).unwrap();
    assert_eq!(socket.end().await, End::Eof);
}

#[tokio::test]
async fn a_stalled_socket_stays_open_and_nothing_moves_until_it_is_freed() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut stalled, _) = bot.ready_as([0, 1], INTENTS).await;
    let (mut free, _) = bot.ready_as([0, 1], INTENTS).await;
    let target = Target { connection: Some(1), ..Target::default() };
    let stall =
        |on| Action::Stall { target: target.clone(), reading: on, writing: on, lasts: None };
    assert_eq!(simulator.perform(&stall(true)).unwrap().touched, 1);
    stalled.send(json!({"op": 1, "d": 1})).await;
    push(&simulator, "for both");
    assert_eq!(free.next().await["s"], 2);
    let session = &simulator.sessions()[0];
    assert_eq!((session.last_seq, session.written), (2, Some(1)));
    assert_eq!(simulator.journal().counts().0.get("heartbeat"), None);
    simulator.perform(&stall(false)).unwrap();
    let frames = [stalled.next().await, stalled.next().await];
    assert!(frames.iter().any(|frame| frame["op"] == 11) && frames.iter().any(|f| f["s"] == 2));
}

#[tokio::test]
async fn a_stall_can_end_by_itself() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let lasts = Some(Duration::from_millis(20));
    let stall = Action::Stall { target: all(), reading: true, writing: true, lasts };
    simulator.perform(&stall).unwrap();
    push(&simulator, "late");
    assert_eq!(socket.next().await["d"]["content"], "late");
}

#[tokio::test]
async fn a_silent_session_answers_no_heartbeat_or_forgets_its_events() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    let silence = |silence| Action::Silence { target: all(), silence };
    simulator.perform(&silence(Silence { acks: true, dispatches: false })).unwrap();
    socket.send(json!({"op": 1, "d": 1})).await;
    push(&simulator, "heard");
    assert_eq!(socket.next().await["d"]["content"], "heard");
    // Silence is the session's, not the socket's: a resume does not wake it up.
    simulator.perform(&silence(Silence { acks: false, dispatches: true })).unwrap();
    let mut socket = bot.resuming(&session, 2).await;
    socket.until("RESUMED").await;
    push(&simulator, "lost");
    socket.send(json!({"op": 1, "d": 1})).await;
    assert_eq!(socket.next().await["op"], 11);
    simulator.perform(&silence(Silence::default())).unwrap();
    push(&simulator, "heard again");
    let frame = socket.next().await;
    assert_eq!((&frame["s"], &frame["d"]["content"]), (&json!(4), &json!("heard again")));
}

#[tokio::test]
async fn sequences_can_be_skipped_for_good() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    simulator.perform(&Action::Skip { target: all(), count: 3 }).unwrap();
    push(&simulator, "after the hole");
    assert_eq!(socket.next().await["s"], 5);
    let replayed = bot.resuming(&session, 1).await.until("RESUMED").await;
    assert_eq!(replayed.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [5, 6]);
}

#[tokio::test]
async fn frames_come_again_under_the_sequence_they_had() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    for text in ["two", "three", "four"] {
        push(&simulator, text);
        socket.next().await;
    }
    simulator.perform(&Action::Again { target: all(), lapse: Lapse::Last(2) }).unwrap();
    assert_eq!([socket.next().await["s"].clone(), socket.next().await["s"].clone()], [3, 4]);
    simulator.perform(&Action::Again { target: all(), lapse: Lapse::Back(2) }).unwrap();
    assert_eq!(socket.next().await["d"]["content"], "two");
    push(&simulator, "five");
    assert_eq!(socket.next().await["s"], 5);
}

#[tokio::test]
async fn the_same_event_can_come_again_under_a_new_sequence() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let injection = push(&simulator, "twice");
    simulator.perform(&Action::PushAgain { injection }).unwrap();
    let (first, second) = (socket.next().await, socket.next().await);
    assert_eq!((&first["id"], &first["d"]), (&second["id"], &second["d"]));
    assert_eq!((&first["s"], &second["s"]), (&json!(2), &json!(3)));
    let unknown = simulator.perform(&Action::PushAgain { injection: 999 }).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no injection 999 to push again");
}

#[tokio::test]
async fn anything_at_all_can_be_sent() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let raw = |bytes| Action::Raw { target: all(), bytes };
    simulator.perform(&raw(RawBytes::Text("{\"op\":0,\"s\":1e400".into()))).unwrap();
    assert_eq!(socket.next_text().await, "{\"op\":0,\"s\":1e400");
    // A close frame with the forbidden code 1005.
    simulator.perform(&raw(RawBytes::Base64("iAID7Q==".into()))).unwrap();
    let result = tokio::time::timeout(Duration::from_secs(20), async {
        use futures_util::StreamExt;
        socket.stream.next().await
    });
    assert!(!matches!(
        result.await.expect("the socket ends"),
        Some(Ok(tokio_tungstenite::tungstenite::Message::Text(_)))
    ));
    let odd = simulator.perform(&raw(RawBytes::Base64("!".into()))).unwrap_err();
    assert_eq!(odd.to_string(), "the bytes are not base64");
}

#[tokio::test]
async fn an_event_can_be_anything() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    simulator.inject(APP, &Injection::verbatim("X.*>", r#"{"a":1,"a":2}"#)).unwrap();
    let text = socket.next_text().await;
    assert!(text.contains(r#""t":"X.*>""#) && text.ends_with(r#""d":{"a":1,"a":2}}"#), "{text}");
    let null = Injection::of("C2C_MESSAGE_CREATE").with(json!({"content": null}));
    simulator.inject(APP, &null).unwrap();
    let frame = socket.next().await;
    assert_eq!(frame["d"].get("content"), None::<&Value>);
}
