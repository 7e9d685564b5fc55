//! Reads a body within a bound of memory, whatever the other side sends or promises.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

use super::answer::{Answer, BodyEnd};

/// Reads what there is of a body. Its end is a finding, not an error: the status line stands.
///
/// A body above the bound is not read on; dropping the response closes its connection.
pub(super) async fn read(mut response: Response) -> (Bytes, BodyEnd) {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > Answer::BODY_MAX => {
                return (Bytes::new(), BodyEnd::TooLarge);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body.freeze(), BodyEnd::Whole),
            Err(_) => return (body.freeze(), BodyEnd::Cut),
        }
    }
}
