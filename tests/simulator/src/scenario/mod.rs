//! A script of what happens on the platform: events at a rate, faults at times and by chance.
//!
//! What happens when is a function of the file and its seed. Where a client stands at that moment is
//! the client's affair.

mod timeline;
mod traffic;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::id::AppId;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

pub use self::timeline::{Step, Timeline};
pub use self::traffic::{Mix, Traffic};
use crate::control::{Action, ActionError};
use crate::dice::Dice;
use crate::platform::Platform;
use crate::span;

/// A scenario file.
///
/// ```
/// let scenario: qqrelay_simulator::scenario::Scenario = toml::from_str(r#"
///     lasts = "60s"
///     sessions = 8            # begins when so many sessions are live
///
///     [traffic]
///     events_per_second = 500
///     again = 0.001           # this share of events is pushed a second time
///
///     [[every]]
///     period = "1s"
///     jitter = "200ms"
///     action = { reconnect = {} }
///
///     [[at]]
///     after = "30s"
///     action = { close = { target = { app = "102000001" }, code = 4009 } }
/// "#).unwrap();
/// assert_eq!(scenario.every.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Repeats a run; the platform's own seed where nothing is said.
    pub seed: Option<u64>,
    /// When it ends, counted from its beginning; never where nothing is said.
    #[serde(with = "span::maybe")]
    pub lasts: Option<Duration>,
    /// How many sessions must be live before it begins.
    pub sessions: usize,
    /// Events at a rate.
    pub traffic: Option<Traffic>,
    /// What happens once.
    pub at: Vec<At>,
    /// What happens again and again.
    pub every: Vec<Every>,
}

/// Something that happens once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// When, counted from the beginning.
    #[serde(with = "span")]
    pub after: Duration,
    /// What.
    pub action: Action,
}

/// Something that happens again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// The time from one turn to the next; the first turn comes after one period.
    #[serde(with = "span")]
    pub period: Duration,
    /// Each turn comes up to so much later, by chance.
    #[serde(default, with = "span")]
    pub jitter: Duration,
    /// How likely something happens at a turn.
    #[serde(default = "certain")]
    pub probability: f64,
    /// What.
    pub action: Action,
}

const fn certain() -> f64 {
    1.0
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario")]
    Unreadable(#[source] std::io::Error),
    /// The file is not a scenario.
    #[error("the scenario is wrong")]
    Wrong(#[source] Box<toml::de::Error>),
    /// Something would happen without end at one moment.
    #[error("a period of a scenario must be longer than nothing")]
    NoPeriod,
    /// A rate is not a number above zero, or all weights of its mix are zero.
    #[error("the traffic of a scenario needs a rate and a mix above zero")]
    NoTraffic,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or what it says cannot be run.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        std::fs::read_to_string(path).map_err(ScenarioError::Unreadable)?.parse()
    }

    fn check(self) -> Result<Self, ScenarioError> {
        if self.every.iter().any(|every| every.period.is_zero()) {
            return Err(ScenarioError::NoPeriod);
        }
        if self.traffic.as_ref().is_some_and(|traffic| !traffic.is_some()) {
            return Err(ScenarioError::NoTraffic);
        }
        Ok(self)
    }
}

impl std::str::FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let read: Result<Self, _> = toml::from_str(text);
        read.map_err(|error| ScenarioError::Wrong(Box::new(error)))?.check()
    }
}

/// How often to look whether enough sessions are live.
const LOOK: Duration = Duration::from_millis(10);

/// Runs a scenario to its end, or until the platform stops.
pub(crate) async fn run(platform: Arc<Platform>, scenario: Scenario) {
    let played = platform.stop.clone();
    let played = played.run_until_cancelled(play(&platform, scenario)).await;
    if let Some(Err(error)) = played {
        tracing::error!(%error, "the scenario ended early");
    }
    platform.scenario_ended.cancel();
}

async fn play(platform: &Arc<Platform>, scenario: Scenario) -> Result<(), ActionError> {
    while platform.live_sessions() < scenario.sessions {
        tokio::time::sleep(LOOK).await;
    }
    let dice = Dice::new(scenario.seed.unwrap_or(platform.config.seed)).fork("scenario");
    let apps: Vec<AppId> = platform.apps().map(|app| app.id.clone()).collect();
    let begun = Instant::now();
    for (after, step) in Timeline::new(&scenario, &apps, &dice) {
        sleep_until(begun + after).await;
        match step {
            Step::Action(action) => drop(platform.perform(&action)?),
            Step::Event { app, event, again } => {
                let Some(app) = platform.app(app.as_str()) else {
                    return Err(ActionError::UnknownApp(app));
                };
                let pushed = platform.inject(app, &event);
                if again {
                    platform.push_again(pushed.injection);
                }
            }
        }
    }
    if let Some(lasts) = scenario.lasts {
        sleep_until(begun + lasts).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn a_scenario_that_cannot_be_run_is_refused_with_a_sentence() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Scenario>().unwrap_err();
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            assert!(format!("{error}: {source}").contains(expected), "{error}: {source}");
        };
        check("[[every]]\nperiod = \"0s\"\naction = \"disarm\"", "longer than nothing");
        check("[traffic]\nevents_per_second = 0.0", "above zero");
        let nothing = "{ group_at = 0, c2c = 0, at = 0, direct = 0, member = 0, button = 0 }";
        check(&format!("[traffic]\nmix = {nothing}"), "above zero");
        check("laps = \"1s\"", "unknown field `laps`");
        check("[[at]]\nafter = \"1s\"\naction = { fly = {} }", "unknown variant `fly`");
    }

    #[test]
    fn every_action_can_be_written_in_toml() {
        let text = r#"
            [[at]]
            after = "1s"
            action = "disarm"
            [[at]]
            after = "2s"
            action.arm.rest = { fault = { kind = "slow", ms = 50 }, probability = 0.1 }
            [[at]]
            after = "3s"
            action.inject = { app = "1", event = { t = "X", d = { a = 1 } } }
            [[at]]
            after = "4s"
            action.arm.socket = { fault = { refuse_resume = { close = 4902 } }, times = { next = 3 } }
        "#;
        assert_eq!(text.parse::<Scenario>().unwrap().at.len(), 4);
    }
}
