//! What people say to three bots at a rate, while the platform ends a connection each second; and
//! what that must come to, whatever else happens to the relay.

use std::time::Duration;

use anyhow::ensure;
use qqrelay_simulator::{Action, Injection, Target};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::{Bot, Cluster, Servers, Setup};
use crate::invariants::Tally;

const BOTS: [(&str, u16); 3] = [("102000001", 4), ("102000002", 3), ("102000003", 1)];

/// The shards of all bots.
pub const SHARDS: u16 = 8;

/// How many turns a second has. Each gives its part of the events.
const TURNS: u32 = 100;
/// One event in so many is pushed again, some events later.
const AGAIN_EACH: u32 = 500;
/// Places of each scene and bot: so many that what waits behind a killed relay in one of them is
/// answered within the rates of that place.
const PLACES: u32 = 64;

/// Conversations in which the platform would not notice a second send, each with one on its way at
/// the most.
const IN_FLIGHT: usize = BOTS.len() * 2 * PLACES as usize;

/// What is said.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// How many events.
    pub events: u32,
    /// Events a second, a multiple of 100.
    pub rate: u32,
    /// One event in so many is something that somebody says. The others ask for no answer: the
    /// platform's rates, which hold here, would not let a bot answer all of them.
    pub said_each: u32,
}

/// What has been pushed in a course.
#[derive(Debug, Default)]
pub struct Pushed {
    said: usize,
    again: usize,
}

/// How much longer than in CI a run is, by `QQRELAY_LONG`.
#[must_use]
pub fn length() -> u32 {
    let asked = std::env::var("QQRELAY_LONG").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(1)
}

/// The three bots and a platform that forgets nothing too early.
#[must_use]
pub fn setup(servers: Option<Servers>, env: Vec<(&'static str, String)>) -> Setup {
    let bots = BOTS.iter().map(|(app, shards)| Bot::new(app, *shards)).collect();
    let mut setup = Setup { env, servers, ..Setup::echo(bots) };
    setup.platform.seed = 7;
    // The platform's own depth is unknown. This one outlasts a machine that does other things, too.
    setup.platform.replay.frames = 20_000;
    setup.platform.journal.memory = usize::MAX;
    setup
}

impl Course {
    /// Pushes everything at its rate; each second the platform ends a connection. Before each event
    /// something may happen to the cluster.
    ///
    /// # Errors
    ///
    /// The platform does not take an event, or what happens fails.
    pub async fn run(
        &self,
        cluster: &mut Cluster,
        mut happens: impl AsyncFnMut(&mut Cluster, u32) -> anyhow::Result<()>,
    ) -> anyhow::Result<Pushed> {
        let mut pushed = Pushed::default();
        let mut pace = interval(Duration::from_secs(1) / TURNS);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut recent = None;
        for number in 0..self.events {
            if number % (self.rate / TURNS) == 0 {
                pace.tick().await;
            }
            if number % self.rate == self.rate / 2 {
                trouble(cluster, number / self.rate)?;
            }
            happens(cluster, number).await?;
            let (app, _) = BOTS[number as usize % BOTS.len()];
            let event = self.event(number);
            pushed.said += usize::from(number % self.said_each == 0);
            let placed = cluster.platform.inject(app, &event)?;
            ensure!(placed.placed.len() == 1, "{event:?} goes to one shard");
            if number % AGAIN_EACH == 0 {
                recent = Some(placed.injection);
            } else if number % AGAIN_EACH == AGAIN_EACH / 2
                && let Some(injection) = recent.take()
            {
                cluster.platform.perform(&Action::PushAgain { injection })?;
                pushed.again += 1;
            }
        }
        Ok(pushed)
    }

    /// Lets the cluster come to its end, and judges it.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub async fn judge(&self, cluster: Cluster, pushed: &Pushed) -> anyhow::Result<Tally> {
        let tally = cluster.finish().await?.tally;
        println!("{tally:?}");
        // A kill can hide the fate of what is on its way at that moment, and of nothing else.
        let Pushed { said, again } = *pushed;
        ensure!(tally.events == self.events as usize, "events: {tally:?}");
        ensure!(
            tally.replies <= said && said <= tally.replies + tally.ambiguous,
            "{said}: {tally:?}"
        );
        ensure!(tally.ambiguous <= 3 * IN_FLIGHT, "ambiguous: {tally:?}");
        ensure!((tally.duplicates, tally.gaps) == (again, 0), "{again}: {tally:?}");
        Ok(tally)
    }

    fn event(&self, number: u32) -> Injection {
        // Each bot meets each kind of event once in a round, and each round has another place.
        let round = 3 * 4 * self.said_each;
        let place = (number / round) % PLACES;
        // Shards take turns with bit 22 of the guild's id.
        let guild = (u64::from(place + 1) << 22).to_string();
        let channel = (1_000_000 + place).to_string();
        let (user, text) = (format!("user-{place}"), format!("hello {number}"));
        match (number.is_multiple_of(self.said_each), (number / self.said_each) % 4) {
            (true, 0) => Injection::c2c(&user, &text),
            (true, 1) => Injection::group_at(&format!("group-{place}"), &user, &text),
            (true, 2) => Injection::at(&guild, &channel, &user, &text),
            (true, _) => Injection::direct(&guild, &user, &text),
            (false, 0) => {
                let group = format!("group-{place}");
                Injection::group_message(&group, &user, &text)
                    .with(json!({"author": {"bot": true}}))
            }
            (false, 1) => Injection::of("GUILD_MEMBER_UPDATE").with(json!({"guild_id": guild})),
            (false, 2) => Injection::of("CHANNEL_UPDATE").with(json!({"guild_id": guild})),
            (false, _) => {
                let said = Injection::at(&guild, &channel, &user, &text);
                said.with(json!({"author": {"bot": true}}))
            }
        }
    }
}

/// Op 7 to one of the shards; now and then the close alone, or a connection that is cut.
fn trouble(cluster: &Cluster, second: u32) -> anyhow::Result<()> {
    let shards =
        BOTS.iter().flat_map(|(app, count)| (0..*count).map(move |shard| (app, shard, count)));
    let (app, index, count) = shards.cycle().nth(second as usize).expect("it never ends");
    let target = Target::shard(*app, u32::from(index), u32::from(*count));
    let action = match second % 7 {
        3 => Action::Close { target, code: Some(4009), reason: String::new() },
        5 => Action::Cut { target },
        _ => Action::Reconnect { target, code: 4009, after: None },
    };
    // While the relay is down there is nobody to be troubled.
    cluster.platform.perform(&action)?;
    Ok(())
}
