//! What shall go wrong, where, and how often.
//!
//! A fault is armed on a board and strikes the occasions it matches until it is used up. What it
//! does is the business of whoever asked the board.

use std::collections::BTreeMap;
use std::sync::Mutex;

use qqrelay_proto::id::{AppId, Scene};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::lock;
use crate::shard::Shard;

/// Which occasions a fault strikes; what is not said matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aim {
    /// Only this bot's.
    pub app: Option<AppId>,
    /// Only this shard's.
    pub shard: Option<Shard>,
    /// Only paths that contain this text, such as `/messages`.
    pub path: Option<String>,
    /// Only this HTTP method.
    pub method: Option<String>,
    /// Only this kind of place.
    pub scene: Option<Scene>,
}

/// What is about to happen, for a board to decide on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occasion<'a> {
    /// Whose.
    pub app: Option<&'a AppId>,
    /// On which shard.
    pub shard: Option<Shard>,
    /// The path called.
    pub path: Option<&'a str>,
    /// The HTTP method.
    pub method: Option<&'a str>,
    /// In what kind of place.
    pub scene: Option<Scene>,
}

impl Aim {
    fn matches(&self, occasion: &Occasion<'_>) -> bool {
        let path = |part: &String| occasion.path.is_some_and(|path| path.contains(part.as_str()));
        let method =
            |name: &String| occasion.method.is_some_and(|method| method.eq_ignore_ascii_case(name));
        self.app.as_ref().is_none_or(|app| occasion.app == Some(app))
            && self.shard.is_none_or(|shard| occasion.shard == Some(shard))
            && self.path.as_ref().is_none_or(path)
            && self.method.as_ref().is_none_or(method)
            && self.scene.is_none_or(|scene| occasion.scene == Some(scene))
    }
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Times {
    /// Until it is disarmed.
    #[default]
    Always,
    /// The next so many occasions that it matches and the dice let pass.
    Next(u32),
}

/// A fault and when it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Armed<F> {
    /// What goes wrong.
    pub fault: F,
    /// For whom.
    #[serde(default)]
    pub aim: Aim,
    /// How often.
    #[serde(default)]
    pub times: Times,
    /// How likely at each occasion, from the seed.
    #[serde(default = "certain")]
    pub probability: f64,
}

const fn certain() -> f64 {
    1.0
}

impl<F> Armed<F> {
    /// The next so many times, for everybody.
    #[must_use]
    pub fn next(times: u32, fault: F) -> Self {
        Self { fault, aim: Aim::default(), times: Times::Next(times), probability: 1.0 }
    }

    /// Until disarmed, for everybody.
    #[must_use]
    pub fn always(fault: F) -> Self {
        Self { fault, aim: Aim::default(), times: Times::Always, probability: 1.0 }
    }

    /// Only where `aim` says.
    #[must_use]
    pub fn aimed(mut self, aim: Aim) -> Self {
        self.aim = aim;
        self
    }
}

/// The armed faults of one kind, oldest first.
#[derive(Debug)]
pub struct Board<F> {
    shelf: Mutex<Shelf<F>>,
    dice: Dice,
}

#[derive(Debug)]
struct Shelf<F> {
    armed: BTreeMap<u64, Armed<F>>,
    /// Numbers are not used twice: a late disarm must not hit another fault.
    last: u64,
}

impl<F: Clone> Board<F> {
    /// An empty board.
    #[must_use]
    pub const fn new(dice: Dice) -> Self {
        Self { shelf: Mutex::new(Shelf { armed: BTreeMap::new(), last: 0 }), dice }
    }

    /// Arms a fault; the number disarms it.
    pub fn arm(&self, armed: Armed<F>) -> u64 {
        let mut shelf = lock(&self.shelf);
        shelf.last += 1;
        let number = shelf.last;
        shelf.armed.insert(number, armed);
        number
    }

    /// Takes one fault off the board, or all.
    pub fn disarm(&self, number: Option<u64>) {
        let armed = &mut lock(&self.shelf).armed;
        match number {
            Some(number) => drop(armed.remove(&number)),
            None => armed.clear(),
        }
    }

    /// The oldest fault that strikes here, used up by one.
    pub fn strike(&self, occasion: &Occasion<'_>) -> Option<F> {
        self.strike_if(occasion, |_| true)
    }

    /// As [`Board::strike`], but only a fault of the sort that can happen at this point.
    pub fn strike_if(&self, occasion: &Occasion<'_>, sort: impl Fn(&F) -> bool) -> Option<F> {
        let board = &mut lock(&self.shelf).armed;
        let hit = |armed: &Armed<F>| {
            sort(&armed.fault) && armed.aim.matches(occasion) && self.dice.chance(armed.probability)
        };
        let number = board.iter().find(|(_, armed)| hit(armed)).map(|(number, _)| *number)?;
        let armed = board.get_mut(&number)?;
        let fault = armed.fault.clone();
        match &mut armed.times {
            Times::Always => {}
            Times::Next(left) if *left > 1 => *left -= 1,
            Times::Next(_) => drop(board.remove(&number)),
        }
        Some(fault)
    }

    /// What is armed, by number.
    #[must_use]
    pub fn armed(&self) -> Vec<(u64, Armed<F>)> {
        lock(&self.shelf).armed.iter().map(|(number, armed)| (*number, armed.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_was_armed_for_and_oldest_first() {
        let board = Board::new(Dice::new(1));
        board.arm(Armed::next(2, "first"));
        board.arm(Armed::always("second"));
        let struck: Vec<_> = (0..4).filter_map(|_| board.strike(&Occasion::default())).collect();
        assert_eq!(struck, ["first", "first", "second", "second"]);
        board.disarm(None);
        assert_eq!(board.strike(&Occasion::default()), None);
    }

    #[test]
    fn an_aim_matches_only_what_it_names() {
        let (a, b) = (AppId::from("a"), AppId::from("b"));
        let aim = Aim { app: Some(a.clone()), path: Some("/messages".into()), ..Aim::default() };
        let check = |occasion: Occasion<'_>, expected| assert_eq!(aim.matches(&occasion), expected);
        let path = Some("/v2/groups/G/messages");
        check(Occasion { app: Some(&a), path, ..Occasion::default() }, true);
        check(Occasion { app: Some(&b), path, ..Occasion::default() }, false);
        check(Occasion { app: Some(&a), ..Occasion::default() }, false);
    }

    #[test]
    fn a_probability_is_kept_over_many_occasions() {
        let board = Board::new(Dice::new(9));
        board.arm(Armed { probability: 0.1, ..Armed::always(()) });
        let hits = (0..10_000).filter_map(|_| board.strike(&Occasion::default())).count();
        assert!((900..1_100).contains(&hits), "{hits}");
    }
}
