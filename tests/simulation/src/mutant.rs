//! Gateways that break a rule on purpose: a checker that does not catch each of them is none.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Mutant {
    /// A takeover writes one marker and no fillers: a stale window fits again behind it.
    SingleMarker,
    /// Records carry a message id.
    MessageId,
    /// Tails are read before the batch is acknowledged.
    TailsBeforeBatch,
    /// What a process remembers counts although another has written since.
    KeepsMemory,
    /// A session that is lost leaves no gap.
    NoGap,
    /// READY is no record.
    ReadyUnrecorded,
    /// RESUME asks from where memory is, not the log, and does not wait for the fence: behind that
    /// look, what memory holds has always arrived.
    ResumeFromMemory,
    /// A heartbeat says what was read, not what is durable.
    HeartbeatFromMemory,
    /// A process that takes over resumes from a checkpoint that was written when a frame was read.
    CheckpointOnRead,
    /// Nobody looks at the fence before RESUME and IDENTIFY.
    NoFenceCheck,
    /// What is sent again by a resume is stored again.
    NoGate,
    /// What is pushed again is an event again.
    RepeatStored,
    /// An IDENTIFY waits for no leave.
    NoBudget,
}

impl Mutant {
    /// Every one of them.
    pub const ALL: [Self; 13] = [
        Self::SingleMarker,
        Self::MessageId,
        Self::TailsBeforeBatch,
        Self::KeepsMemory,
        Self::NoGap,
        Self::ReadyUnrecorded,
        Self::ResumeFromMemory,
        Self::HeartbeatFromMemory,
        Self::CheckpointOnRead,
        Self::NoFenceCheck,
        Self::NoGate,
        Self::RepeatStored,
        Self::NoBudget,
    ];

    /// The promise that it breaks.
    #[must_use]
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::SingleMarker => "I5",
            Self::MessageId => "I7",
            Self::TailsBeforeBatch | Self::KeepsMemory | Self::NoGate | Self::RepeatStored => "I2",
            Self::NoGap => "I1",
            Self::ReadyUnrecorded
            | Self::ResumeFromMemory
            | Self::HeartbeatFromMemory
            | Self::CheckpointOnRead => "I4",
            Self::NoFenceCheck => "P6",
            Self::NoBudget => "I8",
        }
    }

    /// The fillers behind a marker, where the right number is the window's.
    pub(crate) fn fillers(self, window: usize) -> usize {
        match self {
            Self::SingleMarker => 0,
            _ => window,
        }
    }
}
