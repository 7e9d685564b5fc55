//! Reads request bodies as leniently as the platform does.
//!
//! JSON is JSON whatever `Content-Type` says (the official SDKs send `text/plain` and even `none`),
//! a null is a member left out, an empty body an empty object.

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::rules::Refusal;
use crate::rules::content::{FileImage, Outgoing};

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Lenient<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Lenient<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        // The only way to fail is a body over the limit, or one that breaks off.
        let bytes = Bytes::from_request(request, state).await.map_err(|_| Refusal::FileTooLarge)?;
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut object = match bytes.trim_ascii() {
        [] => Value::Object(Map::new()),
        text => serde_json::from_slice(text).map_err(|_| Refusal::BadBody)?,
    };
    if !object.is_object() {
        return Err(Refusal::BadBody);
    }
    drop_nulls(&mut object);
    serde_json::from_value(object).map_err(|_| Refusal::BadForm)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A message to be sent: JSON, or in guilds a form with an image in it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) outgoing: Outgoing,
    pub(super) file_image: FileImage,
}

impl<S: Send + Sync> FromRequest<S> for Message {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            let Lenient(outgoing) = Lenient::from_request(request, state).await?;
            return Ok(Self { outgoing, file_image: FileImage::Missing });
        }
        let form = Multipart::from_request(request, state).await.map_err(|_| Refusal::BadForm)?;
        read_form(form).await
    }
}

async fn read_form(mut form: Multipart) -> Result<Message, Refusal> {
    let (mut members, mut file_image) = (Map::new(), FileImage::Missing);
    while let Some(field) = form.next_field().await.map_err(|_| Refusal::BadForm)? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|_| Refusal::FileTooLarge)?;
        if name == "file_image" {
            file_image = FileImage::Attached;
            continue;
        }
        let text = String::from_utf8(bytes.into()).map_err(|_| Refusal::BadForm)?;
        let member = form_member(&name, text);
        members.insert(name, member);
    }
    let mut members = Value::Object(members);
    drop_nulls(&mut members);
    let outgoing = serde_json::from_value(members).map_err(|_| Refusal::BadForm)?;
    Ok(Message { outgoing, file_image })
}

/// Objects travel in forms as JSON text; everything else is text and stays it, whatever it looks
/// like.
fn form_member(name: &str, text: String) -> Value {
    match name {
        "embed" | "ark" | "message_reference" | "markdown" | "keyboard" => {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::stream::Chunk;

    #[test]
    fn a_body_is_read_as_the_platform_reads_it() {
        let check = |text: &str, expected: Result<Option<&str>, Refusal>| {
            let found = parse::<Outgoing>(text.as_bytes()).map(|outgoing| outgoing.content);
            assert_eq!(found, expected.map(|content| content.map(str::to_owned)), "{text}");
        };
        check(r#"{"content":"hi","channel_id":"1","unknown":[1]}"#, Ok(Some("hi")));
        check(r#"{"content":null,"markdown":null,"keyboard":{"id":null}}"#, Ok(None));
        check("", Ok(None));
        check(" \n", Ok(None));
        check("[]", Err(Refusal::BadBody));
        check("{", Err(Refusal::BadBody));
        check(r#"{"content":7}"#, Err(Refusal::BadForm));
        let rows = r#"{"content":"hi","keyboard":{"content":{"rows":null,"style":null}}}"#;
        check(rows, Ok(Some("hi")));
        assert!(parse::<Chunk>(br#"{"input_mode":null}"#).is_ok());
    }

    #[test]
    fn a_form_tells_objects_from_text() {
        let check = |name, text: &str, object| {
            assert_eq!(form_member(name, text.into()).is_object(), object, "{name} {text}");
        };
        check("embed", r#"{"title":"t"}"#, true);
        check("content", r#"{"title":"t"}"#, false);
        check("content", "42", false);
    }
}
