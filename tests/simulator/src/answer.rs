//! What every answer of the platform carries, whoever made it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONTENT_TYPE, SERVER};
use http::{HeaderValue, StatusCode};

use crate::error::ApiError;
use crate::platform::Platform;

/// The header that support asks for; also in an error's body.
pub(crate) const TRACE_ID: &str = "x-tps-trace-id";

/// Gives an answer its trace id, and a refusal its body.
///
/// The content type is exactly `application/json`: botpy compares the whole text.
pub(crate) async fn finish(
    State(platform): State<Arc<Platform>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let trace_id = platform.dice.hex(32).to_lowercase();
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        *response.body_mut() = Body::from(error.body(&trace_id).to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("TAPISIX/2.2.2"));
    headers.insert(TRACE_ID, HeaderValue::from_str(&trace_id).expect("hex digits"));
    response
}
