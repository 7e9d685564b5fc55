//! The two hashes whose values others can see.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// FNV-1a with 32 bits, over the pieces as if they were one text.
///
/// What a server's `partition(n,…)` computes over tokens, and the source of `msg_seq`.
#[must_use]
pub fn fnv1a32<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    pieces.into_iter().flatten().fold(0x811c_9dc5, step)
}

/// SHA-256 as 64 lower-case hex characters.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_gives_the_published_values() {
        let check = |text: &str, expected| assert_eq!(fnv1a32([text.as_bytes()]), expected);
        check("", 0x811c_9dc5);
        check("a", 0xe40c_292c);
        check("foobar", 0xbf9c_f968);
        assert_eq!(fnv1a32([b"foo".as_slice(), b"bar"]), 0xbf9c_f968);
    }
}
