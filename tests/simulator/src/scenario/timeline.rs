//! What happens when, in order.

use std::time::Duration;

use qqrelay_proto::id::AppId;

use super::{Every, Scenario, Traffic};
use crate::control::Action;
use crate::dice::Dice;
use crate::events::Injection;

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// An action.
    Action(Action),
    /// An event of the traffic.
    Event {
        /// Whose.
        app: AppId,
        /// Which.
        event: Injection,
        /// Whether it is pushed a second time.
        again: bool,
    },
}

/// All steps of a scenario, each with its time from the beginning. Endless where the scenario is.
///
/// Each source has dice of its own, so that another line in the file does not change what the
/// others do.
#[derive(Debug)]
pub struct Timeline {
    lasts: Duration,
    at: std::iter::Peekable<std::vec::IntoIter<(Duration, Action)>>,
    every: Vec<Beat>,
    traffic: Option<Flow>,
}

#[derive(Debug)]
struct Beat {
    every: Every,
    dice: Dice,
    turn: u32,
    due: Duration,
}

#[derive(Debug)]
struct Flow {
    traffic: Traffic,
    apps: Vec<AppId>,
    dice: Dice,
    sent: u64,
}

impl Timeline {
    /// The steps of a scenario for these bots.
    #[must_use]
    pub fn new(scenario: &Scenario, apps: &[AppId], dice: &Dice) -> Self {
        let mut at: Vec<_> = scenario.at.iter().map(|at| (at.after, at.action.clone())).collect();
        at.sort_by_key(|(after, _)| *after);
        let every = scenario.every.iter().map(|every| Beat::new(every.clone(), dice));
        let every = every.collect();
        let traffic = scenario.traffic.clone().filter(|_| !apps.is_empty()).map(|traffic| Flow {
            traffic,
            apps: apps.to_vec(),
            dice: dice.fork("traffic"),
            sent: 0,
        });
        let lasts = scenario.lasts.unwrap_or(Duration::MAX);
        Self { lasts, at: at.into_iter().peekable(), every, traffic }
    }
}

impl Iterator for Timeline {
    type Item = (Duration, Step);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at.peek().map(|(due, _)| *due);
            let beat = self.every.iter().enumerate().min_by_key(|(_, beat)| beat.due);
            let beat = beat.map(|(place, beat)| (beat.due, place));
            let event = self.traffic.as_ref().map(Flow::due);
            let due = [at, beat.map(|(due, _)| due), event].into_iter().flatten().min()?;
            if due >= self.lasts {
                return None;
            }
            if at == Some(due) {
                return self.at.next().map(|(due, action)| (due, Step::Action(action)));
            }
            if let Some((_, place)) = beat.filter(|(when, _)| *when == due) {
                if let Some(action) = self.every[place].take() {
                    return Some((due, Step::Action(action)));
                }
                continue;
            }
            return self.traffic.as_mut()?.take().map(|step| (due, step));
        }
    }
}

impl Beat {
    fn new(every: Every, dice: &Dice) -> Self {
        let mut beat = Self { every, dice: dice.fork("every"), turn: 0, due: Duration::ZERO };
        beat.advance();
        beat
    }

    /// The action of this turn, unless chance is against it.
    fn take(&mut self) -> Option<Action> {
        let happens = self.dice.chance(self.every.probability);
        self.advance();
        happens.then(|| self.every.action.clone())
    }

    fn advance(&mut self) {
        self.turn = self.turn.saturating_add(1);
        let jitter = u64::try_from(self.every.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(self.dice.below(jitter));
        self.due = self.every.period.saturating_mul(self.turn).saturating_add(jitter);
    }
}

impl Flow {
    fn due(&self) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a count of events")]
        let seconds = (self.sent + 1) as f64 / self.traffic.events_per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn take(&mut self) -> Option<Step> {
        let (app, event) = self.traffic.event(&self.apps, self.sent, &self.dice)?;
        self.sent += 1;
        let again = self.dice.chance(self.traffic.again);
        Some(Step::Event { app, event, again })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        lasts = "10s"
        [traffic]
        events_per_second = 100.0
        again = 0.1
        [[every]]
        period = "1s"
        jitter = "200ms"
        probability = 0.5
        action = { reconnect = {} }
        [[every]]
        period = "3s"
        action = { cut = {} }
        [[at]]
        after = "5s"
        action = "disarm"
        [[at]]
        after = "2s"
        action = { advance = { by = "1h" } }
    "#;

    fn steps(text: &str, seed: u64) -> Vec<(Duration, Step)> {
        let apps = [AppId::from("1"), AppId::from("2")];
        Timeline::new(&text.parse().unwrap(), &apps, &Dice::new(seed)).collect()
    }

    fn actions(steps: &[(Duration, Step)]) -> Vec<&Action> {
        steps
            .iter()
            .filter_map(|(_, step)| match step {
                Step::Action(action) => Some(action),
                Step::Event { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_seed_repeats_a_scenario_and_another_does_not() {
        assert_eq!(steps(TEXT, 7), steps(TEXT, 7));
        assert_ne!(steps(TEXT, 7), steps(TEXT, 8));
    }

    #[test]
    fn steps_come_in_order_and_end_with_the_scenario() {
        let steps = steps(TEXT, 7);
        assert!(steps.is_sorted_by_key(|(due, _)| *due));
        assert!(steps.iter().all(|(due, _)| *due < Duration::from_secs(10)));
        let events = steps.iter().filter(|(_, step)| matches!(step, Step::Event { .. })).count();
        assert_eq!(events, 999);
        let cuts = actions(&steps).iter().filter(|a| matches!(a, Action::Cut { .. })).count();
        assert_eq!(cuts, 3);
    }

    #[test]
    fn what_is_likely_happens_about_so_often() {
        let text = TEXT.replace("10s", "1000s");
        let steps = steps(&text, 7);
        let reconnects = |a: &&&Action| matches!(a, Action::Reconnect { .. });
        let count = actions(&steps).iter().filter(reconnects).count();
        assert!((430..570).contains(&count), "{count}");
        let again = |(_, step): &&(Duration, Step)| matches!(step, Step::Event { again: true, .. });
        let count = steps.iter().filter(again).count();
        assert!((9_300..10_700).contains(&count), "{count}");
    }
}
