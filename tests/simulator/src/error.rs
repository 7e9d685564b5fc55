//! A refusal as the platform words it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

/// What a REST call is answered when it is not simply done. "Waiting for audit" (201, 202) has this
/// shape, too.
///
/// As a response it is not rendered yet: the outermost layer knows the trace id that the body and
/// the header share, and renders it there.
///
/// Source: spec/limits-and-errors.md §5, §6.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The older number.
    pub code: u32,
    /// The current number; equal to `code` but for a few.
    pub err_code: u32,
    /// For people; clients must not branch on it, and botpy needs it to be there.
    pub message: String,
    /// Details, such as `message_audit.audit_id`.
    pub data: Option<Value>,
}

impl ApiError {
    /// A refusal whose two numbers are the same.
    #[must_use]
    pub fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, err_code: code, message: message.into(), data: None }
    }

    /// A refusal with HTTP 400, which is what nearly all of them have.
    #[must_use]
    pub fn bad_request(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Gives `err_code` a number of its own.
    #[must_use]
    pub fn with_err_code(mut self, err_code: u32) -> Self {
        self.err_code = err_code;
        self
    }

    /// Adds details.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The body, under this trace id.
    #[must_use]
    pub fn body(&self, trace_id: &str) -> Value {
        let mut body = json!({
            "message": self.message,
            "code": self.code,
            "err_code": self.err_code,
            "trace_id": trace_id,
        });
        if let Some(data) = &self.data {
            body["data"] = data.clone();
        }
        body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_carries_both_numbers_and_the_trace_id() {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, 11298, "no").with_err_code(40023002);
        assert_eq!(
            error.body("t1"),
            json!({"message": "no", "code": 11298, "err_code": 40023002, "trace_id": "t1"})
        );
        let audit = ApiError::new(StatusCode::ACCEPTED, 304023, "wait")
            .with_data(json!({"message_audit": {"audit_id": "a"}}));
        assert_eq!(audit.body("t")["data"]["message_audit"]["audit_id"], "a");
    }
}
