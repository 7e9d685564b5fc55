//! Several records of one event: the first leads, and the others are over when it is.
//!
//! A leader is remembered until its done mark stands: a record of the event that comes before then
//! is not recognised by anything else.

use std::collections::HashMap;

use qqrelay_runtime::bus::Position;

use super::Identity;

/// What a record that has a leader has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// The leader's end.
    Open,
    /// Nothing: the leader is over.
    Over,
}

#[derive(Debug)]
struct Leader {
    position: Position,
    progress: Joined,
    twins: Vec<Position>,
}

/// The leaders of a lane.
#[derive(Debug, Default)]
pub(super) struct Twins {
    leaders: HashMap<Identity, Leader>,
    identities: HashMap<Position, Identity>,
}

impl Twins {
    /// From now on other records of the same event follow this one.
    pub(super) fn lead(&mut self, identity: &Option<Identity>, position: Position) {
        if let Some(identity) = identity {
            let leader = Leader { position, progress: Joined::Open, twins: Vec::new() };
            self.leaders.insert(identity.clone(), leader);
            self.identities.insert(position, identity.clone());
        }
    }

    /// Follows the leader of the same event, if there is one.
    pub(super) fn join(
        &mut self,
        position: Position,
        identity: Option<&Identity>,
    ) -> Option<Joined> {
        let leader = self.leaders.get_mut(identity?)?;
        leader.twins.push(position);
        Some(leader.progress)
    }

    /// A leader is over; gives those that follow it.
    pub(super) fn over(&mut self, leader: Position) -> Vec<Position> {
        let Some(leader) = self.identities.get(&leader).and_then(|id| self.leaders.get_mut(id))
        else {
            return Vec::new();
        };
        leader.progress = Joined::Over;
        leader.twins.clone()
    }

    /// Forgets a leader: its mark stands, or it comes again. Gives those that followed it.
    pub(super) fn forget(&mut self, leader: Position) -> Vec<Position> {
        let identity = self.identities.remove(&leader);
        identity.and_then(|id| self.leaders.remove(&id)).map_or_else(Vec::new, |gone| gone.twins)
    }

    /// Whom a record follows.
    pub(super) fn leader_of(&self, twin: Position) -> Option<Position> {
        let leads = |leader: &&Leader| leader.twins.contains(&twin);
        self.leaders.values().find(leads).map(|leader| leader.position)
    }
}
