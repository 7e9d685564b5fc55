//! What happens in the demo: people write, and now and then the platform ends its connections.

use std::time::Duration;

use anyhow::Context;
use qqrelay_proto::id::AppId;
use qqrelay_simulator::{Action, Injection, Simulator, Target};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Demo;
use crate::exit::Failure;

/// Something that was said, and must be stored and answered once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The platform's number for it.
    pub(super) injection: u64,
    /// Its text, which no other has.
    pub(super) text: String,
}

/// Says everything, at the asked rate.
pub(super) async fn run(
    platform: &Simulator,
    app: &AppId,
    args: &Demo,
) -> Result<Vec<Said>, Failure> {
    let mut pace = interval(Duration::from_secs(1) / args.rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut said = Vec::with_capacity(args.events as usize);
    for number in 0..args.events {
        pace.tick().await;
        if let Some(trouble) = trouble(number, args.events) {
            platform.perform(&trouble).context("the platform's own trouble")?;
        }
        let text = format!("hello {number}");
        let pushed =
            platform.inject(app.as_str(), &injection(number, &text)).context("an event")?;
        said.push(Said { injection: pushed.injection, text });
    }
    Ok(said)
}

/// Four scenes by turns, each with several places, so that no place is written to faster than the
/// platform lets a bot answer.
fn injection(number: u32, text: &str) -> Injection {
    let place = (number / 4) % 16;
    match number % 4 {
        0 => Injection::c2c(&format!("user-{place}"), text),
        1 => Injection::group_at(&format!("group-{place}"), &format!("member-{place}"), text),
        2 => Injection::at(&guild(place), &(1_700_000 + place).to_string(), "1001", text),
        _ => Injection::direct(&guild(100 + place), "1001", text),
    }
}

/// Guild ids are numbers, and their upper bits decide on the shard.
fn guild(number: u32) -> String {
    (u64::from(number + 1) << 22).to_string()
}

/// Three times in a demo every connection is ended, each time in another way.
fn trouble(number: u32, of: u32) -> Option<Action> {
    let target = Target::default();
    let quarter = (of / 4).max(1);
    if number == 0 || !number.is_multiple_of(quarter) {
        return None;
    }
    match number / quarter {
        1 => Some(Action::Reconnect { target, code: 4009, after: None }),
        2 => Some(Action::Close { target, code: Some(4009), reason: String::new() }),
        3 => Some(Action::Cut { target }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_has_three_troubles_whatever_its_length() {
        let troubles = |of| (0..of).filter(|&number| trouble(number, of).is_some()).count();
        assert_eq!([4, 100, 1000, 1003].map(troubles), [3, 3, 3, 3]);
    }
}
