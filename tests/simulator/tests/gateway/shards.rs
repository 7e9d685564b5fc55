//! Which session an event goes to.

use qqrelay_simulator::Injection;
use qqrelay_simulator::shard::GrouplessRule;
use serde_json::json;

use crate::bot::{APP, Bot, INTENTS, Socket, platform};

const COUNT: u32 = 4;

async fn all_shards(bot: &Bot<'_>) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for index in 0..COUNT {
        sockets.push(bot.ready_as([index, COUNT], INTENTS).await.0);
    }
    sockets
}

#[tokio::test]
async fn a_guilds_events_all_come_over_the_shard_of_the_documented_formula() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let mut sockets = all_shards(&bot).await;
    for n in 0..COUNT {
        let guild = ((u64::from(n) + 4 * 1_000_003) << 22 | 77).to_string();
        let events = [
            Injection::at(&guild, "C1", "1", "hi"),
            Injection::of("GUILD_MEMBER_ADD").with(json!({"guild_id": guild})),
            Injection::of("GUILD_UPDATE").with(json!({"id": guild})),
            Injection::direct(&guild, "1", "hi"),
        ];
        for event in events {
            let pushed = simulator.inject(APP, &event).unwrap();
            assert_eq!(pushed.placed.len(), 1, "{}", event.t);
            assert_eq!(pushed.placed[0].shard.index, n, "{}", event.t);
            assert_eq!(sockets[n as usize].next().await["t"], event.t.as_str());
        }
    }
}

#[tokio::test]
async fn groups_and_users_spread_by_hash_and_each_stays_where_it_is() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let _sockets = all_shards(&bot).await;
    let mut used = [false; COUNT as usize];
    for n in 0..40 {
        let group = format!("group {n}");
        let home = |event: Injection| simulator.inject(APP, &event).unwrap().placed[0].shard.index;
        let shard = home(Injection::group_at(&group, "U1", "a"));
        assert_eq!(home(Injection::group_at(&group, "U2", "b")), shard);
        used[shard as usize] = true;
    }
    assert_eq!(used, [true; COUNT as usize]);
}

#[tokio::test]
async fn events_without_a_guild_can_be_made_to_go_elsewhere() {
    for (rule, expected) in
        [(GrouplessRule::FirstShard, vec![0]), (GrouplessRule::EveryShard, vec![0, 1, 2, 3])]
    {
        let simulator = platform(|config| config.gateway.groupless = rule).await;
        let bot = Bot::new(&simulator).await;
        let _sockets = all_shards(&bot).await;
        for user in ["U1", "U2", "U3"] {
            let pushed = simulator.inject(APP, &Injection::c2c(user, "hi")).unwrap();
            let shards: Vec<u32> = pushed.placed.iter().map(|placed| placed.shard.index).collect();
            assert_eq!(shards, expected);
        }
    }
}

#[tokio::test]
async fn a_session_sees_only_what_its_intents_name() {
    let simulator = platform(|_| {}).await;
    let bot = Bot::new(&simulator).await;
    let (mut socket, _) = bot.ready_as([0, 1], 1 << 30).await;
    let unseen = simulator.inject(APP, &Injection::c2c("U1", "hi")).unwrap();
    assert!(unseen.placed.is_empty());
    simulator.inject(APP, &Injection::at("1", "2", "3", "hi")).unwrap();
    simulator.inject(APP, &Injection::of("NEW_THING").with(json!({"guild_id": "1"}))).unwrap();
    assert_eq!(socket.next().await["t"], "AT_MESSAGE_CREATE");
    assert_eq!(socket.next().await["t"], "NEW_THING");
}

#[tokio::test]
async fn bots_do_not_see_each_other() {
    let simulator = platform(|_| {}).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let other = Injection::c2c("U1", "for the other");
    assert!(simulator.inject(crate::bot::OTHER_APP, &other).unwrap().placed.is_empty());
    simulator.inject(APP, &Injection::c2c("U1", "for us")).unwrap();
    assert_eq!(socket.next().await["d"]["content"], "for us");
}
