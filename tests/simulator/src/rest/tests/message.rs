//! Uploads, streams, recalls, interactions, reactions, pins.

use super::*;

#[tokio::test]
async fn a_file_is_uploaded_once_and_sent_in_its_scene() {
    let bench = Bench::new().await;
    let upload = bench
        .post("/v2/groups/G/files", json!({"file_type": 1, "url": "https://x.invalid/a.png"}))
        .await;
    let info = upload.body["file_info"].as_str().unwrap().to_owned();
    assert_eq!(upload.body["ttl"], 3_600);
    let media = |msg_seq: u32| json!({"msg_type": 7, "content": " ", "media": {"file_info": info}, "msg_seq": msg_seq});
    for seq in 1..=2 {
        assert_eq!(bench.post(path_of(Scene::Group), media(seq)).await.status, 200);
    }
    assert_eq!(bench.post(path_of(Scene::C2c), media(1)).await.code(), 304_080);
    bench.later(Duration::from_secs(3_602));
    assert_eq!(bench.post(path_of(Scene::Group), media(3)).await.code(), 304_080);
}

#[tokio::test]
async fn an_upload_may_be_sent_at_once() {
    let bench = Bench::new().await;
    let body = json!({"file_type": 1, "file_data": "AQID", "srv_send_msg": true});
    let got = bench.post("/v2/users/U/files", body).await;
    assert!(got.body["id"].is_string() && got.body["file_info"].is_string(), "{got:?}");
    assert_eq!(bench.shown().len(), 1);
    assert_eq!(bench.post("/v2/users/U/files", json!({"file_type": 1})).await.code(), 10_000);
}

#[tokio::test]
async fn a_stream_is_one_reply_however_many_chunks_it_has() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::C2c);
    let path = "/v2/users/U/stream_messages";
    let chunk = |index: u32, state: u32, text: &str, stream: Option<&str>| {
        json!({
            "input_mode": "replace", "input_state": state, "index": index, "content_type": "markdown",
            "content_raw": text, "msg_id": id, "msg_seq": 1, "stream_msg_id": stream,
        })
    };
    let first = bench.post(path, chunk(0, 1, "he", None)).await;
    let stream = first.id();
    assert_eq!(first.body["remain_msg_len"], 3_998);
    let second = bench.post(path, chunk(1, 1, "hello", Some(&stream))).await;
    assert_eq!(second.id(), stream);
    assert_eq!(bench.post(path, chunk(2, 1, "help", Some(&stream))).await.code(), 40_007);
    assert_eq!(bench.post(path, chunk(2, 10, "hello!", Some(&stream))).await.status, 200);
    assert_eq!(bench.post(path, chunk(3, 10, "hello!!", Some(&stream))).await.code(), 50_035);
    assert_eq!(bench.post(path, chunk(0, 1, "x", Some("unknown"))).await.code(), 50_039);
    // The number is taken, and three replies are left.
    assert_eq!(bench.post(path_of(Scene::C2c), reply(&id, 1)).await.code(), 40_054_005);
    for seq in 2..=4 {
        assert_eq!(bench.post(path_of(Scene::C2c), reply(&id, seq)).await.status, 200);
    }
    assert_eq!(bench.post(path_of(Scene::C2c), reply(&id, 5)).await.code(), 40_034_128);
}

#[tokio::test]
async fn a_message_is_taken_back_within_two_minutes_once() {
    let bench = Bench::new().await;
    let send = async |seq| {
        bench.post(path_of(Scene::Group), reply(&bench.told(Scene::Group), seq)).await.id()
    };
    let (first, second) = (send(1).await, send(2).await);
    let at = |group: &str, id: &str| format!("/v2/groups/{group}/messages/{id}");
    assert_eq!(bench.delete(&at("OTHER", &first)).await.code(), 306_008);
    assert_eq!(bench.delete(&at("G", "unknown")).await.code(), 306_002);
    let recalled = bench.delete(&at("G", &first)).await;
    assert_eq!((recalled.status, recalled.body), (200, json!({})));
    assert_eq!(bench.delete(&at("G", &first)).await.code(), 306_002);
    bench.later(Duration::from_secs(121));
    assert_eq!(bench.delete(&at("G", &second)).await.code(), 40_064_004);
}

#[tokio::test]
async fn only_a_private_bot_takes_back_in_a_guild() {
    let bench = Bench::new().await;
    let id = bench.post(path_of(Scene::Channel), reply(&bench.told(Scene::Channel), 1)).await.id();
    let path = format!("/channels/11/messages/{id}?hidetip=false");
    assert_eq!(bench.delete(&path).await.code(), 11_253);

    let bench = bench.calling_as(PRIVATE_APP);
    let id = bench.post(path_of(Scene::Dm), reply(&bench.told(Scene::Dm), 1)).await.id();
    assert_eq!(bench.delete(&format!("/dms/20/messages/{id}")).await.status, 200);
}

#[tokio::test]
async fn an_interaction_is_answered_once_and_by_its_own_bot() {
    let bench = Bench::new().await;
    bench.event("INTERACTION_CREATE", None, json!({"id": "i-1", "group_openid": "G"}));
    let ack = json!({"code": 0});
    let bench = bench.calling_as(PRIVATE_APP);
    assert_eq!(bench.put("/interactions/i-1", ack.clone()).await.code(), 630_003);
    let bench = bench.calling_as(APP);
    assert_eq!(bench.put("/interactions/i-1", json!({"code": 9})).await.code(), 630_001);
    assert_eq!(bench.put("/interactions/i-1", ack.clone()).await.status, 200);
    assert_eq!(bench.put("/interactions/i-1", ack.clone()).await.code(), 630_001);
    assert_eq!(bench.put("/interactions/unknown", ack).await.code(), 630_001);
}

#[tokio::test]
async fn calls_are_counted_by_the_second() {
    let bench = Bench::new().await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(bench.delete("/v2/groups/G/messages/unknown").await.status);
    }
    assert_eq!(statuses, [&[400; 10][..], &[429]].concat());
    bench.later(Duration::from_secs(1));
    assert_eq!(bench.delete("/v2/groups/G/messages/unknown").await.status, 400);
}

#[tokio::test]
async fn reactions_and_pins_are_kept() {
    let bench = Bench::new().await;
    let reaction = "/channels/11/messages/m/reactions/1/4";
    assert_eq!(bench.delete(reaction).await.code(), 620_004);
    assert_eq!(bench.put(reaction, json!({})).await.status, 204);
    assert_eq!(bench.put(reaction, json!({})).await.code(), 620_003);
    let users = bench.get(&format!("{reaction}?limit=20")).await;
    assert_eq!(users.body["users"][0]["bot"], true, "{users:?}");
    assert_eq!(bench.delete(reaction).await.status, 204);
    let no_emoji = bench.put("/channels/11/messages/m/reactions/3/x", json!({})).await;
    assert_eq!(no_emoji.code(), 620_001);

    for pin in 0..20 {
        assert_eq!(bench.put(&format!("/channels/11/pins/{pin}"), json!({})).await.status, 200);
    }
    assert_eq!(bench.put("/channels/11/pins/20", json!({})).await.code(), 501_013);
    assert_eq!(bench.delete("/channels/11/pins/20").await.code(), 501_005);
    assert_eq!(bench.delete("/channels/11/pins/0").await.status, 204);
    assert_eq!(
        bench.get("/channels/11/pins").await.body["message_ids"].as_array().unwrap().len(),
        19
    );
    assert_eq!(bench.delete("/channels/11/pins/all").await.status, 204);
    assert_eq!(bench.get("/channels/11/pins").await.body["message_ids"], json!([]));
}
