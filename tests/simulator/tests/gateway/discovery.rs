//! Tokens and gateway look-ups, as the SDKs read them.

use std::time::Duration;

use qqrelay_simulator::control::{Arming, Client};
use qqrelay_simulator::faults::Armed;
use qqrelay_simulator::gateway::fault::SocketFault;
use qqrelay_simulator::journal::{Entry, Line};
use qqrelay_simulator::{Action, Injection};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bot::{APP, Bot, End, INTENTS, SECRET, http, platform};

#[tokio::test]
async fn a_token_holds_for_a_text_of_seconds_and_is_the_same_when_asked_again() {
    let simulator = platform(|_| {}).await;
    let ask = async || {
        let url = format!("{}/app/getAppAccessToken", simulator.base_url());
        let body = json!({"appId": APP, "clientSecret": SECRET}).to_string();
        // Without a content type, as nothing must depend on it.
        let response = http().post(url).body(body).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        response.json::<Value>().await.unwrap()
    };
    let first = ask().await;
    assert_eq!(first["expires_in"], "7200");
    simulator.perform(&Action::Advance { by: Duration::from_secs(7_000) }).unwrap();
    let second = ask().await;
    assert_eq!(second["access_token"], first["access_token"]);
    let left: u64 = second["expires_in"].as_str().unwrap().parse().unwrap();
    assert!((190..=200).contains(&left), "{left}");
    simulator.perform(&Action::Advance { by: Duration::from_secs(145) }).unwrap();
    assert_ne!(ask().await["access_token"], first["access_token"]);
}

#[tokio::test]
async fn wrong_credentials_are_refused_under_http_200() {
    let simulator = platform(|_| {}).await;
    let url = format!("{}/app/getAppAccessToken", simulator.base_url());
    for (body, code) in [
        (json!({"appId": APP, "clientSecret": "wrong"}), 100_016),
        (json!({"appId": "1", "clientSecret": SECRET}), 100_007),
        (json!({"appId": APP}), 12_002),
        (json!(null), 12_002),
    ] {
        let response = http().post(&url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["code"], code, "{body}");
        assert!(answer["message"].is_string() && answer["access_token"].is_null());
    }
}

#[tokio::test]
async fn the_gateway_tells_its_address_as_the_caller_knows_it() {
    let simulator = platform(|config| config.shards = 4).await;
    let bot = Bot::new(&simulator).await;
    let response = bot.get("/gateway").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["x-tps-trace-id"].len(), 32);
    let url = simulator.base_url().replace("http:", "ws:") + "/websocket/";
    assert_eq!(response.json::<Value>().await.unwrap(), json!({"url": url}));
    let answer: Value = bot.get("/gateway/bot").await.json().await.unwrap();
    assert_eq!((&answer["url"], &answer["shards"]), (&json!(url), &json!(4)));
    let limit = &answer["session_start_limit"];
    assert_eq!((&limit["total"], &limit["remaining"]), (&json!(1000), &json!(1000)));
    assert_eq!(limit["max_concurrency"], 1);
    assert!(limit["reset_after"].as_u64().is_some_and(|ms| ms <= 86_400_000));
}

#[tokio::test]
async fn every_identify_and_no_resume_uses_up_the_day() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let remaining = async || {
        let answer: Value = bot.get("/gateway/bot").await.json().await.unwrap();
        answer["session_start_limit"]["remaining"].as_u64().unwrap()
    };
    let (_socket, session) = bot.ready().await;
    bot.ready_as([0, 2], INTENTS).await;
    assert_eq!(remaining().await, 998);
    bot.resuming(&session, 1).await.until("RESUMED").await;
    assert_eq!(remaining().await, 998);
    simulator.perform(&Action::IdentifiesLeft { app: APP.into(), remaining: 1 }).unwrap();
    assert_eq!(remaining().await, 1);
}

#[tokio::test]
async fn a_strict_platform_enforces_what_a_lenient_one_counts() {
    let simulator = platform(|config| {
        *config = config.clone().strict();
        config.gateway.close_delay = Duration::ZERO;
    })
    .await;
    let bot = Bot::new(&simulator).await;
    bot.ready().await;
    let mut socket = bot.greeted().await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    assert_eq!(socket.next_text().await, r#"{"op":9,"d":false}"#);
    assert_eq!(socket.end().await, End::Code(4903));
    simulator.perform(&Action::Advance { by: Duration::from_secs(5) }).unwrap();
    bot.ready().await;
    simulator.perform(&Action::Advance { by: Duration::from_secs(5) }).unwrap();
    simulator.perform(&Action::IdentifiesLeft { app: APP.into(), remaining: 0 }).unwrap();
    let mut socket = bot.greeted().await;
    bot.identify(&mut socket, [0, 1], INTENTS).await;
    assert_eq!(socket.end().await, End::Code(4903));
    for _ in 0..10 {
        assert_eq!(bot.get("/gateway").await.status(), 200);
    }
    let refused = bot.get("/gateway/bot").await;
    assert_eq!(refused.status(), 429);
    let body: Value = refused.json().await.unwrap();
    assert!(body["message"].is_string() && body["trace_id"].is_string(), "{body}");
}

#[tokio::test]
async fn an_upgrade_declines_compression_and_comes_on_a_connection_that_was_used() {
    let simulator = platform(|_| {}).await;
    let address = simulator.base_url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let health = format!("GET /_sim/health HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(health.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    let upgrade = format!(
        "GET /websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.to_lowercase().contains("extensions"), "{head}");
    // Hello is one short, final, unmasked, uncompressed text frame.
    assert_eq!(stream.read_u8().await.unwrap(), 0x81);
}

#[tokio::test]
async fn another_process_can_do_all_that_a_test_in_this_one_can() {
    let simulator = platform(|_| {}).await;
    let (mut socket, session) = Bot::new(&simulator).await.ready().await;
    let control = Client::new(simulator.base_url()).unwrap();
    let pushed = control.inject(APP, Injection::c2c("U1", "hi")).await.unwrap();
    assert_eq!(pushed.placed[0].session.as_str(), session);
    assert_eq!(socket.next().await["d"]["content"], "hi");
    let again = Action::PushAgain { injection: pushed.injection };
    control.perform(&again).await.unwrap();
    assert_eq!(socket.next().await["s"], 3);
    let sessions = control.sessions().await.unwrap();
    assert_eq!((sessions[0].last_seq, sessions[0].written), (3, Some(3)));
    assert_eq!(control.counters().await.unwrap().entries["dispatch"], 2);
    assert_eq!(control.journal().await.unwrap(), simulator.journal().all());
    let error = control.inject("nobody", Injection::c2c("U1", "hi")).await.unwrap_err();
    assert_eq!(error.to_string(), "the simulator refused: there is no bot nobody");
}

#[tokio::test]
async fn the_journal_tells_a_sockets_whole_life_in_order() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, session) = bot.ready().await;
    socket.send(json!({"op": 1, "d": 1})).await;
    assert_eq!(socket.next().await["op"], 11);
    let first = simulator.inject(APP, &Injection::c2c("U1", "hi")).unwrap().injection;
    simulator.perform(&Action::PushAgain { injection: first }).unwrap();
    let close = Action::Close { target: Default::default(), code: Some(4000), reason: "r".into() };
    simulator.perform(&close).unwrap();
    assert_eq!(socket.end().await, End::Code(4000));
    bot.resuming(&session, 3).await.until("RESUMED").await;
    let kinds: Vec<_> = simulator.journal().all().iter().map(|line| line.entry.label()).collect();
    assert_eq!(
        kinds[..10],
        [
            "token",
            "connected",
            "hello",
            "identify",
            "ready",
            "heartbeat",
            "ack",
            "dispatch",
            "dispatch",
            "action"
        ]
    );
    let lines = serde_json::to_value(simulator.journal().all()).unwrap();
    let dispatched = &lines[8];
    assert_eq!(dispatched["repeat_of"], first);
    assert_eq!(dispatched["event_id"], lines[7]["event_id"]);
    assert_eq!(
        (&dispatched["type"], &dispatched["seq"]),
        (&json!("C2C_MESSAGE_CREATE"), &json!(3))
    );
    let closed = lines.as_array().unwrap().iter().find(|line| line["what"] == "close").unwrap();
    assert_eq!((&closed["by"], &closed["code"]), (&json!("platform"), &json!(4000)));
    let resumed = lines.as_array().unwrap().iter().find(|line| line["what"] == "resumed").unwrap();
    assert_eq!((&resumed["after"], &resumed["seq"]), (&json!(3), &json!(4)));
}

#[tokio::test]
async fn a_look_up_can_fail_or_lead_elsewhere() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let fault = SocketFault::RefuseLookup { status: 404, code: 404 };
    simulator.perform(&Action::Arm(Arming::Socket(Armed::next(1, fault)))).unwrap();
    assert_eq!(bot.get("/gateway").await.status(), 404);
    let tell = async |url: Option<&str>| {
        simulator.perform(&Action::TellUrl { url: url.map(str::to_owned) }).unwrap();
        let answer: Value = bot.get("/gateway/bot").await.json().await.unwrap();
        answer["url"].as_str().unwrap().to_owned()
    };
    assert_eq!(tell(Some("ws://127.0.0.1:1/gone")).await, "ws://127.0.0.1:1/gone");
    assert!(tell(None).await.ends_with("/websocket/"));
    let looked_up =
        |line: &Line| matches!(&line.entry, Entry::Rest { status, .. } if *status == 404);
    assert_eq!(simulator.journal().all().iter().filter(|line| looked_up(line)).count(), 1);
}
