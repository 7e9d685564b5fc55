//! What was armed before a socket was opened or a token asked for.

use std::time::Duration;

use qqrelay_simulator::app::Standing;
use qqrelay_simulator::config::Refusal;
use qqrelay_simulator::control::Arming;
use qqrelay_simulator::faults::{Aim, Armed};
use qqrelay_simulator::gateway::fault::SocketFault;
use qqrelay_simulator::token_endpoint::TokenFault;
use qqrelay_simulator::{Action, Injection, Simulator};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;

use crate::bot::{APP, Bot, End, INTENTS, SECRET, http, platform};

fn arm(simulator: &Simulator, fault: SocketFault) {
    let arming = Arming::Socket(Armed::next(1, fault));
    simulator.perform(&Action::Arm(arming)).unwrap();
}

#[tokio::test]
async fn an_upgrade_can_be_refused() {
    let simulator = platform(|_| {}).await;
    arm(&simulator, SocketFault::RefuseUpgrade(503));
    let url = simulator.base_url().replace("http:", "ws:") + "/websocket/";
    match connect_async(&url).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    connect_async(&url).await.expect("it was armed for one");
}

#[tokio::test]
async fn hello_can_be_odd_or_missing() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    for interval in [json!(0), json!(-1), json!("soon"), json!(1_000_000_000_000u64), json!(null)] {
        arm(&simulator, SocketFault::HelloInterval(interval.clone()));
        let hello = bot.open().await.next().await;
        assert_eq!(hello, json!({"op": 10, "d": {"heartbeat_interval": interval}}));
    }
    arm(&simulator, SocketFault::NoHello);
    let mut socket = bot.open().await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    assert_eq!(socket.next().await["t"], "READY", "the first frame is not Hello");
}

#[tokio::test]
async fn an_identify_can_be_refused_in_every_way() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let cases = [
        (Refusal::InvalidSession(4903), Some(json!(false)), End::Code(4903)),
        (Refusal::ComeAgain(4009), Some(json!(true)), End::Code(4009)),
        (Refusal::Close(4902), None, End::Code(4902)),
        (Refusal::HangUp, None, End::Eof),
    ];
    for (refusal, op_9, end) in cases {
        arm(&simulator, SocketFault::RefuseIdentify(refusal));
        let mut socket = bot.greeted().await;
        bot.identify(&mut socket, [0, 1], INTENTS).await;
        if let Some(d) = op_9 {
            assert_eq!(socket.next().await, json!({"op": 9, "d": d}));
        }
        assert_eq!(socket.end().await, end, "{refusal:?}");
    }
}

#[tokio::test]
async fn resumes_of_one_shard_can_be_refused_for_good() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (_a, first) = bot.ready_as([0, 2], INTENTS).await;
    let (_b, second) = bot.ready_as([1, 2], INTENTS).await;
    let aim = Aim { app: Some(APP.into()), shard: Some((0, 2).into()), ..Aim::default() };
    let fault = SocketFault::RefuseResume(Refusal::Close(4902));
    let arming = Arming::Socket(Armed::always(fault).aimed(aim));
    simulator.perform(&Action::Arm(arming)).unwrap();
    for _ in 0..4 {
        assert_eq!(bot.resuming(&first, 1).await.end().await, End::Code(4902));
    }
    bot.resuming(&second, 1).await.until("RESUMED").await;
    simulator.perform(&Action::Disarm).unwrap();
    bot.resuming(&first, 1).await.until("RESUMED").await;
}

#[tokio::test]
async fn ready_can_be_missing_or_say_something_else() {
    let simulator =
        platform(|config| config.gateway.handshake_timeout = Duration::from_millis(50)).await;
    let bot = Bot::new(&simulator).await;
    arm(&simulator, SocketFault::NoReady);
    let mut socket = bot.greeted().await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    assert_eq!(socket.next_or_end().await, Err(End::Code(4003)));
    arm(&simulator, SocketFault::ReadyAs(json!({"shard": [5, 4], "session_id": null})));
    let mut socket = bot.greeted().await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    let ready = socket.next().await;
    assert_eq!((&ready["d"]["shard"], ready["d"].get("session_id")), (&json!([5, 4]), None));
}

#[tokio::test]
async fn a_replay_can_come_without_resumed() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (_socket, session) = bot.ready().await;
    simulator.inject(APP, &Injection::c2c("U1", "missed")).unwrap();
    arm(&simulator, SocketFault::NoResumed);
    let mut socket = bot.resuming(&session, 1).await;
    assert_eq!(socket.next().await["d"]["content"], "missed");
    simulator.inject(APP, &Injection::c2c("U1", "live")).unwrap();
    let frame = socket.next().await;
    assert_eq!((&frame["s"], &frame["d"]["content"]), (&json!(3), &json!("live")));
}

#[tokio::test]
async fn an_expired_token_holds_nowhere() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (_socket, session) = bot.ready().await;
    simulator.perform(&Action::ExpireTokens { app: APP.into() }).unwrap();
    let refused = bot.get("/gateway").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], 11_244);
    assert_eq!(bot.resuming(&session, 1).await.end().await, End::Code(4004));
    let renewed = Bot::new(&simulator).await;
    renewed.resuming(&session, 1).await.until("RESUMED").await;
}

#[tokio::test]
async fn who_calls_from_a_wrong_address_gets_a_token_and_nothing_else() {
    let simulator = platform(|_| {}).await;
    let standing = Standing { ban: None, ip_blocked: true };
    simulator.perform(&Action::Stand { app: APP.into(), standing }).unwrap();
    let bot = Bot::new(&simulator).await;
    for path in ["/gateway", "/gateway/bot", "/users/@me"] {
        let refused = bot.get(path).await;
        assert_eq!(refused.status(), 401);
        let body: Value = refused.json().await.unwrap();
        assert_eq!((&body["code"], &body["err_code"]), (&json!(11_298), &json!(40_023_002)));
    }
}

#[tokio::test]
async fn the_token_endpoint_can_fail_in_every_way() {
    let simulator = platform(|_| {}).await;
    let url = format!("{}/app/getAppAccessToken", simulator.base_url());
    let ask = async |fault: TokenFault| {
        let arming = Arming::Token(Armed::next(1, fault));
        simulator.perform(&Action::Arm(arming)).unwrap();
        let body = json!({"appId": APP, "clientSecret": SECRET});
        let response = http().post(&url).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, body) = ask(TokenFault::Code(100_001)).await;
    assert_eq!((status, body.contains("100001")), (200, true));
    let (status, body) = ask(TokenFault::Status(502)).await;
    assert_eq!((status, body.starts_with("<html>")), (502, true));
    let (status, body) = ask(TokenFault::ExpiresIn(json!(30))).await;
    assert_eq!((status, body.contains(r#""expires_in":30"#)), (200, true));
    let (_, body) = ask(TokenFault::Torn).await;
    assert!(serde_json::from_str::<Value>(&body).is_err());
    let (status, body) = ask(TokenFault::Slow(Duration::from_millis(5))).await;
    assert_eq!((status, body.contains("access_token")), (200, true));
}
