//! What goes through a lane's scopes, within which bounds, and what comes out.

use qqrelay_proto::id::AppId;
use qqrelay_runtime::bus::Position;

/// How much of a lane may be in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pieces that may wait in one scope, without the one in hand.
    pub scope_pieces: usize,
    /// Bytes that may wait in one scope; one piece always may.
    pub scope_bytes: usize,
    /// Bytes in the whole lane, from which on it takes no more in until some are gone.
    pub lane_bytes: usize,
    /// Scopes of the lane that are worked on at once.
    pub in_hand: usize,
    /// Arrivals of a stream that may lie above an open one before that is given up as stuck.
    pub above_floor: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            scope_pieces: 256,
            scope_bytes: 4 << 20,
            lane_bytes: 64 << 20,
            in_hand: 1024,
            // What comes again at a takeover: 50,000 records took 0.2 s where it was measured.
            above_floor: 65_536,
        }
    }
}

/// What makes two records the same event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The bot.
    pub app: AppId,
    /// The event.
    pub id: Box<str>,
}

/// A piece of work on its way through its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<K, T> {
    /// What to acknowledge.
    pub position: Position,
    /// The place it belongs to; order holds within it.
    pub scope: K,
    /// What makes two records the same piece of work. Commands have none here, for the bus stores a
    /// command once.
    pub identity: Option<Identity>,
    /// Room it takes.
    pub bytes: usize,
    /// What to do.
    pub work: T,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<K, T> {
    /// Start this piece; nothing else of its scope is in hand.
    Start(Piece<K, T>),
    /// Stop this piece, which holds the floor, dead-letter it as stuck and say it is finished.
    Stop(Position),
    /// Write it to the dead letters, in the order of these outputs, and say it is finished.
    DeadLetter(Piece<K, T>, Cause),
    /// It is finished: write its done mark if it has an identity, then say it is settled.
    Settle(Position, Option<Identity>),
    /// Acknowledge it.
    Ack(Position),
}

/// Why the machine gives a piece up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its scope had no room.
    Overflow,
    /// It held the floor for too long.
    Stuck,
}
