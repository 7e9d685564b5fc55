//! What can be read.

use super::*;

#[tokio::test]
async fn the_bot_knows_itself_and_where_it_is() {
    let bench = Bench::new().await;
    let me = bench.get("/users/@me").await;
    assert!(me.body["id"].as_str().unwrap().parse::<u64>().is_ok(), "{me:?}");
    assert_eq!(me.body["bot"], true);
    bench.told(Scene::Channel);
    let guilds = bench.get("/users/@me/guilds").await;
    let ids: Vec<_> = guilds.body.as_array().unwrap().iter().map(|guild| &guild["id"]).collect();
    assert!(ids.contains(&&json!("10")) && ids.len() == 2, "{ids:?}");
    let first = bench.get("/users/@me/guilds?limit=1").await;
    assert_eq!(first.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn guilds_channels_members_and_roles_are_objects_of_the_documented_kind() {
    let bench = Bench::new().await;
    bench.told(Scene::Channel);
    let check = async |path: &str, pointer: &str, expected: Value| {
        let got = bench.get(path).await;
        assert_eq!(got.status, 200, "{path} {got:?}");
        assert_eq!(got.body.pointer(pointer), Some(&expected), "{path} {got:?}");
    };
    check("/guilds/10", "/id", json!("10")).await;
    check("/channels/11", "/guild_id", json!("10")).await;
    check("/guilds/10/members/77", "/user/id", json!("77")).await;
    check("/guilds/10/roles", "/roles/0/id", json!("1")).await;
    check("/guilds/10/message/setting", "/channel_push_max_num", json!(20)).await;
    check("/v2/groups/G/info", "/group_openid", json!("G")).await;
    check("/v2/groups/G/bot_state", "/allow_proactive_msg", json!(true)).await;
    let channels = bench.get("/guilds/10/channels").await;
    let found = channels.body.as_array().unwrap().iter().any(|channel| channel["id"] == "11");
    assert!(found, "{channels:?}");
}

#[tokio::test]
async fn a_group_is_asked_about_thirty_times_a_minute() {
    let bench = Bench::new().await;
    for _ in 0..30 {
        assert_eq!(bench.get("/v2/groups/G/info").await.status, 200);
    }
    assert_eq!(bench.get("/v2/groups/OTHER/info").await.status, 429);
    assert_eq!(bench.get("/v2/groups/G/bot_state").await.status, 200);
    bench.later(Duration::from_secs(60));
    assert_eq!(bench.get("/v2/groups/G/info").await.status, 200);
}

#[tokio::test]
async fn an_id_that_is_no_number_is_nobodys() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/guilds/x").await.code(), 10_004);
    assert_eq!(bench.get("/channels/x").await.code(), 10_003);
    assert_eq!(bench.post("/channels/x/messages", json!({"content": "x"})).await.code(), 10_003);
    assert_eq!(bench.post("/dms/x/messages", json!({"content": "x"})).await.code(), 304_032);
}

#[tokio::test]
async fn members_are_paged_to_an_empty_end_for_private_bots() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/guilds/10/members?limit=400").await.code(), 11_253);
    let bench = bench.calling_as(PRIVATE_APP);
    let (mut after, mut found) = ("0".to_owned(), 0);
    loop {
        let page = bench.get(&format!("/guilds/10/members?after={after}&limit=3")).await;
        let members = page.body.as_array().unwrap();
        let Some(last) = members.last() else { break };
        found += members.len();
        after = last["user"]["id"].as_str().unwrap().to_owned();
    }
    assert_eq!(found, 4);
}

#[tokio::test]
async fn a_direct_message_is_opened_and_written_to() {
    let bench = Bench::new().await;
    let asked = json!({"recipient_id": "77", "source_guild_id": "10"});
    let dm = bench.post("/users/@me/dms", asked.clone()).await;
    assert!(dm.body["create_time"].is_string() && dm.body["channel_id"].is_string(), "{dm:?}");
    assert_eq!(bench.post("/users/@me/dms", asked).await.body["guild_id"], dm.body["guild_id"]);
    let path = format!("/dms/{}/messages", dm.body["guild_id"].as_str().unwrap());
    let sent = bench.post(&path, json!({"content": "hi"})).await;
    assert_eq!(sent.body["guild_id"], dm.body["guild_id"], "{sent:?}");
    assert_eq!(bench.post("/users/@me/dms", json!({})).await.code(), 50_035);
}

#[tokio::test]
async fn messages_of_a_channel_can_be_read_again() {
    let bench = Bench::new().await;
    let told = bench.told(Scene::Channel);
    let sent = bench.post(path_of(Scene::Channel), reply(&told, 1)).await;
    assert_eq!(sent.body["guild_id"], "10", "{sent:?}");
    let own = bench.get(&format!("/channels/11/messages/{}", sent.id())).await;
    assert_eq!(own.body["message"], sent.body);
    let others = bench.get(&format!("/channels/11/messages/{told}")).await;
    assert_eq!(others.body["message"]["id"], told);
    assert_eq!(bench.get("/channels/11/messages/unknown").await.code(), 50_039);
    assert_eq!(bench.get(&format!("/channels/12/messages/{told}")).await.code(), 50_039);
    let list = bench.get("/channels/11/messages?limit=20").await;
    assert_eq!(list.body.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_does_not_exist_is_404_and_journalled() {
    let bench = Bench::new().await;
    for path in ["/gateway/webhook/sessions", "/v2/nothing", "/v2/users/U/unknown"] {
        let got = bench.post(path, json!({})).await;
        assert_eq!((got.status, got.code()), (404, 404), "{path}");
    }
    assert_eq!(bench.journal().len(), 3);
}
