//! Every close code that a client can bring upon itself.

use std::time::Duration;

use qqrelay_simulator::app::{Domain, Standing};
use qqrelay_simulator::config::NormalClose;
use qqrelay_simulator::{Action, AppConfig};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::bot::{APP, Bot, End, INTENTS, platform};

/// What a greeted client says, and the code that it is closed with.
async fn check(bot: &Bot<'_>, says: Value, code: u16) {
    let mut socket = bot.greeted().await;
    socket.send(says.clone()).await;
    assert_eq!(socket.end().await, End::Code(code), "{says}");
}

#[tokio::test]
async fn a_frame_that_makes_no_sense_is_closed_with_the_documented_code() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    for op in [0, 3, 4, 5, 7, 9, 10, 11, 12, 13, 200, -1] {
        check(&bot, json!({"op": op, "d": null}), 4001).await;
    }
    check(&bot, json!({"d": 1}), 4002).await;
    check(&bot, json!({"op": "1"}), 4002).await;
    check(&bot, json!([]), 4002).await;
    check(&bot, json!({"op": 1, "d": 1}), 4003).await;
    let mut socket = bot.greeted().await;
    socket.send_text("{").await;
    assert_eq!(socket.end().await, End::Code(4002));
}

#[tokio::test]
async fn an_identify_that_is_not_granted_is_closed_with_the_documented_code() {
    let simulator = platform(|config| {
        config.apps.push(AppConfig { intents: Some(3), ..AppConfig::new("few", "secret") });
        config.apps.push(AppConfig { domain: Domain::Private, ..AppConfig::new("all", "secret") });
    })
    .await;
    let bot = Bot::new(&simulator).await;
    let identify = |change: Value| {
        let mut d = json!({"token": bot.bearer(), "intents": INTENTS, "shard": [0, 1]});
        let members = change.as_object().unwrap().clone();
        d.as_object_mut().unwrap().extend(members);
        json!({"op": 2, "d": d})
    };
    for token in ["QQBot wrong", "wrong", "Bot 102000001.wrong", "Bearer x", ""] {
        check(&bot, identify(json!({"token": token})), 4004).await;
    }
    check(&bot, identify(json!({"token": null})), 4002).await;
    for shard in
        [json!([1, 1]), json!([0, 0]), json!([-1, 2]), json!([0]), json!("0"), json!([5, 4])]
    {
        check(&bot, identify(json!({"shard": shard})), 4010).await;
    }
    for intents in [json!(1 << 2), json!(1u64 << 31), json!(1u64 << 40), json!(-1), json!("1")] {
        check(&bot, identify(json!({"intents": intents})), 4013).await;
    }
    // A public bot may have neither all guild messages nor forums.
    check(&bot, identify(json!({"intents": 1 << 9})), 4014).await;
    check(&bot, identify(json!({"intents": 1 << 28})), 4014).await;
    let few = Bot::of(&simulator, "few", "secret").await;
    check(&few, identify(json!({"token": few.bearer(), "intents": 1 << 25})), 4014).await;
    let all = Bot::of(&simulator, "all", "secret").await;
    all.ready_as([0, 1], INTENTS | 1 << 9 | 1 << 28).await;
}

#[tokio::test]
async fn the_old_scheme_identifies_too() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let mut socket = bot.greeted().await;
    let token = format!("Bot {APP}.{}", crate::bot::SECRET);
    let d = json!({"token": token, "intents": 0, "properties": {"$os": "linux"}});
    socket.send(json!({"op": 2, "d": d})).await;
    let ready = socket.next().await;
    assert_eq!(ready["d"]["shard"], json!([0, 1]), "who says nothing of shards gets everything");
}

#[tokio::test]
async fn who_identifies_twice_is_closed() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    assert_eq!(socket.end().await, End::Code(4005));
    let mut socket = bot.resuming(&session, 1).await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    assert_eq!(socket.end().await, End::Code(4005));
}

#[tokio::test]
async fn who_sends_too_much_is_closed() {
    let simulator = platform(|config| config.gateway.frames_a_minute = Some(5)).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    for _ in 0..4 {
        socket.send(json!({"op": 1, "d": 1})).await;
        assert_eq!(socket.next().await["op"], 11);
    }
    socket.send(json!({"op": 1, "d": 1})).await;
    assert_eq!(socket.end().await, End::Code(4008));
}

#[tokio::test]
async fn who_stops_beating_is_closed_with_4009_and_keeps_the_session() {
    let timeout = Duration::from_millis(50);
    let simulator = platform(|config| config.gateway.heartbeat_timeout = Some(timeout)).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    assert_eq!(socket.end().await, End::Code(4009));
    bot.resuming(&session, 1).await.until("RESUMED").await;
}

#[tokio::test]
async fn who_never_identifies_is_closed() {
    let simulator =
        platform(|config| config.gateway.handshake_timeout = Duration::from_millis(50)).await;
    let mut socket = Bot::new(&simulator).await.greeted().await;
    assert_eq!(socket.end().await, End::Code(4003));
}

#[tokio::test]
async fn a_socket_is_sent_away_after_its_cycle_and_the_session_goes_on() {
    let simulator = platform(|config| config.gateway.cycle = Some(Duration::from_millis(50))).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    assert_eq!(socket.next_text().await, r#"{"op":7}"#);
    assert_eq!(socket.end().await, End::Code(4009));
    bot.resuming(&session, 1).await.until("RESUMED").await;
}

#[tokio::test]
async fn a_bot_that_is_banned_or_offline_cannot_connect() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    for code in [4914, 4915] {
        let standing = Standing { ban: Some(code), ip_blocked: false };
        simulator.perform(&Action::Stand { app: APP.into(), standing }).unwrap();
        let mut greeted = bot.greeted().await;
        bot.identify(&mut greeted, [0, 1], INTENTS).await;
        assert_eq!(greeted.end().await, End::Code(code));
        assert_eq!(bot.resuming(&session, 1).await.end().await, End::Code(code));
    }
    assert_eq!(socket.end().await, End::Code(4914));
    let standing = Standing::default();
    simulator.perform(&Action::Stand { app: APP.into(), standing }).unwrap();
    bot.resuming(&session, 1).await.until("RESUMED").await;
}

#[tokio::test]
async fn a_normal_close_ends_the_session_only_where_it_is_said_to() {
    for (rule, code, lives) in [
        (NormalClose::KeepsSession, 1000, true),
        (NormalClose::EndsSession, 1000, false),
        (NormalClose::EndsSession, 1001, false),
        (NormalClose::EndsSession, 4000, true),
    ] {
        let simulator = platform(|config| config.gateway.normal_close = rule).await;
        let bot = Bot::new(&simulator).await;
        let (mut socket, session) = bot.ready().await;
        let close = CloseFrame { code: code.into(), reason: "".into() };
        socket.stream.close(Some(close)).await.unwrap();
        assert_eq!(socket.end().await, End::Code(code), "a close is answered");
        while simulator.sessions().first().is_some_and(|session| session.connection.is_some()) {
            tokio::task::yield_now().await;
        }
        let first = bot.resuming(&session, 1).await.next().await;
        let expected = if lives { 0 } else { 9 };
        assert_eq!(first["op"], expected, "{rule:?} {code}");
    }
}
