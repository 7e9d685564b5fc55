//! Windows, counts, numbers and rates of messages.

use super::*;
use crate::rules::limits::{Origins, ProactiveRight};
use crate::rules::{Allowance, Refusal};

const SCENES: [Scene; 4] = [Scene::C2c, Scene::Group, Scene::Channel, Scene::Dm];

#[tokio::test]
async fn a_reply_is_taken_in_every_scene_and_answered_as_documented() {
    let bench = Bench::new().await;
    for scene in SCENES {
        let got = bench.post(path_of(scene), reply(&bench.told(scene), 1)).await;
        assert_eq!(got.status, 200, "{scene} {got:?}");
        assert!(got.body["id"].is_string() && got.body["timestamp"].is_string(), "{got:?}");
        match scene {
            Scene::C2c | Scene::Group => {
                assert!(got.body["ext_info"]["ref_idx"].as_str().unwrap().starts_with("REFIDX_"));
            }
            _ => {
                assert_eq!(got.body["content"], "reply 1");
                assert_eq!(got.body["author"]["bot"], true);
                assert_eq!(got.body["seq_in_channel"], "1");
            }
        }
    }
    assert_eq!(bench.shown(), ["reply 1"; 4]);
}

#[tokio::test]
async fn a_window_closes() {
    let bench = Bench::new().await;
    let open = [(Scene::C2c, 60), (Scene::Group, 5), (Scene::Channel, 5), (Scene::Dm, 5)];
    for (scene, minutes) in open {
        let id = bench.told(scene);
        bench.later(Duration::from_secs(60 * minutes - 30));
        assert_eq!(bench.post(path_of(scene), reply(&id, 1)).await.status, 200, "{scene}");
        bench.later(Duration::from_secs(31)); // the exact end falls to either side
        let late = bench.post(path_of(scene), reply(&id, 2)).await;
        let expected = match scene {
            Scene::C2c | Scene::Group => Refusal::ReplyExpired,
            _ => Refusal::GuildReplyExpired,
        };
        assert_eq!((late.status, late.code()), (400, expected.code().into()), "{scene}");
    }
}

#[tokio::test]
async fn replies_are_used_up_and_a_number_counts_once() {
    let bench = Bench::new().await;
    for (scene, most) in [(Scene::C2c, 4), (Scene::Group, 5)] {
        let id = bench.told(scene);
        for seq in 1..=most {
            assert_eq!(bench.post(path_of(scene), reply(&id, seq)).await.status, 200);
            let again = bench.post(path_of(scene), reply(&id, seq)).await;
            assert_eq!(again.code(), 40_054_005, "{scene} {seq}");
        }
        let over = bench.post(path_of(scene), reply(&id, most + 1)).await;
        assert_eq!(over.code(), 40_034_128, "{scene}");
    }
    assert_eq!(bench.shown().len(), 9);
}

#[tokio::test]
async fn a_missing_number_is_one() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Group);
    let body = json!({"content": "x", "msg_id": id});
    assert_eq!(bench.post(path_of(Scene::Group), body).await.status, 200);
    assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 1)).await.code(), 40_054_005);
}

#[tokio::test]
async fn a_channel_takes_any_number_of_replies_but_not_at_once() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Channel);
    for _ in 0..3 {
        for _ in 0..5 {
            let got = bench.post(path_of(Scene::Channel), reply(&id, 1)).await;
            assert_eq!(got.status, 200);
        }
        let over = bench.post(path_of(Scene::Channel), reply(&id, 1)).await;
        assert_eq!((over.status, over.code()), (429, 20028));
        bench.later(Duration::from_secs(1));
    }
    let dm = bench.told(Scene::Dm);
    for _ in 0..2 {
        assert_eq!(bench.post(path_of(Scene::Dm), reply(&dm, 1)).await.status, 200);
    }
    assert_eq!(bench.post(path_of(Scene::Dm), reply(&dm, 1)).await.status, 429);
}

#[tokio::test]
async fn an_id_of_nowhere_or_elsewhere_is_refused() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Group);
    let check = async |path: &str, body: Value, code: u64| {
        assert_eq!(bench.post(path, body).await.code(), code, "{path}");
    };
    check("/v2/groups/OTHER/messages", reply(&id, 1), 40_034_024).await;
    check("/v2/users/U/messages", reply(&id, 1), 40_034_024).await;
    check("/v2/groups/G/messages", reply("unknown", 1), 40_034_024).await;
    check("/channels/11/messages", reply("unknown", 1), 304_026).await;
    let event = json!({"content": "x", "event_id": "INTERACTION_CREATE:unknown"});
    check("/v2/groups/G/messages", event, 40_034_025).await;

    let other = bench.calling_as(PRIVATE_APP);
    let of_another_bot = other.post("/v2/groups/G/messages", reply(&id, 1)).await;
    assert_eq!(of_another_bot.code(), 40_034_024);
}

#[tokio::test]
async fn an_event_is_replied_to_by_its_envelopes_id_where_its_type_allows() {
    let bench = Bench::new().await;
    bench.event(
        "INTERACTION_CREATE",
        Some("INTERACTION_CREATE:i"),
        json!({"id": "i", "group_openid": "G"}),
    );
    bench.event("FRIEND_ADD", Some("FRIEND_ADD:f"), json!({"openid": "U", "timestamp": 1}));
    bench.event("GROUP_MSG_REJECT", Some("GROUP_MSG_REJECT:r"), json!({"group_openid": "G"}));
    bench.event("GUILD_MEMBER_ADD", Some("GUILD_MEMBER_ADD:m"), json!({"guild_id": "10"}));
    bench.event("CHANNEL_CREATE", None, json!({"guild_id": "10", "channel_id": "11"}));
    let to = |id: &str| json!({"content": "x", "event_id": id});
    let check = async |path: &str, id: &str, code: u64| {
        assert_eq!(bench.post(path, to(id)).await.code(), code, "{id}");
    };
    check("/v2/groups/G/messages", "INTERACTION_CREATE:i", 0).await;
    check("/v2/users/U/messages", "FRIEND_ADD:f", 0).await;
    check("/channels/11/messages", "GUILD_MEMBER_ADD:m", 0).await;
    check("/v2/groups/G/messages", "GROUP_MSG_REJECT:r", 40_034_027).await;
    bench.later(Duration::from_secs(301));
    check("/v2/groups/G/messages", "INTERACTION_CREATE:i", 40_034_026).await;
}

#[tokio::test]
async fn what_a_user_did_decides_what_the_bot_may_begin() {
    let bench = Bench::new().await;
    let push = async |path: &str, code: u64| {
        let got = bench.post(path, json!({"content": "x"})).await;
        assert_eq!(got.code(), code, "{path} {got:?}");
    };
    push("/v2/users/U/messages", 0).await;
    bench.event("C2C_MSG_REJECT", None, json!({"openid": "U"}));
    push("/v2/users/U/messages", 40_054_013).await;
    let id = bench.told(Scene::C2c);
    assert_eq!(bench.post(path_of(Scene::C2c), reply(&id, 1)).await.status, 200);
    bench.event("C2C_MSG_RECEIVE", None, json!({"openid": "U"}));
    push("/v2/users/U/messages", 0).await;
    bench.event("FRIEND_DEL", None, json!({"openid": "U"}));
    push("/v2/users/U/messages", 40_054_004).await;
    bench.event("GROUP_DEL_ROBOT", None, json!({"group_openid": "G"}));
    push("/v2/groups/G/messages", 40_054_003).await;
    assert_eq!(bench.get("/v2/groups/G/bot_state").await.code(), 40_054_003);
}

#[tokio::test]
async fn proactive_messages_are_few_and_can_be_forbidden() {
    let bench = Bench::new().await;
    for _ in 0..20 {
        assert_eq!(bench.post(path_of(Scene::Group), json!({"content": "x"})).await.status, 200);
    }
    let over = bench.post(path_of(Scene::Group), json!({"content": "x"})).await;
    assert_eq!(over.code(), 40_034_100);

    let mut limits = Limits::default();
    limits.proactive.v2 = ProactiveRight::Refused;
    let bench = Bench::with(limits).await;
    let refused = bench.post(path_of(Scene::C2c), json!({"content": "x"})).await;
    assert_eq!((refused.status, refused.code()), (400, 40_034_105));
    assert_eq!(bench.get("/v2/groups/G/bot_state").await.body["allow_proactive_msg"], false);
}

#[tokio::test]
async fn a_silent_user_is_called_back_once_in_each_window() {
    let bench = Bench::new().await;
    bench.told(Scene::C2c);
    let wake = json!({"content": "x", "is_wakeup": true});
    assert_eq!(bench.post(path_of(Scene::C2c), wake.clone()).await.status, 200);
    assert_eq!(bench.post(path_of(Scene::C2c), wake.clone()).await.code(), 40_034_122);
    bench.later(Duration::from_secs(2 * 86_400));
    assert_eq!(bench.post(path_of(Scene::C2c), wake).await.status, 200);
}

#[tokio::test]
async fn every_limit_can_be_switched_off() {
    let bench = Bench::with(Limits::off()).await;
    for scene in SCENES {
        for seq in 1..=120 {
            let got = bench.post(path_of(scene), reply(&format!("any id in {scene}"), seq)).await;
            assert_eq!(got.status, 200, "{scene} {seq} {got:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_message_uses_nothing_up() {
    let mut limits = Limits::default();
    limits.reply.group = Allowance::Of { count: 1, within: Duration::from_secs(300) };
    limits.reply.origins = Origins::Pushed;
    let bench = Bench::with(limits).await;
    let id = bench.told(Scene::Group);
    let empty = json!({"content": "", "msg_id": id, "msg_seq": 1});
    assert_eq!(bench.post(path_of(Scene::Group), empty).await.code(), 50_006);
    let no_file = json!({"msg_type": 7, "media": {"file_info": "?"}, "msg_id": id, "msg_seq": 1});
    assert_eq!(bench.post(path_of(Scene::Group), no_file).await.code(), 304_080);
    assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 1)).await.status, 200);
}
