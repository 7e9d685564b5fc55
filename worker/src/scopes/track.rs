//! What of one stream is open, and what may be acknowledged.
//!
//! A position is open from its arrival to its acknowledgement. The rule a newcomer would break:
//! while done marks cannot be written, an acknowledgement goes out only when nothing below it is
//! open, because the stream's floor is then the only memory of what is finished.

use std::collections::BTreeMap;

/// How far an open position has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// In its scope's queue.
    Waiting,
    /// Being worked on; `asked` once it was told to stop.
    InHand {
        /// Whether it was told to stop because it holds the floor.
        asked: bool,
    },
    /// On its way to the dead letters.
    Leaving,
    /// The same event as another open position, at this number of this or another stream.
    Twin,
    /// Finished; its done mark is being written.
    Finished,
    /// Finished, and its done mark could not be written.
    Unmarked,
    /// Forgotten, because it comes again.
    Expected,
}

#[derive(Debug)]
struct Open {
    /// How many arrivals of the stream came before it.
    ordinal: u64,
    stage: Stage,
}

/// One stream's open positions.
#[derive(Debug, Default)]
pub(super) struct Track {
    open: BTreeMap<u64, Open>,
    arrivals: u64,
}

impl Track {
    /// Counts an arrival that needs no work.
    pub(super) fn pass(&mut self) {
        self.arrivals += 1;
    }

    /// Opens a position.
    pub(super) fn open(&mut self, number: u64, stage: Stage) {
        self.open.insert(number, Open { ordinal: self.arrivals, stage });
        self.arrivals += 1;
    }

    pub(super) fn stage(&self, number: u64) -> Option<Stage> {
        self.open.get(&number).map(|open| open.stage)
    }

    /// Moves an open position on; nothing happens to one that is not open.
    pub(super) fn advance(&mut self, number: u64, stage: Stage) {
        if let Some(open) = self.open.get_mut(&number) {
            open.stage = stage;
        }
    }

    /// Forgets a position: it was acknowledged, or it will come again.
    pub(super) fn close(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// What holds the floor, when more than `most` arrivals lie above it.
    pub(super) fn stuck(&self, most: u64) -> Option<(u64, Stage)> {
        let (&number, oldest) = self.open.first_key_value()?;
        // The oldest open one itself is not above the floor.
        let above = self.arrivals - oldest.ordinal - 1;
        (above > most).then_some((number, oldest.stage))
    }

    /// Takes the lowest position if it is finished without a mark: the floor may pass it.
    pub(super) fn pop_unmarked_floor(&mut self) -> Option<u64> {
        let oldest = self.open.first_entry()?;
        (oldest.get().stage == Stage::Unmarked).then(|| oldest.remove_entry().0)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is left to be done or settled that can be now.
    pub(super) fn is_idle(&self) -> bool {
        let idle = |open: &Open| matches!(open.stage, Stage::Unmarked | Stage::Expected);
        self.open.values().all(idle)
    }
}
