//! The life of a token against an endpoint and an API that do as they like: rows E1 to E8.

use futures_util::future::join_all;
use qqrelay_proto::token::TokenFailure;

use super::fake::{Fake, Script, Then, always, app, fresh_tokens, json, pool, raw, send};
use crate::rest::{Limits, NoToken, RestError};

/// An API that takes one token only.
fn takes(token: &'static str) -> Script {
    let bearer = format!("QQBot {token}");
    Box::new(move |_, authorization| match authorization == bearer {
        true => json(200, "{}"),
        false => json(401, r#"{"message":"token not exist or expire","code":11244}"#),
    })
}

#[tokio::test]
async fn a_thousand_calls_share_one_token_request() {
    let fake = Fake::start(fresh_tokens(), always(200, "{}")).await;
    let pool = fake.pool();
    let (app, send) = (app(), send());
    let answers = join_all((0..1_000).map(|_| pool.call(&app, &send))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)));
    assert_eq!(fake.token_requests(), 1);
}

#[tokio::test]
async fn a_token_refused_in_mid_flight_is_renewed_once_and_the_call_repeated_once() {
    let fake = Fake::start(fresh_tokens(), takes("t2")).await;
    let pool = fake.pool();
    let (app, send) = (app(), send());
    let answers = join_all((0..50).map(|_| pool.call(&app, &send))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)));
    assert_eq!(fake.token_requests(), 2);
    assert!(fake.calls().len() <= 100, "each call at most twice");
}

#[tokio::test]
async fn a_token_that_is_refused_for_ever_costs_each_call_one_renewal_at_most() {
    let fake = Fake::start(fresh_tokens(), takes("none")).await;
    let pool = fake.pool();
    let answer = pool.call(&app(), &send()).await.unwrap();
    assert_eq!((answer.status, answer.code), (401, Some(11_244)));
    assert_eq!((fake.token_requests(), fake.calls().len()), (2, 2));

    // The second renewal has to wait, and so have the bot's calls, until it is due.
    let answer = pool.call(&app(), &send()).await.unwrap();
    assert_eq!(answer.status, 401);
    let error = pool.call(&app(), &send()).await.unwrap_err();
    let RestError::NoToken(NoToken { retry_after, failure: None }) = error else {
        panic!("{error:?}");
    };
    assert!(!retry_after.is_zero());
    assert_eq!((fake.token_requests(), fake.calls().len()), (2, 3));
}

#[tokio::test]
async fn the_same_token_again_is_no_reason_to_repeat_a_call() {
    let same = |_: usize, _: &str| json(200, r#"{"access_token":"t","expires_in":"7000"}"#);
    let fake = Fake::start(Box::new(same), takes("another")).await;
    let answer = fake.pool().call(&app(), &send()).await.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!((fake.token_requests(), fake.calls().len()), (2, 1));
}

#[tokio::test]
async fn an_address_that_is_not_on_the_list_is_not_mended_by_another_token() {
    for body in [r#"{"code":11298,"err_code":40023002}"#, r#"{"code":11245}"#] {
        let fake = Fake::start(fresh_tokens(), always(401, body)).await;
        let pool = fake.pool();
        assert_eq!(pool.call(&app(), &send()).await.unwrap().status, 401);
        assert_eq!((fake.token_requests(), fake.calls().len()), (1, 1), "{body}");
        assert_eq!(pool.token(&app()).await.unwrap().token.expose(), "t1", "still in use");
    }
}

#[tokio::test]
async fn a_life_is_read_in_every_form() {
    for life in ["\"7200\"", "7200", "0", "-5", "1000000000000", "null", "\"soon\""] {
        let token = move |_: usize, _: &str| {
            json(200, format!(r#"{{"access_token":"t","expires_in":{life}}}"#))
        };
        let fake = Fake::start(Box::new(token), always(200, "{}")).await;
        let pool = fake.pool();
        for _ in 0..3 {
            assert_eq!(pool.call(&app(), &send()).await.unwrap().status, 200, "{life}");
        }
        assert_eq!(fake.token_requests(), 1, "{life}");
    }
}

#[tokio::test]
async fn an_endpoint_that_says_no_with_status_200_says_no() {
    let no = || always(200, r#"{"code":100016,"message":"invalid appid or secret"}"#);
    let fake = Fake::start(no(), always(200, "{}")).await;
    let pool = fake.pool();
    let (app, send) = (app(), send());
    for error in join_all((0..20).map(|_| pool.call(&app, &send))).await {
        let Err(RestError::NoToken(NoToken { failure, .. })) = error else { panic!("{error:?}") };
        assert_eq!(failure, Some(TokenFailure::Refused { code: 100_016 }));
    }
    assert_eq!((fake.token_requests(), fake.calls().len()), (1, 0));
}

#[tokio::test]
async fn an_endpoint_that_is_down_leaves_a_call_unsent() {
    let api = Fake::start(fresh_tokens(), always(200, "{}")).await;
    let down = raw("", Then::HangUp).await;
    let error =
        pool(&down, &api.base, Limits::default(), None).call(&app(), &send()).await.unwrap_err();
    assert!(!error.may_have_acted());
    assert_eq!(error.label(), "no_token");
    let page = Fake::start(always(502, "<html>"), always(200, "{}")).await;
    let error = page.pool().call(&app(), &send()).await.unwrap_err();
    let RestError::NoToken(NoToken { failure, .. }) = error else { panic!("{error:?}") };
    assert_eq!(failure, Some(TokenFailure::Unreadable { status: 502 }));
}

#[tokio::test]
async fn a_caller_who_gives_up_does_not_end_the_request_of_the_others() {
    let fake = Fake::start(fresh_tokens(), always(200, "{}")).await;
    let pool = fake.pool();
    let impatient = pool.clone();
    let call = tokio::spawn(async move { impatient.call(&app(), &send()).await });
    tokio::task::yield_now().await;
    call.abort();
    assert_eq!(pool.call(&app(), &send()).await.unwrap().status, 200);
    assert_eq!(fake.token_requests(), 1);
}

#[tokio::test]
async fn close_code_4004_renews_the_token_of_the_next_frame() {
    let fake = Fake::start(fresh_tokens(), always(200, "{}")).await;
    let pool = fake.pool();
    let first = pool.token(&app()).await.unwrap();
    pool.token_refused(&app(), first.generation).await;
    let second = pool.token(&app()).await.unwrap();
    assert_eq!((first.token.expose(), second.token.expose()), ("t1", "t2"));
}

#[tokio::test]
async fn processes_with_one_state_ask_for_one_token() {
    let fake = Fake::start(fresh_tokens(), takes("t2")).await;
    let (pools, _state) = fake.pools_of_one_state(["a", "b", "c"]).await;
    let (app, send) = (app(), send());
    let tokens = join_all(pools.iter().map(|pool| pool.token(&app))).await;
    assert!(tokens.iter().all(|token| token.as_ref().is_ok_and(|t| t.token.expose() == "t1")));
    assert_eq!(fake.token_requests(), 1);

    // One renewal serves all of them, and none takes the refused token from the state again.
    for pool in &pools {
        assert_eq!(pool.call(&app, &send).await.unwrap().status, 200);
    }
    assert_eq!(fake.token_requests(), 2);
}
