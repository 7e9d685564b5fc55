//! Calls that go wrong on purpose, and what the journal says of them.

use super::*;
use crate::faults::Aim;
use crate::rest::Effect;

/// Sends one reply into a fault; what came back, and whether it is in the journal as shown.
async fn struck(fault: Fault) -> (Bench, reqwest::Result<Response>) {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Group);
    bench.arm(fault);
    let response = bench.send(Method::POST, path_of(Scene::Group), Some(reply(&id, 1))).await;
    (bench, response)
}

async fn again(bench: &Bench) -> Got {
    let lines = bench.platform.journal.all();
    let msg_id = lines.iter().find_map(|line| match &line.entry {
        Entry::Rest { sent: Some(sent), .. } => sent.msg_id.clone(),
        _ => None,
    });
    bench.post(path_of(Scene::Group), reply(&msg_id.expect("it was journalled"), 1)).await
}

#[tokio::test]
async fn a_message_that_was_applied_without_an_answer_is_a_duplicate_afterwards() {
    let applied = [
        Fault::ApplyThenTimeout { ms: 0 },
        Fault::ResetBeforeHeaders { effect: Effect::Applied },
        Fault::ResetBeforeBody,
        Fault::ResetMidBody,
        Fault::EmptyBody,
        Fault::HtmlBody,
        Fault::HugeBody { bytes: 1 << 20 },
        Fault::BadJson { body: "{".into() },
        Fault::Status { http: 500, code: 1, message: "m".into(), effect: Effect::Applied },
    ];
    for fault in applied {
        let (bench, response) = struck(fault.clone()).await;
        drop(response);
        assert_eq!(bench.shown(), ["reply 1"], "{fault:?}");
        assert_eq!(again(&bench).await.code(), 40_054_005, "{fault:?}");
        assert_eq!(bench.shown(), ["reply 1"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_message_that_was_not_applied_can_be_sent_again() {
    let check = async |fault: Fault, status: u16, code: Option<u32>| {
        let bench = Bench::new().await;
        let id = bench.told(Scene::Group);
        bench.arm(fault.clone());
        let got = bench.send(Method::POST, path_of(Scene::Group), Some(reply(&id, 1))).await;
        assert_eq!(got.unwrap().status().as_u16(), status, "{fault:?}");
        assert_eq!(bench.journal(), [(status, code, false)], "{fault:?}");
        assert_eq!(bench.post(path_of(Scene::Group), reply(&id, 1)).await.status, 200);
        assert_eq!(bench.shown(), ["reply 1"], "{fault:?}");
    };
    check(Fault::Unauthorized { code: 11_244 }, 401, Some(11_244)).await;
    check(Fault::RateLimited { retry_after: None }, 429, Some(22_009)).await;
    check(Fault::Redirect { to: "http://elsewhere.invalid/".into() }, 302, None).await;
    let message = "down".to_owned();
    let effect = Effect::NotApplied;
    check(Fault::Status { http: 502, code: 7, message, effect }, 502, Some(7)).await;
}

#[tokio::test]
async fn a_reset_comes_where_it_is_wanted() {
    let (bench, response) = struck(Fault::ResetBeforeHeaders { effect: Effect::NotApplied }).await;
    assert!(response.is_err());
    assert_eq!(bench.journal(), [(0, None, false)]);

    for fault in [Fault::ResetBeforeBody, Fault::ResetMidBody] {
        let (bench, response) = struck(fault).await;
        let response = response.expect("the headers arrive");
        assert_eq!(response.status().as_u16(), 200);
        assert!(response.bytes().await.is_err());
        assert_eq!(bench.journal(), [(0, None, true)]);
    }
}

#[tokio::test]
async fn bodies_are_wrong_in_the_way_asked_for() {
    let check = async |fault: Fault, kind: &str, expected: &str| {
        let (_bench, response) = struck(fault.clone()).await;
        let response = response.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{fault:?}");
        assert_eq!(response.headers()["content-type"], kind, "{fault:?}");
        assert_eq!(response.text().await.unwrap(), expected, "{fault:?}");
    };
    check(Fault::EmptyBody, "application/json", "").await;
    check(Fault::HtmlBody, "text/html", "<html>502</html>").await;
    check(Fault::BadJson { body: "[]".into() }, "application/json", "[]").await;
    let blank = format!("{}{{}}", " ".repeat(70_000));
    check(Fault::HugeBody { bytes: 70_000 }, "application/json", &blank).await;
}

#[tokio::test]
async fn the_list_of_addresses_has_two_numbers_and_a_rate_says_when() {
    let (_bench, response) = struck(Fault::Unauthorized { code: 11_298 }).await;
    let body: Value = response.unwrap().json().await.unwrap();
    assert_eq!((&body["code"], &body["err_code"]), (&json!(11_298), &json!(40_023_002)));

    for retry_after in ["7", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"] {
        let fault = Fault::RateLimited { retry_after: Some(retry_after.into()) };
        let (_bench, response) = struck(fault).await;
        assert_eq!(response.unwrap().headers()["retry-after"], retry_after);
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_had_no_effect() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Group);
    bench.arm(Fault::Slow { ms: 3_600_000 });
    let call = bench.send(Method::POST, path_of(Scene::Group), Some(reply(&id, 1)));
    let gone = tokio::time::timeout(Duration::from_millis(100), call).await;
    assert!(gone.is_err());
    // The server notices by itself that nobody is there any more.
    bench.until(|bench| !bench.journal().is_empty()).await;
    assert_eq!(bench.journal(), [(0, None, false)]);
}

#[tokio::test]
async fn a_fault_strikes_only_where_it_is_aimed() {
    let bench = Bench::new().await;
    let aim = Aim { scene: Some(Scene::Channel), method: Some("POST".into()), ..Aim::default() };
    bench.platform.faults.rest.arm(Armed::always(Fault::EmptyBody).aimed(aim));
    let group = bench.told(Scene::Group);
    assert_ne!(bench.post(path_of(Scene::Group), reply(&group, 1)).await.body, Value::Null);
    assert_ne!(bench.get("/channels/11").await.body, Value::Null);
    let channel = bench.told(Scene::Channel);
    assert_eq!(bench.post(path_of(Scene::Channel), reply(&channel, 1)).await.body, Value::Null);
}
