//! Files uploaded ahead of the message that shows them.
//!
//! A URL is taken as it is and never fetched: a simulator that loads what it is told to would be a
//! way into the network it stands in.
//!
//! Source: spec/rest.md §2.7.

use axum::extract::Path;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qqrelay_proto::id::{Scene, Scope};
use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::body::Lenient;
use super::caller::Caller;
use super::send::send;
use super::state::Upload;
use crate::rules::Refusal;
use crate::rules::content::{FileImage, Media, Outgoing};
use crate::rules::rates::Route;

/// An upload as a client sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    file_type: Option<i64>,
    url: Option<String>,
    file_data: Option<String>,
    srv_send_msg: Option<bool>,
}

/// `POST /v2/users/{user}/files`.
pub(super) async fn for_user(
    caller: Caller,
    Path(user): Path<String>,
    Lenient(file): Lenient<File>,
) -> Result<impl IntoResponse, Refusal> {
    upload(&caller, &Scope::new(Scene::C2c, user), &file)
}

/// `POST /v2/groups/{group}/files`.
pub(super) async fn for_group(
    caller: Caller,
    Path(group): Path<String>,
    Lenient(file): Lenient<File>,
) -> Result<impl IntoResponse, Refusal> {
    upload(&caller, &Scope::new(Scene::Group, group), &file)
}

fn upload(caller: &Caller, scope: &Scope, file: &File) -> Result<Answer, Refusal> {
    let limits = &caller.limits().content;
    file.check(limits.upload_bytes)?;
    caller.count(&Route::Upload)?;
    let uuid = caller.platform.dice.hex(32);
    // botgo reads it as base64 and writes it again, so it has to be base64.
    let file_info = STANDARD.encode(format!("{}:{uuid}", scope.scene));
    let upload = Upload { scene: scope.scene, at: caller.now };
    caller.bot(|bot| bot.uploads.insert(file_info.clone(), upload));
    if file.srv_send_msg != Some(true) {
        return Ok(Answer::json(json!({
            "file_uuid": uuid,
            "file_info": file_info,
            "ttl": limits.upload_ttl_seconds,
        })));
    }
    let outgoing = Outgoing {
        msg_type: Some(7),
        media: Some(Media { file_info: Some(file_info.clone()) }),
        ..Outgoing::default()
    };
    let sent = send(caller, scope.clone(), &outgoing, FileImage::Missing);
    Ok(sent
        .with("file_uuid", uuid.into())
        .with("file_info", file_info.into())
        .with("ttl", limits.upload_ttl_seconds.into()))
}

impl File {
    fn check(&self, bytes_max: usize) -> Result<(), Refusal> {
        if !matches!(self.file_type, Some(1..=4)) {
            return Err(Refusal::BadUpload);
        }
        match (&self.url, &self.file_data) {
            (_, Some(data)) if !data.is_empty() => {
                // Base64 is 4/3 of what it holds: too long is known before it is decoded.
                if data.len() / 4 > bytes_max / 3 + 1 {
                    return Err(Refusal::FileTooLarge);
                }
                let file = STANDARD.decode(data).map_err(|_| Refusal::BadFormat)?;
                if file.len() > bytes_max { Err(Refusal::FileTooLarge) } else { Ok(()) }
            }
            (Some(url), _) if url.starts_with("http://") || url.starts_with("https://") => Ok(()),
            _ => Err(Refusal::BadUpload),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_upload_is_a_known_kind_with_a_url_or_bytes() {
        let check = |body: Value, expected| {
            let file: File = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(file.check(10), expected, "{body}");
        };
        let data = |bytes: usize| STANDARD.encode(vec![7; bytes]);
        check(json!({"file_type": 1, "url": "https://x/y.png"}), Ok(()));
        check(json!({"file_type": 4, "file_data": data(10)}), Ok(()));
        check(json!({"file_type": 1, "file_data": data(11)}), Err(Refusal::FileTooLarge));
        check(json!({"file_type": 1, "file_data": data(1_000)}), Err(Refusal::FileTooLarge));
        check(json!({"file_type": 1, "file_data": "no base64!"}), Err(Refusal::BadFormat));
        check(json!({"file_type": 1, "url": "ftp://x"}), Err(Refusal::BadUpload));
        check(json!({"file_type": 5, "url": "https://x"}), Err(Refusal::BadUpload));
        check(json!({"file_type": 1}), Err(Refusal::BadUpload));
        check(json!({"url": "https://x"}), Err(Refusal::BadUpload));
    }
}
