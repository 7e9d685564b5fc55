//! Signs what is posted, as Standard Webhooks asks: `v1,` and the base64 of HMAC-SHA256 over
//! `<id>.<timestamp>.<body>`.
//!
//! The receiver checks the signature over the bytes it got, before it parses them, and refuses old
//! timestamps.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Header that names the message; a repeat of the same event has the same.
pub(super) const ID: &str = "webhook-id";
/// Header with the time of posting, seconds since 1970.
pub(super) const TIMESTAMP: &str = "webhook-timestamp";
/// Header with the signature.
pub(super) const SIGNATURE: &str = "webhook-signature";

/// How a secret in Standard Webhooks' own form begins.
const PREFIX: &str = "whsec_";

/// Shortest secret that is taken, in bytes.
pub(super) const SECRET_MIN: usize = 16;

/// A secret that cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It begins as Standard Webhooks' form does, and the rest is no base64.
    #[error("the signing secret begins with whsec_ and its rest is not base64")]
    Encoding(#[source] base64::DecodeError),
    /// It could be guessed.
    #[error("the signing secret has {bytes} bytes, use at least {SECRET_MIN}")]
    Short {
        /// Its length.
        bytes: usize,
    },
}

/// What signs.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// Makes a key of `whsec_<base64>`, or of any other text as it is.
    pub(super) fn new(secret: &str) -> Result<Self, SecretError> {
        let bytes = match secret.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(SecretError::Encoding)?,
            None => secret.as_bytes().to_vec(),
        };
        if bytes.len() < SECRET_MIN {
            return Err(SecretError::Short { bytes: bytes.len() });
        }
        Ok(Self(Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length")))
    }

    /// The signature header's value.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that Standard Webhooks publishes.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = Key::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a good secret");
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_plain_text_is_a_secret_too_and_its_base64_the_same_one() {
        let encoded = format!("whsec_{}", STANDARD.encode("sixteen bytes, ok"));
        let sign = |secret| Key::new(secret).map(|key| key.sign("a", 1, b"b")).ok();
        assert_eq!(sign("sixteen bytes, ok"), sign(&encoded));
        assert!(sign("sixteen bytes, ok").is_some());
    }

    #[test]
    fn a_secret_that_protects_nothing_is_refused() {
        let refused = |secret| Key::new(secret).err().map(|error| error.to_string());
        assert_eq!(
            refused("fifteen bytes..").as_deref(),
            Some("the signing secret has 15 bytes, use at least 16")
        );
        assert_eq!(
            refused("whsec_!").as_deref(),
            Some("the signing secret begins with whsec_ and its rest is not base64")
        );
    }
}
