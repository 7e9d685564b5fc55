//! What can be wrong with a command. Every text names the member and the fix: its reader wrote the
//! command and has nothing else to go by.

use super::{Action, Command, CommandId, KEYBOARD_MAX};
use crate::id::Scene;

/// A command that cannot be done, whatever the platform says.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// More JSON than any message needs.
    #[error("command is {bytes} bytes long, the most is {}; send less at once", Command::BYTES_MAX)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// No command in JSON; the cause says what stands there instead.
    #[error("command cannot be read at {path}: {source}")]
    Unreadable {
        /// The member that is wrong, such as `action.send.content`; `.` is the command itself.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A command that makes no sense; everything that is wrong with it.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// One thing wrong with a command, with the member and the fix in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing stands where something must.
    #[error("{field} is empty: give it a value or leave the command out")]
    Empty {
        /// The member.
        field: &'static str,
    },
    /// More text than one message takes.
    #[error("{field} has {chars} characters, the most is {most}: split it into several commands")]
    TooLong {
        /// The member.
        field: &'static str,
        /// Characters it has.
        chars: usize,
        /// Characters it may have.
        most: usize,
    },
    /// An id that could not be a header or a part of an address.
    #[error(
        "{field} is longer than {} bytes or holds a control character: use plain text",
        CommandId::MAX
    )]
    BadId {
        /// The member.
        field: &'static str,
    },
    /// An id that an HTTP client would take for a step up in the path.
    #[error("{field} is a dot or two: give the id the platform uses")]
    DotId {
        /// The member.
        field: &'static str,
    },
    /// Messages go to places, and a guild or the bot itself is none.
    #[error("scene is {scene}, which takes no messages: use channel, dm, group or c2c")]
    NoMessages {
        /// The scene.
        scene: Scene,
    },
    /// The platform has no such messages in this scene.
    #[error(
        "content is {part}, which the platform does not take in scene {scene}: use text or markdown"
    )]
    WrongScene {
        /// The kind of content.
        part: &'static str,
        /// The scene.
        scene: Scene,
    },
    /// Text and template at once.
    #[error("content.markdown has content and template: give one of them")]
    MarkdownAndTemplate,
    /// Buttons and template at once.
    #[error("content.markdown.keyboard has id and content: give one of them")]
    KeyboardAndTemplate,
    /// Too many buttons.
    #[error(
        "content.markdown.keyboard has {rows} rows of up to {widest} buttons: use at most {KEYBOARD_MAX} by {KEYBOARD_MAX}"
    )]
    KeyboardTooLarge {
        /// Rows it has.
        rows: usize,
        /// Buttons of its longest row.
        widest: usize,
    },
    /// A code the platform does not know.
    #[error("action.acknowledge.code is {code}: use 0 to {}", Action::CODE_MAX)]
    BadCode {
        /// The code.
        code: u8,
    },
    /// Only a message can be a reply.
    #[error("reply is given for an action that shows nothing: leave it out")]
    ReplyToNothing,
}
