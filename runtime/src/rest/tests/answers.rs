//! What becomes of a call: reliability rows E10, E14, E16, E17.

use std::time::Duration;

use bytes::Bytes;
use qqrelay_proto::code::Action;

use super::fake::{Fake, SHORT, Then, always, app, fresh_tokens, json, pool, raw, send};
use crate::rest::{Answer, BodyEnd, Limits, RestError};

async fn call_raw(bytes: impl Into<Vec<u8>>, then: Then) -> Result<Answer, RestError> {
    let tokens = Fake::start(fresh_tokens(), always(500, "")).await;
    let api = raw(bytes, then).await;
    pool(&tokens.base, &api, SHORT, None).call(&app(), &send()).await
}

#[tokio::test]
async fn a_call_carries_the_token_and_the_app_id() {
    let fake = Fake::start(fresh_tokens(), always(200, r#"{"id":"m1"}"#)).await;
    let answer = fake.pool().call(&app(), &send()).await.unwrap();
    assert_eq!((answer.status, answer.action()), (200, Action::Done));
    assert_eq!(answer.body, Bytes::from_static(br#"{"id":"m1"}"#));
    let calls = fake.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].authorization, "QQBot t1");
    assert_eq!(calls[0].appid, "102000001");
    assert_eq!(calls[0].path, "/v2/groups/A%211/messages");
}

#[tokio::test]
async fn a_refusal_is_an_answer_with_its_codes() {
    let body = r#"{"message":"expired","code":40034005,"err_code":40034005,"trace_id":"abc"}"#;
    let fake = Fake::start(fresh_tokens(), always(400, body)).await;
    let answer = fake.pool().call(&app(), &send()).await.unwrap();
    assert_eq!((answer.status, answer.code), (400, Some(40_034_005)));
    assert_eq!(answer.trace_id.as_deref(), Some("abc"));
    assert_eq!(fake.calls().len(), 1, "a refusal is not repeated");
}

#[tokio::test]
async fn a_wait_that_the_platform_asks_for_is_read() {
    let api = |_: usize, _: &str| {
        let mut answer = json(429, "{}");
        answer.headers_mut().insert("retry-after", "7".parse().unwrap());
        answer
    };
    let fake = Fake::start(fresh_tokens(), Box::new(api)).await;
    let answer = fake.pool().call(&app(), &send()).await.unwrap();
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(answer.action(), Action::Wait);
}

#[tokio::test]
async fn what_was_accepted_stays_accepted_whatever_its_body() {
    for body in ["", "<html>ok</html>", r#"{"id":"#, r#"{"id":5}"#, "null", "[1]"] {
        let fake = Fake::start(fresh_tokens(), always(200, body)).await;
        let answer = fake.pool().call(&app(), &send()).await.unwrap();
        assert_eq!((answer.status, answer.action()), (200, Action::Done), "{body}");
        assert_eq!(fake.calls().len(), 1, "never sent again");
    }
}

#[tokio::test]
async fn a_body_without_end_costs_no_memory_and_changes_nothing() {
    let huge = |_: usize, _: &str| json(200, vec![b'x'; 8 * Answer::BODY_MAX]);
    let fake = Fake::start(fresh_tokens(), Box::new(huge)).await;
    let answer = fake.pool().call(&app(), &send()).await.unwrap();
    assert_eq!((answer.status, answer.body_end), (200, BodyEnd::TooLarge));
    assert!(answer.body.is_empty());

    let promised = "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n{}";
    let answer = call_raw(promised, Then::FallSilent).await.unwrap();
    assert_eq!((answer.status, answer.body_end), (200, BodyEnd::Cut));
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_body_leaves_the_status() {
    for (bytes, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"id\":", 200),
        ("HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{", 500),
        ("HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n", 202),
    ] {
        let answer = call_raw(bytes, Then::HangUp).await.unwrap();
        assert_eq!((answer.status, answer.body_end), (status, BodyEnd::Cut), "{bytes}");
    }
}

#[tokio::test]
async fn what_never_left_is_known_to_have_stayed() {
    let tokens = Fake::start(fresh_tokens(), always(500, "")).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for api in [closed.as_str(), "http://nowhere.invalid", "http://[", ""] {
        let error = pool(&tokens.base, api, Limits::default(), None)
            .call(&app(), &send())
            .await
            .unwrap_err();
        assert!(matches!(error, RestError::NotSent(_)), "{api}: {error:?}");
        assert!(!error.may_have_acted());
    }
}

#[tokio::test]
async fn what_left_and_was_not_answered_may_have_acted() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    for (bytes, then) in [
        ("", Then::HangUp),
        ("", Then::FallSilent),
        ("HTTP/1.1 20", Then::HangUp),
        ("HTTP/1.1 200 OK\r\ncontent-len", Then::FallSilent),
        ("SSH-2.0-OpenSSH\r\n\r\n", Then::HangUp),
        (many.as_str(), Then::HangUp),
    ] {
        let error = call_raw(bytes, then).await.unwrap_err();
        assert!(matches!(error, RestError::Unanswered(_)), "{error:?}");
        assert!(error.may_have_acted());
    }
}

#[tokio::test]
async fn a_token_follows_to_no_other_host() {
    let elsewhere = Fake::start(fresh_tokens(), always(200, "{}")).await;
    let to = format!("{}/stolen", elsewhere.base);
    let api = move |_: usize, _: &str| {
        let mut answer = json(302, "");
        answer.headers_mut().insert("location", to.parse().unwrap());
        answer
    };
    let fake = Fake::start(fresh_tokens(), Box::new(api)).await;
    let answer = fake.pool().call(&app(), &send()).await.unwrap();
    assert_eq!((answer.status, answer.action()), (302, Action::Unknown));
    assert!(elsewhere.calls().is_empty());
}

#[tokio::test]
async fn an_error_names_neither_address_nor_token() {
    let error = call_raw("", Then::HangUp).await.unwrap_err();
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text += &format!("{error} {error:?}\n");
        cause = error.source();
    }
    for secret in ["A%211", "t1", "0123456789abcdef"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_bot_that_is_not_configured_makes_no_call() {
    let fake = Fake::start(fresh_tokens(), always(200, "")).await;
    let error = fake.pool().call(&"7".into(), &send()).await.unwrap_err();
    assert!(matches!(error, RestError::UnknownBot(_)));
    assert_eq!((fake.token_requests(), fake.calls().len()), (0, 0));
}
