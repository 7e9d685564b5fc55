//! Faults of processes, servers and the ways between them, drawn from a seed, under a course of
//! events. What is left is judged like every run: no frame lost, twice or out of order, each reply
//! once, no session begun anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_simulator::dice::Dice;
use redis::Value;
use tokio::time::Instant;

use crate::cluster::{Cluster, Servers, Setup};
use crate::course::{self, Course};
use crate::invariants::Tally;
use crate::process::Relay;
use crate::servers::proxy::{Proxy, Way};

/// Events a second: what three gateways, two workers, their servers and the platform carry on two
/// cores, with room to catch up.
const RATE: u32 = 300;

/// Faults that go on at the same time at the most. There is always a gateway that is well.
const AT_ONCE: usize = 2;

/// The shortest and the longest time from one fault to the next, in ms.
const PAUSE_MS: (u64, u64) = (500, 3_000);

/// A run.
#[derive(Debug, Clone, Copy)]
pub struct Chaos {
    /// What decides which faults come, when, and for how long.
    pub seed: u64,
    /// How long events and faults come.
    pub lasts: Duration,
    /// One nats-server, or three.
    pub replicas: u8,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How often each fault came.
    pub faults: BTreeMap<Fault, usize>,
    /// What the run came to.
    pub tally: Tally,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Fault {
    GatewayKilled,
    GatewayStopped,
    GatewayAsleep,
    WorkerKilled,
    WorkerAsleep,
    NatsKilled,
    NatsAsleep,
    RedisEmptied,
    RedisKilled,
    RedisAsleep,
    WayCut,
    WayHeld,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::GatewayKilled,
        Self::GatewayStopped,
        Self::GatewayAsleep,
        Self::WorkerKilled,
        Self::WorkerAsleep,
        Self::NatsKilled,
        Self::NatsAsleep,
        Self::RedisEmptied,
        Self::RedisKilled,
        Self::RedisAsleep,
        Self::WayCut,
        Self::WayHeld,
    ];

    /// The longest that it goes on, in ms.
    const fn longest(self) -> u64 {
        match self {
            Self::GatewayAsleep => 10_000,
            Self::NatsKilled | Self::NatsAsleep => 4_000,
            Self::RedisEmptied | Self::WayCut => 1,
            _ => 6_000,
        }
    }
}

/// What has to be done for a fault to be over.
enum Remedy {
    StartGateway,
    StartWorker,
    WakeGateway(Relay),
    WakeWorker(Relay),
    RestartNats(usize),
    WakeNats(usize),
    RestartRedis,
    WakeRedis,
    Release(Arc<Proxy>, Vec<Way>),
}

impl Remedy {
    /// Whether a process starts by it, which needs servers that are well.
    const fn needs_servers(&self) -> bool {
        matches!(self, Self::StartGateway | Self::StartWorker)
    }

    /// Whether a server is not well before it.
    const fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::RestartNats(_) | Self::WakeNats(_) | Self::RestartRedis | Self::WakeRedis
        )
    }
}

impl Chaos {
    /// Runs it to its end and judges it.
    ///
    /// # Errors
    ///
    /// A promise was broken; which, and what the relay said, is in the error.
    pub async fn run(&self) -> anyhow::Result<Outcome> {
        let servers = Servers::start(self.replicas).await?;
        let setup = Setup { edges: true, ..course::setup(Some(servers), Vec::new()) };
        let mut cluster = Cluster::up(setup).await?;
        for _ in 0..2 {
            cluster.start().await?;
        }
        cluster.start_worker().await?;
        cluster.shared().await?;
        let seconds = u32::try_from(self.lasts.as_secs())?;
        let course = Course { events: RATE * seconds, rate: RATE, said_each: 4 };
        let mut nemesis = Nemesis::new(self.seed);
        let pushed =
            course.run(&mut cluster, async |cluster, _| nemesis.turn(cluster).await).await?;
        nemesis.end(&mut cluster).await?;
        let tally = course.judge(cluster, &pushed).await?;
        Ok(Outcome { faults: nemesis.faults, tally })
    }
}

/// Who brings faults about, and makes good for them.
struct Nemesis {
    dice: Dice,
    began: Instant,
    next: Instant,
    ongoing: Vec<(Instant, Remedy)>,
    faults: BTreeMap<Fault, usize>,
}

impl Nemesis {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let (ongoing, faults) = (Vec::new(), BTreeMap::new());
        Self { dice: Dice::new(seed), began: now, next: now, ongoing, faults }
    }

    fn between(&self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.dice.below(most - least + 1))
    }

    async fn turn(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let now = Instant::now();
        self.remedy(cluster, now).await?;
        if now < self.next || self.ongoing.len() >= AT_ONCE {
            return Ok(());
        }
        self.next = now + self.between(PAUSE_MS);
        let fault = Fault::ALL[self.dice.below(Fault::ALL.len() as u64) as usize];
        let lasts = self.between((200, 200 + fault.longest()));
        let began = Instant::now();
        let Some(remedy) = self.bring(fault, cluster).await? else { return Ok(()) };
        *self.faults.entry(fault).or_default() += 1;
        eprintln!("{:>6.1} s: {fault:?} for {lasts:?}", (began - self.began).as_secs_f64());
        self.ongoing.extend(remedy.map(|remedy| (Instant::now() + lasts, remedy)));
        Ok(())
    }

    /// Makes good for everything.
    async fn end(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let last = self.ongoing.iter().map(|(until, _)| *until).max();
        while !self.ongoing.is_empty() {
            self.remedy(cluster, last.unwrap_or_else(Instant::now)).await?;
        }
        Ok(())
    }

    async fn remedy(&mut self, cluster: &mut Cluster, now: Instant) -> anyhow::Result<()> {
        let are_well = self.are_servers_well();
        let is_due = |(until, remedy): &mut (Instant, Remedy)| {
            *until <= now && (are_well || !remedy.needs_servers())
        };
        let due: Vec<_> = self.ongoing.extract_if(.., is_due).collect();
        for (_, remedy) in due {
            apply(remedy, cluster).await?;
        }
        Ok(())
    }

    fn are_servers_well(&self) -> bool {
        !self.ongoing.iter().any(|(_, remedy)| remedy.is_of_server())
    }

    /// Brings a fault about. Outer `None`: it does not fit now; inner: it is over already.
    async fn bring(
        &self,
        fault: Fault,
        cluster: &mut Cluster,
    ) -> anyhow::Result<Option<Option<Remedy>>> {
        let several_work = cluster.workers().len() > 1;
        let servers_well = self.are_servers_well();
        let remedy = match fault {
            Fault::GatewayKilled => {
                cluster.kill()?;
                Remedy::StartGateway
            }
            Fault::GatewayStopped if servers_well => {
                cluster.terminate_gateway().await?;
                Remedy::StartGateway
            }
            Fault::GatewayAsleep => Remedy::WakeGateway(cluster.put_to_sleep()?),
            Fault::WorkerKilled if several_work => {
                cluster.kill_worker()?;
                Remedy::StartWorker
            }
            Fault::WorkerAsleep if several_work => {
                Remedy::WakeWorker(cluster.put_worker_to_sleep()?)
            }
            Fault::GatewayStopped | Fault::WorkerKilled | Fault::WorkerAsleep => return Ok(None),
            Fault::NatsKilled | Fault::NatsAsleep if !servers_well => return Ok(None),
            Fault::RedisKilled | Fault::RedisAsleep if !servers_well => return Ok(None),
            Fault::NatsKilled | Fault::NatsAsleep => {
                let servers = &mut servers(cluster)?.nats.servers;
                let index = self.dice.below(servers.len() as u64) as usize;
                if fault == Fault::NatsKilled {
                    servers[index].kill();
                    Remedy::RestartNats(index)
                } else {
                    servers[index].stand_still()?;
                    Remedy::WakeNats(index)
                }
            }
            Fault::RedisEmptied => {
                if servers_well {
                    servers(cluster)?.redis.command::<Value>(&["FLUSHALL"])?;
                }
                return Ok(servers_well.then_some(None));
            }
            Fault::RedisKilled => {
                servers(cluster)?.redis.kill();
                Remedy::RestartRedis
            }
            Fault::RedisAsleep => {
                servers(cluster)?.redis.stand_still()?;
                Remedy::WakeRedis
            }
            Fault::WayCut => {
                self.way(cluster).cut();
                return Ok(Some(None));
            }
            Fault::WayHeld => {
                let proxy = self.way(cluster);
                let ways: Vec<_> = match self.dice.below(3) {
                    0 => vec![Way::ToServer],
                    1 => vec![Way::ToClient],
                    _ => vec![Way::ToServer, Way::ToClient],
                };
                ways.iter().for_each(|way| proxy.hold(*way));
                Remedy::Release(proxy, ways)
            }
        };
        Ok(Some(Some(remedy)))
    }

    /// A way of one of the processes to one of its servers.
    fn way(&self, cluster: &Cluster) -> Arc<Proxy> {
        let all = cluster.gateways().iter().chain(cluster.workers());
        let mut ways: Vec<_> = all
            .flat_map(|process| process.edges.nats.iter().chain(&process.edges.redis))
            .cloned()
            .collect();
        ways.swap_remove(self.dice.below(ways.len() as u64) as usize)
    }
}

fn servers(cluster: &mut Cluster) -> anyhow::Result<&mut Servers> {
    cluster.servers.as_mut().ok_or_else(|| anyhow::anyhow!("chaos needs servers"))
}

async fn apply(remedy: Remedy, cluster: &mut Cluster) -> anyhow::Result<()> {
    match remedy {
        Remedy::StartGateway => cluster.start().await,
        Remedy::StartWorker => cluster.start_worker().await,
        Remedy::WakeGateway(gateway) => cluster.wake(gateway),
        Remedy::WakeWorker(worker) => cluster.wake_worker(worker),
        Remedy::RestartNats(index) => servers(cluster)?.nats.servers[index].restart().await,
        Remedy::WakeNats(index) => servers(cluster)?.nats.servers[index].go_on(),
        Remedy::RestartRedis => servers(cluster)?.redis.restart().await,
        Remedy::WakeRedis => servers(cluster)?.redis.go_on(),
        Remedy::Release(proxy, ways) => {
            // What was held back that long comes late, or is lost with its connection.
            ways.iter().for_each(|way| proxy.release(*way));
            Ok(())
        }
    }
}
