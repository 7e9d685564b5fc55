//! What cannot be handled is parked with its reason, whole, where somebody can look at it.
//!
//! A record is acknowledged only after it lies there.

use std::sync::Arc;

use qqrelay_runtime::bus::{Bus, DeadLetter};

use crate::duty::{Duty, Leave};
use crate::metrics::Metrics;
use crate::work::{Assignment, persist};

/// Why a record is in the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The handler failed at it as often as it may.
    Handler,
    /// Its scope had no room.
    Overflow,
    /// Workers that began it died, as often as may be.
    Poison,
    /// It held up its lane's floor for too long.
    Stuck,
    /// It cannot be read.
    Unreadable,
}

impl Reason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 5] =
        [Self::Handler, Self::Overflow, Self::Poison, Self::Stuck, Self::Unreadable];

    /// The name used in metrics, logs and the letter itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Overflow => "overflow",
            Self::Poison => "poison",
            Self::Stuck => "stuck",
            Self::Unreadable => "unreadable",
        }
    }

    /// The reason for people, where nothing more is known.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Handler => "the handler failed at it",
            Self::Overflow => "its scope had no room for it",
            Self::Poison => "working on it ended the worker",
            Self::Stuck => "too much above it was finished while it was not",
            Self::Unreadable => "it cannot be read",
        }
    }
}

/// Where a worker parks what it cannot handle.
#[derive(Clone)]
pub struct DeadLetters {
    bus: Arc<dyn Bus>,
    metrics: Metrics,
}

impl DeadLetters {
    /// Parks records on this bus.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, metrics: Metrics) -> Self {
        Self { bus, metrics }
    }

    /// Parks a record, however long it takes.
    ///
    /// # Errors
    ///
    /// The work is to be left; the record may be parked or not, and comes again.
    pub async fn park(
        &self,
        assignment: &Assignment,
        reason: Reason,
        detail: &str,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let letter = DeadLetter {
            subject: assignment.place.dead_letter(assignment.kind()),
            reason: reason.as_str(),
            detail: detail.to_owned(),
            position: assignment.position,
            record: assignment.stored.record.clone(),
        };
        persist(duty, "dead letter", || self.bus.dead_letter(letter.clone())).await?;
        self.metrics.dead_letter(reason);
        tracing::warn!(
            app = %assignment.place.app,
            scene = %assignment.place.scene,
            scope = %assignment.place.scope,
            kind = assignment.kind(),
            position = ?assignment.position,
            reason = reason.as_str(),
            detail,
            "record parked in the dead letters"
        );
        Ok(())
    }
}
