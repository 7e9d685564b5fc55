//! Bodies and paths as real clients write them.

use super::*;

async fn raw(bench: &Bench, path: &str, content_type: Option<&str>, body: &str) -> Got {
    let mut request = bench
        .client
        .post(format!("{}{path}", bench.base))
        .header("Authorization", bench.authorization())
        .body(body.to_owned());
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    Got { status, body: response.json().await.unwrap() }
}

#[tokio::test]
async fn json_is_json_whatever_its_type_says() {
    let bench = Bench::new().await;
    let types = [
        Some("application/json"),
        Some("application/json; charset=utf-8"),
        Some("text/plain; charset=utf-8"),
        Some("none"),
        None,
    ];
    for content_type in types {
        let got = raw(&bench, path_of(Scene::Group), content_type, r#"{"content":"hi"}"#).await;
        assert_eq!(got.status, 200, "{content_type:?} {got:?}");
    }
}

#[tokio::test]
async fn nulls_and_stray_members_are_as_if_they_were_not_there() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Channel);
    // What botpy sends: every parameter, and those of the path, too.
    let body = json!({
        "channel_id": "11", "content": "hi", "embed": null, "ark": null, "message_reference": null,
        "image": null, "file_image": null, "msg_id": id, "event_id": null, "markdown": null,
        "keyboard": null, "file_info": {"unknown": [null]},
    });
    assert_eq!(bench.post(path_of(Scene::Channel), body).await.status, 200);
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_the_documented_shape() {
    let bench = Bench::new().await;
    let check = async |body: &str, code: u64| {
        let got = raw(&bench, path_of(Scene::Group), None, body).await;
        assert_eq!((got.status, got.code()), (400, code), "{body}");
        assert_eq!(got.body["err_code"], code);
        assert!(got.body["message"].is_string() && got.body["trace_id"].is_string());
    };
    check("{", 12_002).await;
    check("[]", 12_002).await;
    check(r#"{"content":7}"#, 50_035).await;
    check(r#"{"content":""}"#, 50_006).await;
    check(r#"{"msg_type":2,"markdown":{"content":"x"},"content":"y"}"#, 50_037).await;
    check(&json!({"content": "x".repeat(4_001)}).to_string(), 40_054_007).await;
}

#[tokio::test]
async fn an_id_in_a_path_is_decoded_before_it_is_used() {
    let bench = Bench::new().await;
    bench.event("GROUP_AT_MESSAGE_CREATE", None, json!({"id": "m", "group_openid": "a/b c=!"}));
    let got = bench.post("/v2/groups/a%2Fb%20c%3D%21/messages", reply("m", 1)).await;
    assert_eq!(got.status, 200, "{got:?}");
    let id = got.id();
    assert!(id.contains('!'), "{id} must need no luck to be escaped");
    let escaped = id.replace('!', "%21");
    let recalled = bench.delete(&format!("/v2/groups/a%2Fb%20c%3D%21/messages/{escaped}")).await;
    assert_eq!(recalled.status, 200, "{recalled:?}");
}

#[tokio::test]
async fn a_guild_takes_an_image_in_a_form() {
    let bench = Bench::new().await;
    let id = bench.told(Scene::Channel);
    let part = |name: &str, text: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let form = |parts: &[String]| format!("{}--b--\r\n", parts.concat());
    let image = "--b\r\nContent-Disposition: form-data; name=\"file_image\"; filename=\"a.png\"\r\n\
                 Content-Type: image/png\r\n\r\n\u{1}\u{2}\r\n";
    let kind = Some("multipart/form-data; boundary=b");

    let whole = form(&[part("msg_id", &id), image.to_owned()]);
    let got = raw(&bench, path_of(Scene::Channel), kind, &whole).await;
    assert_eq!(got.status, 200, "{got:?}");

    let reference = r#"{"message_id":"x"}"#;
    let text =
        form(&[part("content", "42"), part("msg_id", &id), part("message_reference", reference)]);
    let got = raw(&bench, path_of(Scene::Channel), kind, &text).await;
    assert_eq!((got.status, &got.body["content"]), (200, &json!("42")), "{got:?}");
    assert_eq!(got.body["message_reference"]["message_id"], "x");

    let nothing = form(&[part("msg_id", &id)]);
    let got = raw(&bench, path_of(Scene::Channel), kind, &nothing).await;
    assert_eq!(got.code(), 50_006, "{got:?}");
}

#[tokio::test]
async fn every_answer_has_a_trace_id_and_the_exact_content_type() {
    let bench = Bench::new().await;
    let calls = [
        (Method::GET, "/users/@me", 200),
        (Method::GET, "/no/such/path", 404),
        (Method::PATCH, "/users/@me", 405),
        (Method::POST, "/v2/groups/G/messages", 400),
    ];
    for (method, path, status) in calls {
        let response = bench.send(method, path, Some(json!({}))).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/json", "{path}");
        let trace_id = response.headers()["x-tps-trace-id"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        if status != 200 {
            assert_eq!(body["trace_id"], trace_id);
            assert!(body["code"].is_number() && body["message"].is_string(), "{path} {body}");
        }
    }
}

#[tokio::test]
async fn who_does_not_say_who_he_is_gets_401_and_nothing_else() {
    let bench = Bench::new().await;
    let check = async |authorization: Option<&str>, code: u64| {
        let mut request = bench.client.get(format!("{}/users/@me", bench.base));
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code);
    };
    check(None, 11_241).await;
    check(Some("QQBot nonsense"), 11_244).await;
    check(Some("Basic x"), 11_243).await;
    assert_eq!(bench.journal().len(), 3);
}
