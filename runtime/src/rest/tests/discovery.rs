//! Asking where to connect, and how seldom.

use std::time::Duration;

use futures_util::future::join_all;

use super::fake::{Fake, always, app, fresh_tokens};
use crate::rest::{DiscoveryError, HostError};
use crate::state::GatewayAnswer;

const WHOLE: &str = r#"{"url":"ws://127.0.0.1:9/websocket","shards":4,"session_start_limit":
    {"total":1000,"remaining":998,"reset_after":86400000,"max_concurrency":2}}"#;

const MINUTE: Duration = Duration::from_secs(60);

async fn ask(status: u16, body: &'static str) -> Result<GatewayAnswer, DiscoveryError> {
    let fake = Fake::start(fresh_tokens(), always(status, body)).await;
    fake.pool().gateway(&app(), MINUTE).await.map(|found| (*found.answer).clone())
}

#[tokio::test]
async fn an_answer_is_read_and_kept() {
    let fake = Fake::start(fresh_tokens(), always(200, WHOLE)).await;
    let pool = fake.pool();
    for _ in 0..5 {
        let answer = pool.gateway(&app(), MINUTE).await.unwrap().answer;
        assert_eq!((answer.url.as_str(), answer.shards), ("ws://127.0.0.1:9/websocket", 4));
        let limit = answer.limit.unwrap();
        assert_eq!((limit.total, limit.remaining, limit.max_concurrency), (1000, 998, 2));
        assert_eq!(limit.reset_after, Duration::from_secs(86_400));
    }
    assert_eq!(fake.calls().len(), 1);
    assert_eq!(fake.calls()[0].path, "/gateway/bot");
}

#[tokio::test]
async fn nobody_asks_a_third_time_within_a_minute() {
    let fake = Fake::start(fresh_tokens(), always(200, WHOLE)).await;
    let pool = fake.pool();
    pool.gateway(&app(), Duration::ZERO).await.unwrap();
    pool.gateway(&app(), Duration::ZERO).await.unwrap();
    let error = pool.gateway(&app(), Duration::ZERO).await.unwrap_err();
    let DiscoveryError::Limited { retry_after } = error else { panic!("{error:?}") };
    assert!(retry_after <= MINUTE && !retry_after.is_zero());
    assert_eq!(fake.calls().len(), 2);
    assert!(pool.gateway(&app(), MINUTE).await.is_ok(), "what is known is still given");
}

#[tokio::test]
async fn processes_with_one_state_ask_once() {
    let fake = Fake::start(fresh_tokens(), always(200, WHOLE)).await;
    let (pools, _state) = fake.pools_of_one_state(["a", "b", "c"]).await;
    let app = app();
    let found = join_all(pools.iter().map(|pool| pool.gateway(&app, MINUTE))).await;
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    assert!(found.iter().all(|one| one.answer == found[0].answer));
    let calls = fake.calls().len();
    assert!(calls <= 2, "the platform takes no third: {calls}");
    let asked = found.iter().filter(|found| found.asked.is_some()).count();
    assert_eq!(asked, calls, "who did not ask says so");
    for pool in &pools {
        pool.gateway(&app, MINUTE).await.unwrap();
    }
    assert_eq!(fake.calls().len(), calls);
}

#[tokio::test]
async fn odd_numbers_are_taken_as_far_as_they_make_sense() {
    let odd = r#"{"url":"ws://127.0.0.1/","shards":"3","session_start_limit":
        {"total":-1,"remaining":1e99,"reset_after":99999999999999,"max_concurrency":0}}"#;
    let answer = ask(200, odd).await.unwrap();
    let limit = answer.limit.unwrap();
    assert_eq!((answer.shards, limit.total, limit.remaining), (3, 0, 0));
    assert_eq!(limit.reset_after, Duration::from_millis(u32::MAX.into()));
    assert_eq!(limit.max_concurrency, 1);
    let bare = ask(200, r#"{"url":"ws://127.0.0.1/"}"#).await.unwrap();
    assert_eq!((bare.shards, bare.limit), (1, None));
}

#[tokio::test]
async fn what_names_no_gateway_is_told_apart() {
    for body in ["", "<html>", "{}", r#"{"url":5}"#] {
        let error = ask(200, body).await.unwrap_err();
        assert!(matches!(error, DiscoveryError::Unreadable { status: 200 }), "{body}: {error:?}");
    }
    let error = ask(401, r#"{"code":11298}"#).await.unwrap_err();
    let DiscoveryError::Refused(answer) = error else { panic!("{error:?}") };
    assert_eq!(answer.code, Some(11_298));
    let error = ask(200, r#"{"code":11253,"message":"no"}"#).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_elsewhere_is_not_believed() {
    let error = ask(200, r#"{"url":"wss://evil.example/websocket"}"#).await.unwrap_err();
    let DiscoveryError::Host(error) = error else { panic!("{error:?}") };
    assert_eq!(error, HostError::Foreign("evil.example".into()));
}
