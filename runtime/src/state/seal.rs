//! Access tokens as the shared state may hold them: nobody reads one without its bot's secret.
//!
//! The key is derived from the bot's secret and bound to its id, so a copy of Redis, of the
//! embedded file or of a backup gives no token away, and a sealed token moved to another bot does
//! not open. The rule a newcomer would break: no nonce is ever made of anything but randomness.

use bytes::Bytes;
use qqrelay_proto::id::AppId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// First byte of a sealed text; another form gets another number.
const VERSION: u8 = 1;

/// Separates this use of the bot's secret from every other, such as the webhook's signatures.
const SALT: &[u8] = b"qqrelay access token v1";

/// A sealed text that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed by another release, or is no sealed text at all.
    #[error("the sealed text has a form that is not known")]
    Form,
    /// It was sealed with another secret or for another bot, or somebody changed it.
    #[error("the sealed text does not open with this bot's secret")]
    Key,
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

/// Seals and opens one bot's tokens.
pub struct Seal {
    app: AppId,
    key: LessSafeKey,
}

impl Seal {
    /// Derives the key from the bot's secret.
    #[must_use]
    pub fn new(app: AppId, secret: &str) -> Self {
        let info = [app.as_str().as_bytes()];
        let key: UnboundKey = Salt::new(HKDF_SHA256, SALT)
            .extract(secret.as_bytes())
            .expand(&info, &AES_256_GCM)
            .expect("one key is far below HKDF's bound")
            .into();
        Self { app, key: LessSafeKey::new(key) }
    }

    /// Seals `plain`; two seals of one text differ.
    ///
    /// # Errors
    ///
    /// [`SealError::Randomness`].
    pub fn seal(&self, plain: &str) -> Result<Bytes, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let mut text = plain.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.bound(), &mut text)
            .expect("a token is far below the cipher's bound");
        Ok([&[VERSION], nonce.as_slice(), &text].concat().into())
    }

    /// Opens what [`Seal::seal`] made.
    ///
    /// # Errors
    ///
    /// It was not sealed in this form, with this secret, for this bot.
    pub fn open(&self, sealed: &[u8]) -> Result<String, SealError> {
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(SealError::Form) };
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Form)?;
        let mut text = text.to_vec();
        let plain = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), self.bound(), &mut text)
            .map_err(|_| SealError::Key)?;
        String::from_utf8(plain.to_vec()).map_err(|_| SealError::Form)
    }

    fn bound(&self) -> Aad<&[u8]> {
        Aad::from(self.app.as_str().as_bytes())
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("app", &self.app).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-that-nobody-else-reads";

    fn seal(app: &str, secret: &str) -> Seal {
        Seal::new(app.into(), secret)
    }

    #[test]
    fn a_token_opens_with_its_bots_secret_and_stands_nowhere_in_the_sealed_text() {
        let ours = seal("102", "the secret");
        let sealed = ours.seal(TOKEN).unwrap();
        assert_eq!(ours.open(&sealed).unwrap(), TOKEN);
        assert_ne!(sealed, ours.seal(TOKEN).unwrap());
        for piece in TOKEN.as_bytes().windows(4) {
            assert!(!sealed.windows(4).any(|window| window == piece));
        }
    }

    #[test]
    fn another_secret_another_bot_or_a_changed_byte_opens_nothing() {
        let sealed = seal("102", "the secret").seal(TOKEN).unwrap();
        assert_eq!(seal("102", "a secret").open(&sealed), Err(SealError::Key));
        assert_eq!(seal("103", "the secret").open(&sealed), Err(SealError::Key));
        for place in 1..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[place] ^= 1;
            assert_eq!(seal("102", "the secret").open(&changed), Err(SealError::Key), "{place}");
        }
    }

    #[test]
    fn another_form_is_said_to_be_one() {
        let ours = seal("102", "the secret");
        assert_eq!(ours.open(b""), Err(SealError::Form));
        assert_eq!(ours.open(b"\x01short"), Err(SealError::Form));
        assert_eq!(ours.open(TOKEN.as_bytes()), Err(SealError::Form));
    }
}
