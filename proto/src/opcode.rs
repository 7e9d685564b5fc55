//! What a frame is for: its `op`.

/// The purpose of a frame.
///
/// Source: PLATFORM.md, "frames". 3, 4, 5 and 8 are unused; what we do not know is ignored and
/// counted, never an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// The platform tells an event; READY and RESUMED among them.
    Dispatch,
    /// We show that we live, or the platform asks us to.
    Heartbeat,
    /// We ask for a new session.
    Identify,
    /// We ask for a session to go on.
    Resume,
    /// The platform asks for a new connection.
    Reconnect,
    /// The platform refuses the session.
    InvalidSession,
    /// The platform greets us.
    Hello,
    /// The platform answers a heartbeat.
    HeartbeatAck,
    /// We answer a webhook's event.
    CallbackAck,
    /// The platform checks a webhook's address.
    CallbackValidation,
    /// A number that this release has not met.
    Unknown,
}

const TABLE: [(u8, Opcode, &str); 10] = [
    (0, Opcode::Dispatch, "dispatch"),
    (1, Opcode::Heartbeat, "heartbeat"),
    (2, Opcode::Identify, "identify"),
    (6, Opcode::Resume, "resume"),
    (7, Opcode::Reconnect, "reconnect"),
    (9, Opcode::InvalidSession, "invalid_session"),
    (10, Opcode::Hello, "hello"),
    (11, Opcode::HeartbeatAck, "heartbeat_ack"),
    (12, Opcode::CallbackAck, "callback_ack"),
    (13, Opcode::CallbackValidation, "callback_validation"),
];

impl Opcode {
    /// The opcode of a number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let row = TABLE.iter().find(|(known, ..)| u64::from(*known) == number);
        row.map_or(Self::Unknown, |(_, opcode, _)| *opcode)
    }

    /// The number on the wire; `None` of [`Opcode::Unknown`].
    #[must_use]
    pub fn number(self) -> Option<u8> {
        TABLE.iter().find(|(_, opcode, _)| *opcode == self).map(|(number, ..)| *number)
    }

    /// The name used in metric labels and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        let row = TABLE.iter().find(|(_, opcode, _)| *opcode == self);
        row.map_or("unknown", |(.., label)| label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_opcode_name_each_other() {
        for (number, opcode, label) in TABLE {
            assert_eq!(Opcode::of(number.into()), opcode);
            assert_eq!(opcode.number(), Some(number));
            assert_eq!(opcode.label(), label);
        }
        for unused in [3, 4, 5, 8, 14, 200, 256, u64::MAX] {
            assert_eq!(Opcode::of(unused), Opcode::Unknown, "{unused}");
        }
        assert_eq!(Opcode::Unknown.number(), None);
        assert_eq!(Opcode::Unknown.label(), "unknown");
    }
}
