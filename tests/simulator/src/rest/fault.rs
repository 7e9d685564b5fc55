//! What can go wrong with a REST call on purpose.
//!
//! The question that decides how a client must take it is always the same: was the message shown?
//! Each fault says so, and the journal tells which it was.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::rules::limits::AuditMode;
use crate::wire::Cutter;

/// One way for a call to go wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Fault {
    /// It is answered rightly, but late. Who does not wait so long had no effect.
    Slow {
        /// The wait before anything happens.
        ms: u64,
    },
    /// It is answered with this error.
    Status {
        /// The HTTP status.
        http: u16,
        /// The body's `code` and `err_code`.
        code: u32,
        /// The body's sentence.
        message: String,
        /// Whether it was done all the same, as a 504 may mean.
        #[serde(default)]
        effect: Effect,
    },
    /// It is done, and no answer comes; to who is still there in the end, a 504.
    ApplyThenTimeout {
        /// The silence.
        ms: u64,
    },
    /// The connection ends before any byte of the answer.
    ResetBeforeHeaders {
        /// Whether it was done.
        effect: Effect,
    },
    /// It is done, and the connection ends after the answer's headers.
    ResetBeforeBody,
    /// It is done, and the connection ends within the answer's body.
    ResetMidBody,
    /// The token is refused.
    Unauthorized {
        /// Which number: 11241 to 11245, or 11298.
        code: u32,
    },
    /// There were too many calls.
    RateLimited {
        /// The `Retry-After` header, whatever it holds; the platform itself sends none.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The message waits for human review.
    Audit {
        /// How that ends.
        mode: AuditMode,
    },
    /// It is done, and answered 200 with nothing.
    EmptyBody,
    /// It is done, and answered 200 with a page for browsers.
    HtmlBody,
    /// It is done, and answered 200 with more than anybody wants to read.
    HugeBody {
        /// How much.
        bytes: u64,
    },
    /// It is done, and answered 200 with JSON that is cut off or not the documented object.
    BadJson {
        /// What is sent instead.
        #[serde(default = "cut_off")]
        body: String,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// The `Location` header.
        to: String,
    },
}

fn cut_off() -> String {
    r#"{"id":"ROBOT1.0_","timestamp":"#.to_owned()
}

/// Whether a call that is not answered rightly was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was.
    Applied,
    /// It was not.
    #[default]
    NotApplied,
}

impl Fault {
    /// Whether the call is done.
    #[must_use]
    pub(super) const fn effect(&self) -> Effect {
        match self {
            Self::Status { effect, .. } | Self::ResetBeforeHeaders { effect } => *effect,
            Self::Unauthorized { .. } | Self::RateLimited { .. } | Self::Redirect { .. } => {
                Effect::NotApplied
            }
            Self::Slow { .. }
            | Self::ApplyThenTimeout { .. }
            | Self::ResetBeforeBody
            | Self::ResetMidBody
            | Self::Audit { .. }
            | Self::EmptyBody
            | Self::HtmlBody
            | Self::HugeBody { .. }
            | Self::BadJson { .. } => Effect::Applied,
        }
    }

    /// The answer that is sent instead of the right one; none where the right one is sent.
    /// `cutter` is the connection's.
    #[must_use]
    pub(super) fn answer(&self, cutter: Cutter) -> Option<Response> {
        let json = HeaderValue::from_static("application/json");
        let answer = match self {
            Self::Slow { .. } | Self::Audit { .. } => return None,
            Self::Status { http, code, message, .. } => {
                let status = StatusCode::from_u16(*http).unwrap_or(StatusCode::BAD_REQUEST);
                ApiError::new(status, *code, message.as_str()).into_response()
            }
            Self::ApplyThenTimeout { .. } => {
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, 504, "timeout").into_response()
            }
            // Never sent: the connection is cut first.
            Self::ResetBeforeHeaders { .. } => Response::new(Body::empty()),
            Self::ResetBeforeBody => with_type(json, broken("", cutter)),
            Self::ResetMidBody => with_type(json, broken(r#"{"id":"ROBOT1.0_"#, cutter)),
            Self::Unauthorized { code } => unauthorized(*code).into_response(),
            Self::RateLimited { retry_after } => {
                let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, 22009, "msg limit exceed");
                let mut response = error.into_response();
                let value =
                    retry_after.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
                if let Some(value) = value {
                    response.headers_mut().insert(header::RETRY_AFTER, value);
                }
                response
            }
            Self::EmptyBody => with_type(json, Body::empty()),
            Self::HtmlBody => {
                with_type(HeaderValue::from_static("text/html"), "<html>502</html>".into())
            }
            Self::HugeBody { bytes } => with_type(json, huge(*bytes)),
            Self::BadJson { body } => with_type(json, body.clone().into()),
            Self::Redirect { to } => {
                let mut response = StatusCode::FOUND.into_response();
                if let Ok(to) = HeaderValue::from_str(to) {
                    response.headers_mut().insert(header::LOCATION, to);
                }
                response
            }
        };
        Some(answer)
    }

    /// What the client hears of the answer.
    #[must_use]
    pub(super) const fn delivery(&self) -> Delivery {
        match self {
            Self::ApplyThenTimeout { ms } => Delivery::Late(Duration::from_millis(*ms)),
            Self::ResetBeforeHeaders { .. } => Delivery::Never,
            Self::ResetBeforeBody | Self::ResetMidBody => Delivery::Partly,
            _ => Delivery::Whole,
        }
    }
}

/// What a client hears of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// All of it.
    Whole,
    /// All of it, after so long.
    Late(Duration),
    /// Its beginning, then the connection is reset.
    Partly,
    /// Nothing: the connection is reset.
    Never,
}

fn unauthorized(code: u32) -> ApiError {
    let (message, err_code) = match code {
        11241 => ("token missing", code),
        11242 => ("wrong bot token", code),
        11244 => ("token not exist or expire", code),
        11245 => ("fixed token disabled", code),
        11298 => ("接口访问源IP不在白名单", 40_023_002),
        _ => ("token wrong", code),
    };
    ApiError::new(StatusCode::UNAUTHORIZED, code, message).with_err_code(err_code)
}

fn with_type(kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A body that breaks off after `start`, in a reset of the connection. The pause lets the server send
/// what it has: a reset right away would take the headers with it.
fn broken(start: &'static str, cutter: Cutter) -> Body {
    const PAUSE: Duration = Duration::from_millis(20);
    let reset = async move {
        tokio::time::sleep(PAUSE).await;
        cutter.cut();
        std::future::pending::<Result<Bytes, Infallible>>().await
    };
    let start = (!start.is_empty()).then(|| Ok(Bytes::from_static(start.as_bytes())));
    Body::from_stream(stream::iter(start).chain(stream::once(reset)))
}

/// So many blanks before an empty object: valid, and made as it is read.
fn huge(bytes: u64) -> Body {
    static BLANKS: [u8; 64 << 10] = [b' '; 64 << 10];
    let steps = stream::unfold(Some(bytes), |left| async move {
        let left = left?;
        let size = usize::try_from(left).unwrap_or(BLANKS.len()).min(BLANKS.len());
        let (chunk, next) = match size {
            0 => (Bytes::from_static(b"{}"), None),
            _ => (Bytes::from_static(&BLANKS[..size]), Some(left - size as u64)),
        };
        Some((Ok::<_, Infallible>(chunk), next))
    });
    Body::from_stream(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_reads_as_it_is_written_in_a_scenario() {
        let check = |json: serde_json::Value, expected| {
            assert_eq!(serde_json::from_value::<Fault>(json.clone()).unwrap(), expected, "{json}");
        };
        check(json!({"kind": "slow", "ms": 5}), Fault::Slow { ms: 5 });
        check(json!({"kind": "reset_mid_body"}), Fault::ResetMidBody);
        check(json!({"kind": "rate_limited"}), Fault::RateLimited { retry_after: None });
        let audit = json!({"kind": "audit", "mode": {"verdict": "never"}});
        check(audit, Fault::Audit { mode: AuditMode::Never });
        let status =
            json!({"kind": "status", "http": 504, "code": 1, "message": "m", "effect": "applied"});
        let message = "m".to_owned();
        check(status, Fault::Status { http: 504, code: 1, message, effect: Effect::Applied });
    }

    #[tokio::test]
    async fn a_huge_body_is_valid_and_as_long_as_asked_for() {
        for bytes in [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20] {
            let body = axum::body::to_bytes(huge(bytes), usize::MAX).await.unwrap();
            assert_eq!(body.len() as u64, bytes + 2);
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), json!({}));
        }
    }
}
