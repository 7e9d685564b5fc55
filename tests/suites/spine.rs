//! The whole way under fire: events at a rate, forced reconnects, and a relay that is killed; on a
//! file, and on servers that are killed as well.

use std::time::Duration;

use qqrelay_simulator::{Action, Config as PlatformConfig, Injection, Target};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::invariants::{Answers, Expected, Tally};
use qqrelay_tests::wait::eventually;
use redis::Value;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

const BOTS: [(&str, u16); 3] = [("102000001", 4), ("102000002", 3), ("102000003", 1)];
const SHARDS: u16 = 8;

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

/// What happens to a relay.
#[derive(Clone, Copy)]
struct Course {
    events: u32,
    /// Events a second, a multiple of [`TURNS`].
    rate: u32,
    /// One event in so many is something that somebody says. The others ask for no answer: the
    /// platform's rates, which hold here, would not let a bot answer all of them.
    said_each: u32,
}

/// What has been pushed in a course.
#[derive(Debug, Default)]
struct Pushed {
    said: usize,
    again: usize,
}

/// How much longer than in CI the run is, by `QQRELAY_LONG`.
fn length() -> u32 {
    let asked = std::env::var("QQRELAY_LONG").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(1)
}

async fn cluster(servers: Option<Servers>, env: Vec<(&'static str, String)>) -> Cluster {
    let mut platform = PlatformConfig { seed: 7, ..PlatformConfig::default() };
    platform.gateway.max_concurrency = u32::from(SHARDS);
    // The platform's own depth is unknown. This one outlasts a machine that does other things, too.
    platform.replay.frames = 20_000;
    platform.journal.memory = usize::MAX;
    let setup = Setup {
        bots: BOTS.iter().map(|(app, shards)| Bot::new(app, *shards)).collect(),
        platform,
        env,
        expected: Expected {
            identifies: Some(usize::from(SHARDS)),
            answers: Answers::Echo,
            ..Expected::default()
        },
        servers,
    };
    Cluster::new(setup).await.expect("a platform")
}

fn two_partitions() -> Vec<(&'static str, String)> {
    vec![("QQRELAY_LOG__PARTITIONS", "2".to_owned())]
}

/// A gateway with every session and a worker, on servers of their own.
async fn apart(replicas: u8, env: Vec<(&'static str, String)>) -> Cluster {
    let servers = Servers::start(replicas).await.expect("servers");
    let mut cluster = cluster(Some(servers), env).await;
    cluster.start().await.expect("a gateway");
    cluster.start_worker().await.expect("a worker");
    cluster.live().await.expect("every session");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_events_are_stored_and_answered_once_whatever_is_killed() {
    let mut cluster = cluster(None, two_partitions()).await;
    cluster.start().await.expect("a relay");
    cluster.live().await.expect("every session");
    let course = Course { events: 50_000 * length(), rate: 600, said_each: 4 };
    let pushed = course
        .run(&mut cluster, async |cluster, _| {
            cluster.kill().expect("a relay to kill");
            cluster.start().await.expect("a relay");
        })
        .await;
    let tally = course.judge(cluster, &pushed).await;
    // Three kills and one start, two partitions; a reconnect each second, mostly of one shard.
    assert!(tally.takeovers >= 8 && tally.resumes >= 50, "{tally:?}");
}

/// Gateway, worker, NATS and Redis as processes of their own, each of which fails once.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_events_on_servers_whatever_is_killed() {
    let mut cluster = apart(1, Vec::new()).await;
    let course = Course { events: 100_000 * length(), rate: 1_200, said_each: 8 };
    let pushed = course.run(&mut cluster, fail_one_after_the_other).await;
    eventually("every source's resume point is copied", async || {
        let servers = cluster.servers.as_ref()?;
        let copies: Vec<String> = servers.redis.command(&["KEYS", "qq:resume:*"]).ok()?;
        (copies.len() == usize::from(SHARDS)).then_some(())
    })
    .await
    .expect("copies for people");
    let tally = course.judge(cluster, &pushed).await;
    // Eight partitions, taken once more after the gateway's kill; a reconnect each second.
    assert!(tally.takeovers >= 16 && tally.resumes >= 50, "{tally:?}");
}

async fn fail_one_after_the_other(cluster: &mut Cluster, quarter: u32) {
    match quarter {
        1 => {
            let servers = cluster.servers.as_mut().expect("there are servers");
            servers.nats.servers[0].restart().await.expect("NATS starts again");
        }
        2 => {
            cluster.kill().expect("a gateway to kill");
            cluster.start().await.expect("a gateway");
        }
        _ => {
            let servers = cluster.servers.as_mut().expect("there are servers");
            servers.redis.command::<Value>(&["FLUSHALL"]).expect("Redis forgets everything");
            cluster.kill_worker().expect("a worker to kill");
            cluster.start_worker().await.expect("a worker");
        }
    }
}

/// On three servers, of which one after the other is killed.
#[tokio::test(flavor = "multi_thread")]
async fn events_on_three_replicas_outlive_their_leaders() {
    let mut cluster = apart(3, two_partitions()).await;
    let course = Course { events: 15_000 * length(), rate: 500, said_each: 8 };
    let pushed = course
        .run(&mut cluster, async |cluster, quarter| {
            let servers = cluster.servers.as_mut().expect("there are servers");
            let server = &mut servers.nats.servers[quarter as usize - 1];
            server.restart().await.expect("it starts again");
        })
        .await;
    course.judge(cluster, &pushed).await;
}

/// One worker becomes four; the first, which has every lane, is killed; two of the others are asked to
/// end. Order per place and one reply each are what the judge looks at.
#[tokio::test(flavor = "multi_thread")]
async fn workers_come_and_go_under_load() {
    let mut cluster = apart(1, two_partitions()).await;
    let course = Course { events: 15_000 * length(), rate: 500, said_each: 4 };
    let pushed = course
        .run(&mut cluster, async |cluster, quarter| match quarter {
            1 => {
                for _ in 0..3 {
                    cluster.start_worker().await.expect("one more worker");
                }
            }
            2 => cluster.kill_worker().expect("a worker to kill"),
            _ => {
                for _ in 0..2 {
                    cluster.terminate_worker().await.expect("a worker to end");
                }
            }
        })
        .await;
    course.judge(cluster, &pushed).await;
}

/// One gateway becomes three; the first, which had every session, is killed; the others are replaced
/// one after the other, as a rolling restart does. No session is begun anew.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_come_and_go_under_load() {
    let mut cluster = apart(1, Vec::new()).await;
    let course = Course { events: 15_000 * length(), rate: 500, said_each: 8 };
    let pushed = course
        .run(&mut cluster, async |cluster, quarter| match quarter {
            1 => {
                for _ in 0..2 {
                    cluster.start().await.expect("one more gateway");
                }
            }
            2 => cluster.kill().expect("a gateway to kill"),
            _ => {
                for _ in 0..2 {
                    cluster.start().await.expect("one more gateway");
                    cluster.terminate_gateway().await.expect("a gateway to end");
                }
            }
        })
        .await;
    course.judge(cluster, &pushed).await;
}

impl Course {
    /// Pushes everything at its rate. At each quarter something `fails`; each second the platform
    /// ends a connection.
    async fn run(
        &self,
        cluster: &mut Cluster,
        mut fail: impl AsyncFnMut(&mut Cluster, u32),
    ) -> Pushed {
        let mut pushed = Pushed::default();
        let mut pace = interval(Duration::from_secs(1) / TURNS);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut recent = None;
        let quarter = self.events / 4;
        for number in 0..self.events {
            if number % (self.rate / TURNS) == 0 {
                pace.tick().await;
            }
            if number % self.rate == self.rate / 2 {
                trouble(cluster, number / self.rate);
            }
            if number % quarter == 0 && number > 0 {
                fail(cluster, number / quarter).await;
            }
            let (app, _) = BOTS[number as usize % BOTS.len()];
            let event = self.event(number);
            pushed.said += usize::from(number % self.said_each == 0);
            let placed = cluster.platform.inject(app, &event).expect("the bot exists");
            assert_eq!(placed.placed.len(), 1, "{event:?} goes to one shard");
            if number % AGAIN_EACH == 0 {
                recent = Some(placed.injection);
            } else if number % AGAIN_EACH == AGAIN_EACH / 2
                && let Some(injection) = recent.take()
            {
                let again = Action::PushAgain { injection };
                cluster.platform.perform(&again).expect("it is remembered");
                pushed.again += 1;
            }
        }
        pushed
    }

    /// Lets the cluster come to its end, and judges it.
    async fn judge(&self, cluster: Cluster, pushed: &Pushed) -> Tally {
        let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
        let tally = report.tally;
        println!("{tally:?}");
        assert_eq!(tally.events, self.events as usize, "{tally:?}");
        // A kill can hide the fate of what is on its way at that moment, and of nothing else.
        let Pushed { said, again } = *pushed;
        assert!(tally.replies <= said && said <= tally.replies + tally.ambiguous, "{tally:?}");
        assert!(tally.ambiguous <= 3 * IN_FLIGHT, "{tally:?}");
        assert_eq!((tally.duplicates, tally.gaps), (again, 0), "{tally:?}");
        tally
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
fn trouble(cluster: &Cluster, second: u32) {
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
    cluster.platform.perform(&action).expect("the platform knows how");
}
