//! The Ed25519 key that both sides make of a bot's secret.
//!
//! What is signed are the timestamp's and the body's bytes with nothing in between, never a body
//! that was parsed and written again: the documents' own example holds only for the bytes it was
//! made from.
//!
//! Source: spec/webhook.md §3, §4, §8.

use ed25519_dalek::{Signature, Signer, SigningKey};

/// The key of one bot, good for both directions.
#[derive(Debug, Clone)]
pub struct CallbackKey(SigningKey);

impl CallbackKey {
    /// The key of a secret; none of an empty one.
    ///
    /// The seed is the secret repeated until it fills 32 bytes; what a longer one has more is cut.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        let mut seed = [0; 32];
        if secret.is_empty() {
            return None;
        }
        for (byte, from) in seed.iter_mut().zip(secret.bytes().cycle()) {
            *byte = from;
        }
        Some(Self(SigningKey::from_bytes(&seed)))
    }

    /// Signs a timestamp and what follows it, in lower-case hex.
    #[must_use]
    pub fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        hex(&self.0.sign(&message(timestamp, body)).to_bytes())
    }

    /// Whether a signature in hex is this key's for a timestamp and what follows it.
    #[must_use]
    pub fn verify(&self, timestamp: &str, body: &[u8], signature: &str) -> bool {
        let Some(signature) = unhex(signature) else { return false };
        let signature = Signature::from_bytes(&signature);
        self.0.verifying_key().verify_strict(&message(timestamp, body), &signature).is_ok()
    }

    /// The public half, in lower-case hex.
    #[must_use]
    pub fn public(&self) -> String {
        hex(self.0.verifying_key().as_bytes())
    }
}

fn message(timestamp: &str, body: &[u8]) -> Vec<u8> {
    [timestamp.as_bytes(), body].concat()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> CallbackKey {
        CallbackKey::new(secret).unwrap()
    }

    #[test]
    fn secrets_make_the_published_public_keys() {
        let check = |secret, public| assert_eq!(key(secret).public(), public, "{secret}");
        check(
            "DG5g3B4j9X2KOErG",
            "8b28ded5630f9051c205dd04c6ec56ad0b08b8812b2fe30ee9aece0ab41926f3",
        );
        check(
            "naOC0ocQE3shWLAfffVLB1rhYPG7",
            "d7c362fe78aef81ff23287b493628b5db02a3c4fe30b215e4d19609b5d76673a",
        );
        check("123456abcdef", "1c3039fbc8134a9df2a09f47cf4bf9303440988cec3b22056b62470b85fa80a7");
        check("abc", "204aaed5e86cd99a149c0d51d033261996cdbd67a2becb24dfaa43a4828181e8");
        let whole = "23bc54912c1e6e92c4a86825c867e27ffdc555bffbd4244f17a26abfffee965d";
        check("0123456789abcdef0123456789abcdef", whole);
        check("0123456789abcdef0123456789abcdefEXTRA678", whole);
        assert!(CallbackKey::new("").is_none());
    }

    #[test]
    fn requests_are_signed_as_in_the_published_examples() {
        let check = |secret, timestamp, body: &str, signature| {
            let key = key(secret);
            assert_eq!(key.sign(timestamp, body.as_bytes()), signature, "{body}");
            assert!(key.verify(timestamp, body.as_bytes(), signature), "{body}");
        };
        // Vector A: what the answer to an op 13 signs.
        check(
            "DG5g3B4j9X2KOErG",
            "1725442341",
            "Arq0D5A61EgUu4OxUvOp",
            "87befc99c42c651b3aac0278e71ada338433ae26fcb24307bdc5ad38c1adc2d0\
             1bcfcadc0842edac85e85205028a1132afe09280305f13aa6909ffc2d652c706",
        );
        // Vector B: the op 13 itself.
        check(
            "DG5g3B4j9X2KOErG",
            "1725442341",
            r#"{"d":{"plain_token":"Arq0D5A61EgUu4OxUvOp","event_ts":"1725442341"},"op":13}"#,
            "83b6ac087184094d12acfde703017aad101fcff2f8345fd977de7300e7062b13\
             ecf6bef86f29068624f8c6fd5747713c85a5ad5a151b2e532e8a8afcda39e80c",
        );
        // Vector C: the documents' example holds for a pretty-printed body, not for the one line
        // they print.
        let naoc = "naOC0ocQE3shWLAfffVLB1rhYPG7";
        check(
            naoc,
            "1725442341",
            "{\n  \"op\": 0,\n  \"d\": {},\n  \"t\": \"GATEWAY_EVENT_NAME\"\n}",
            "865ad13a61752ca65e26bde6676459cd36cf1be609375b37bd62af366e1dc25a\
             8dc789ba7f14e017ada3d554c671a911bfdf075ba54835b23391d509579ed002",
        );
        check(
            naoc,
            "1725442341",
            r#"{ "op": 0,"d": {}, "t": "GATEWAY_EVENT_NAME"}"#,
            "2eb9983ebb8bb209e78fd095942f58e442656656e7975d01e64f9023a84b7c96\
             4290fdd40e5500c33867ccfe9563b7e0b6bac0e1d42c13e787b304fd51f71102",
        );
        // Vectors E and F: short and long secrets, and text beyond ASCII.
        let hi = r#"{"op":0,"id":"EV:1","t":"C2C_MESSAGE_CREATE","s":1,"d":{"content":"hi"}}"#;
        check(
            "abc",
            "1700000000",
            hi,
            "d120454690acaf492d8f0673b2ad7e9b7a9db433ff799a7817c03d2ca968bd13\
             d5f930797b0c55189c3d8d57676d95a5c3af09c73c0753637f46faa656d52608",
        );
        let long = "1c4c50fdb3865c8313fdeee1995dc6f3154958ae0718358c17a3a5d18c88c881\
                    47e16bbc202e74407ace235bb62502fd3fbf52e43dc4f5c1f2927e0fa346ad04";
        check("0123456789abcdef0123456789abcdef", "1700000000", hi, long);
        check("0123456789abcdef0123456789abcdefEXTRA678", "1700000000", hi, long);
        check(
            "abc",
            "1700000000",
            r#"{"op":0,"id":"EV:2","t":"C2C_MESSAGE_CREATE","s":2,"d":{"content":"你好"}}"#,
            "6375e6175fae589a4187daba52afde1f0c63f9532a7cf1f9bccec4cd7710f47f\
             911c931b8ad95da0c4600553e27a264b3950c45cac86e1ba494176f326cd070a",
        );
    }

    #[test]
    fn a_signature_of_anything_else_does_not_hold() {
        let key = key("abc");
        let (timestamp, body) = ("1700000000", b"{\"op\":0}");
        let good = key.sign(timestamp, body);
        assert!(key.verify(timestamp, body, &good));
        assert!(key.verify(timestamp, body, &good.to_uppercase()));
        assert!(!key.verify(timestamp, b"{\"op\":1}", &good));
        assert!(!key.verify("1700000001", body, &good));
        let high_bit =
            format!("{}{:02x}", &good[..126], 0x80 | u8::from_str_radix(&good[126..], 16).unwrap());
        for bad in [&good[2..], &format!("{good}00"), &high_bit, &"zz".repeat(64), ""] {
            assert!(!key.verify(timestamp, body, bad), "{bad}");
        }
    }
}
