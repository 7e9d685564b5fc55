//! What a bot without a gateway session meets, and messages under review.

use super::*;
use crate::rules::limits::{AuditMode, Told};

#[tokio::test]
async fn a_guild_refuses_a_bot_that_is_not_connected() {
    let bench = Bench::with(Limits::default()).await;
    let id = bench.told(Scene::Channel);
    let refused = bench.post(path_of(Scene::Channel), reply(&id, 1)).await;
    assert_eq!(refused.code(), 304_018);
    let id = bench.told(Scene::Group);
    assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 1)).await.status, 200);
}

#[tokio::test]
async fn a_message_may_be_answered_and_never_shown() {
    let mut limits = Limits::default();
    limits.session.v2 = WithoutSession::Vanishes;
    let bench = Bench::with(limits).await;
    let id = bench.told(Scene::Group);
    for _ in 0..2 {
        // Nothing was used up, so the same number is answered the same way.
        assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 1)).await.status, 200);
    }
    assert!(bench.shown().is_empty());
    assert_eq!(bench.journal(), [(200, None, false); 2]);
}

async fn audited(mode: AuditMode) -> (Bench, Got) {
    let limits = Limits { audit: mode, ..Limits::off() };
    let bench = Bench::with(limits).await;
    let got = bench.post(path_of(Scene::Channel), reply("m", 1)).await;
    (bench, got)
}

#[tokio::test]
async fn a_message_under_review_is_answered_202_with_its_audit() {
    let (bench, got) = audited(AuditMode::Never).await;
    assert_eq!((got.status, got.code()), (202, 304_024));
    assert!(got.body["data"]["message_audit"]["audit_id"].is_string(), "{got:?}");
    assert!(bench.shown().is_empty());
    let push = bench.post(path_of(Scene::Channel), json!({"content": "x"})).await;
    assert_eq!((push.status, push.code()), (202, 304_023));
}

#[tokio::test]
async fn a_verdict_shows_the_message_or_does_not() {
    let (bench, _) = audited(AuditMode::Pass { told: Told::Before }).await;
    let list = bench.get("/channels/11/messages").await;
    assert_eq!(list.body.as_array().unwrap().len(), 1, "{list:?}");

    let (bench, _) = audited(AuditMode::Reject { told: Told::Before }).await;
    let list = bench.get("/channels/11/messages").await;
    assert!(list.body.as_array().unwrap().is_empty(), "{list:?}");
}

/// Where nobody listens: each try to call back is in the journal, and that is enough here.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// The journal as a line of words: the send's status, and the type of what was called back.
fn story(bench: &Bench) -> Vec<String> {
    let lines = bench.platform.journal.all().into_iter();
    lines
        .filter_map(|line| match line.entry {
            Entry::Rest { status, .. } => Some(status.to_string()),
            Entry::Webhook { event_id, attempt: 1, .. } => {
                event_id.split(':').next().map(str::to_owned)
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_verdict_is_told_once_as_an_event() {
    let modes = [
        (AuditMode::Pass { told: Told::After }, "MESSAGE_AUDIT_PASS"),
        (AuditMode::Reject { told: Told::Before }, "MESSAGE_AUDIT_REJECT"),
    ];
    for (mode, t) in modes {
        let mut limits = Limits { audit: mode, ..Limits::off() };
        limits.callback.repeats = 0;
        let bench = Bench::called_back_at(NOWHERE, limits).await;
        bench.post(path_of(Scene::Group), reply("m", 1)).await;
        bench.until(|bench| story(bench).len() == 2).await;
        let mut told = story(&bench);
        // A verdict told first is still on its way to nobody when the send is answered.
        told.sort();
        assert_eq!(told, ["202", t]);
    }
}

#[tokio::test]
async fn a_bot_that_is_called_back_needs_no_session() {
    let bench = Bench::called_back_at(NOWHERE, Limits::default()).await;
    let id = bench.told(Scene::Channel);
    assert_eq!(bench.post(path_of(Scene::Channel), reply(&id, 1)).await.status, 200);
}

#[tokio::test]
async fn a_fault_can_send_one_message_to_review() {
    let bench = Bench::new().await;
    bench.arm(Fault::Audit { mode: AuditMode::Never });
    let id = bench.told(Scene::Group);
    assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 1)).await.status, 202);
    assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 2)).await.status, 200);
    assert_eq!(bench.shown(), ["reply 2"]);
}
