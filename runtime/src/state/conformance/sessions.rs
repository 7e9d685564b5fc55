//! What gateways tell each other about a bot's sessions.

use qqrelay_proto::id::{AppId, ShardId};
use qqrelay_proto::identify::StartLimit;
use qqrelay_proto::subject::Source;
use qqrelay_proto::time::UnixMs;

use super::{ANSWERS, Fixture, app, longer_app, place, seconds};
use crate::state::key::RESUME_TTL;
use crate::state::{GatewayAnswer, ResumeCopy};

fn shard(index: u16) -> Source {
    Source::Shard(ShardId::new(index, 4).expect("it is below 4"))
}

fn copy(seq: u64) -> ResumeCopy {
    ResumeCopy {
        session: "5f60b782".into(),
        seq,
        place: place(seq + 100),
        owner: "gw-1".into(),
        at: UnixMs(1_790_000_000_000),
    }
}

async fn put(fixture: &impl Fixture, app: &AppId, source: Source, seq: u64) {
    fixture.state().put_resume(app, source, &copy(seq)).await.expect(ANSWERS);
}

async fn resumes(fixture: &impl Fixture, app: Option<&AppId>) -> Vec<(AppId, Source, ResumeCopy)> {
    let mut found = fixture.state().resumes(app).await.expect(ANSWERS);
    found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    found
}

/// The platform answers twice a minute, also to one that crashes in a circle.
pub async fn the_gateways_answer_is_kept_over_a_restart_for_its_time(fixture: &mut impl Fixture) {
    let limit =
        StartLimit { total: 1_000, remaining: 7, reset_after: seconds(60), max_concurrency: 2 };
    let answer = |shards| {
        let url = "wss://gateway.example/websocket/".to_owned();
        GatewayAnswer { url, shards, limit: (shards > 1).then_some(limit) }
    };
    assert_eq!(fixture.state().gateway(&app()).await.expect(ANSWERS), None);
    for shards in [4, 1, 4] {
        fixture.state().put_gateway(&app(), &answer(shards), seconds(60)).await.expect(ANSWERS);
        let (found, age) =
            fixture.state().gateway(&app()).await.expect(ANSWERS).expect("it was put");
        assert_eq!(found, answer(shards));
        assert!(age < seconds(1));
    }
    fixture.reopen().await;
    fixture.advance(seconds(50)).await;
    let (found, age) = fixture.state().gateway(&app()).await.expect(ANSWERS).expect("it is fresh");
    assert_eq!(found, answer(4));
    assert!(age >= seconds(50) && age < seconds(60), "{age:?}");
    assert_eq!(fixture.state().gateway(&longer_app()).await.expect(ANSWERS), None);
    fixture.advance(seconds(10)).await;
    assert_eq!(fixture.state().gateway(&app()).await.expect(ANSWERS), None);
}

/// Whatever the bots' ids look like.
pub async fn resume_copies_are_found_by_bot_and_all_together(fixture: &mut impl Fixture) {
    assert_eq!(resumes(fixture, None).await, []);
    let odd = AppId::from("a:b}*?[c]");
    let all = [
        (app(), shard(0), copy(7)),
        (app(), shard(3), copy(8)),
        (app(), Source::Webhook, copy(9)),
        (longer_app(), shard(0), copy(10)),
        (odd.clone(), shard(0), copy(11)),
    ];
    for (app, source, copy) in &all {
        put(fixture, app, *source, copy.seq).await;
    }
    fixture.reopen().await;
    assert_eq!(resumes(fixture, Some(&app())).await, all[..3]);
    assert_eq!(resumes(fixture, Some(&longer_app())).await, all[3..4]);
    assert_eq!(resumes(fixture, Some(&odd)).await, all[4..]);
    assert_eq!(resumes(fixture, Some(&"10".into())).await, []);
    assert_eq!(resumes(fixture, None).await, all);
}

/// Or until nobody has renewed it for long.
pub async fn the_last_resume_copy_stands_until_it_is_forgotten(fixture: &mut impl Fixture) {
    for seq in [7, 9, 8] {
        put(fixture, &app(), shard(0), seq).await;
    }
    put(fixture, &app(), shard(1), 3).await;
    fixture.state().forget_resume(&app(), shard(1)).await.expect(ANSWERS);
    fixture.state().forget_resume(&app(), shard(1)).await.expect(ANSWERS);
    assert_eq!(resumes(fixture, Some(&app())).await, [(app(), shard(0), copy(8))]);
    fixture.advance(RESUME_TTL + seconds(1)).await;
    assert_eq!(resumes(fixture, None).await, []);
}
