//! The server's side of WebSocket framing, as bytes.
//!
//! Written by hand and not left to a library, because the simulator must also be able to write what
//! no library would: one place makes all frames, right and wrong.

use bytes::Bytes;

/// A frame's kind, RFC 6455 §5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// UTF-8 text.
    Text = 0x1,
    /// The end.
    Close = 0x8,
    /// The answer to a ping.
    Pong = 0xa,
}

/// The largest payload whose length fits the header's first byte pair.
const SHORT: usize = 125;

/// Appends one whole, unmasked frame.
pub fn append(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    append_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends the header of a frame whose payload follows.
pub fn append_header(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    const FINAL: u8 = 0x80;
    out.push(FINAL | opcode as u8);
    if length <= SHORT {
        out.push(u8::try_from(length).expect("at most 125"));
    } else if let Ok(length) = u16::try_from(length) {
        out.push(126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// A text frame.
#[must_use]
pub fn text(payload: &str) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    append(&mut out, Opcode::Text, payload.as_bytes());
    out.into()
}

/// A close frame; the reason is cut to what a control frame may hold.
#[must_use]
pub fn close(code: Option<u16>, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(SHORT);
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        let room = SHORT - payload.len();
        let room = (0..=room).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
        payload.extend_from_slice(&reason.as_bytes()[..room]);
    }
    let mut out = Vec::with_capacity(payload.len() + 2);
    append(&mut out, Opcode::Close, &payload);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_three_documented_forms() {
        let check = |length, expected: &[u8]| {
            let mut out = Vec::new();
            append_header(&mut out, Opcode::Text, length);
            assert_eq!(out, expected, "{length}");
        };
        check(0, &[0x81, 0]);
        check(125, &[0x81, 125]);
        check(126, &[0x81, 126, 0, 126]);
        check(65_535, &[0x81, 126, 0xff, 0xff]);
        check(65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_close_frame_fits_a_control_frame_and_stays_text() {
        assert_eq!(&*close(None, "ignored"), &[0x88, 0]);
        assert_eq!(&*close(Some(4009), "ab"), &[0x88, 4, 0x0f, 0xa9, b'a', b'b']);
        let long = close(Some(4009), &"会".repeat(100));
        assert_eq!(long[1], 2 + 123);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }
}
