//! A message that grows while it is written: chunks that must follow each other.
//!
//! The whole stream is one reply: its first chunk claims it, the others only continue.
//!
//! Source: spec/rest.md §2.2.

use serde::Deserialize;

use super::Refusal;

/// One chunk as a client sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Chunk {
    /// How its text joins what was shown.
    pub input_mode: InputMode,
    /// 1 more will come, 10 this is the end.
    pub input_state: Option<i64>,
    /// From 0.
    pub index: Option<i64>,
    /// `text` or `markdown`.
    pub content_type: Option<String>,
    /// The text.
    pub content_raw: Option<String>,
    /// The message the stream answers.
    pub msg_id: Option<String>,
    /// The event the stream answers.
    pub event_id: Option<String>,
    /// The stream, in all chunks but the first.
    pub stream_msg_id: Option<String>,
    /// The stream's number among the answers.
    pub msg_seq: Option<i64>,
    /// Calls back a user who went silent.
    pub is_wakeup: Option<bool>,
}

/// How a chunk's text joins what was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputMode {
    /// It is added.
    #[default]
    Append,
    /// It is the whole, and begins with what was shown.
    Replace,
}

/// Whether more chunks may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They may.
    Open,
    /// That was the last.
    Finished,
}

/// One stream, after its first chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    text: String,
    next_index: i64,
    flow: Flow,
}

impl Stream {
    /// Begins a stream with its first chunk.
    ///
    /// # Errors
    /// The chunk is not a first one, or too long.
    pub fn begin(chunk: &Chunk, text_characters: usize) -> Result<Self, Refusal> {
        let mut stream = Self { text: String::new(), next_index: 0, flow: Flow::Open };
        stream.push(chunk, text_characters)?;
        Ok(stream)
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// It is out of turn, contradicts what was shown, or makes the text too long. The stream stays
    /// as it was.
    pub fn push(&mut self, chunk: &Chunk, text_characters: usize) -> Result<(), Refusal> {
        let flow = match chunk.input_state {
            Some(1) => Flow::Open,
            Some(10) => Flow::Finished,
            _ => return Err(Refusal::BadForm),
        };
        if self.flow == Flow::Finished || chunk.index.unwrap_or(0) != self.next_index {
            return Err(Refusal::BadForm);
        }
        if chunk.content_type.as_deref().is_some_and(|kind| !matches!(kind, "text" | "markdown")) {
            return Err(Refusal::BadForm);
        }
        let raw = chunk.content_raw.as_deref().unwrap_or_default();
        let text = match chunk.input_mode {
            InputMode::Append => format!("{}{raw}", self.text),
            InputMode::Replace if raw.starts_with(&self.text) => raw.to_owned(),
            InputMode::Replace => return Err(Refusal::StreamPrefix),
        };
        if text.chars().count() > text_characters {
            return Err(Refusal::TooLong);
        }
        *self = Self { text, next_index: self.next_index + 1, flow };
        Ok(())
    }

    /// What is shown.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether more chunks may come.
    #[must_use]
    pub const fn flow(&self) -> Flow {
        self.flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(mode: InputMode, index: i64, state: i64, text: &str) -> Chunk {
        Chunk {
            input_mode: mode,
            index: Some(index),
            input_state: Some(state),
            content_raw: Some(text.into()),
            ..Chunk::default()
        }
    }

    #[test]
    fn chunks_join_into_one_text() {
        let mut stream = Stream::begin(&chunk(InputMode::Append, 0, 1, "he"), 100).unwrap();
        assert_eq!(stream.push(&chunk(InputMode::Append, 1, 1, "llo"), 100), Ok(()));
        assert_eq!(stream.push(&chunk(InputMode::Replace, 2, 10, "hello!"), 100), Ok(()));
        assert_eq!((stream.text(), stream.flow()), ("hello!", Flow::Finished));
    }

    #[test]
    fn a_chunk_out_of_turn_changes_nothing() {
        let stream = Stream::begin(&chunk(InputMode::Append, 0, 1, "hello"), 10).unwrap();
        let check = |chunk, expected| {
            let mut changed = stream.clone();
            assert_eq!(changed.push(&chunk, 10), Err(expected));
            assert_eq!(changed, stream);
        };
        check(chunk(InputMode::Append, 0, 1, "x"), Refusal::BadForm);
        check(chunk(InputMode::Append, 2, 1, "x"), Refusal::BadForm);
        check(chunk(InputMode::Append, 1, 5, "x"), Refusal::BadForm);
        check(chunk(InputMode::Replace, 1, 1, "help"), Refusal::StreamPrefix);
        check(chunk(InputMode::Append, 1, 1, "123456"), Refusal::TooLong);

        let mut finished = stream.clone();
        finished.push(&chunk(InputMode::Append, 1, 10, ""), 10).unwrap();
        assert_eq!(finished.push(&chunk(InputMode::Append, 2, 1, "x"), 10), Err(Refusal::BadForm));
        assert!(Stream::begin(&chunk(InputMode::Append, 1, 1, "x"), 10).is_err());
    }
}
