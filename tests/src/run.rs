//! What a run leaves behind: the platform's journal, the stored log, the outcomes of commands.

use std::path::Path;

use anyhow::Context;
use qqrelay_proto::command::CommandId;
use qqrelay_proto::event::Event;
use qqrelay_proto::outcome::ResultRecord;
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::{Partition, ScopeSubject};
use qqrelay_runtime::bus::embedded::{EmbeddedBus, Limits};
use qqrelay_runtime::bus::{Bus, Layout};
use qqrelay_runtime::store::{Clock, Store};
use qqrelay_simulator::journal::Line;

/// Records that are read at a time.
const PAGE: usize = 1_000;

/// Everything that is to be judged.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// What the platform sent and received.
    pub journal: Vec<Line>,
    /// Every record, partition by partition and in order.
    pub log: Vec<(Partition, Stored)>,
    /// What became of the replies of the handler, command by command.
    pub results: Vec<ResultRecord>,
    /// The window that the log was made with.
    pub window: u16,
}

impl Run {
    /// Reads log and outcomes from the bus of a relay that has stopped, or has nothing more to say.
    ///
    /// # Errors
    ///
    /// The bus cannot be read.
    pub async fn read(journal: Vec<Line>, bus: &dyn Bus, handler: &str) -> anyhow::Result<Self> {
        let log = read_log(bus).await?;
        let results = read_results(bus, &log, handler).await?;
        Ok(Self { journal, log, results, window: bus.layout().window })
    }

    /// Reads log and outcomes from the file of a relay that has ended.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, as when a process still has it.
    pub async fn of_file(
        journal: Vec<Line>,
        path: &Path,
        layout: Layout,
        handler: &str,
    ) -> anyhow::Result<Self> {
        let store = Store::open(path, layout, Clock::system()).context("the log's file")?;
        let bus = EmbeddedBus::open(store.clone(), Limits::default()).await?;
        let run = Self::read(journal, &bus, handler).await;
        drop(bus);
        store.close().await;
        run
    }
}

/// Every record that the log holds now.
///
/// # Errors
///
/// The bus cannot be read.
pub async fn read_log(bus: &dyn Bus) -> anyhow::Result<Vec<(Partition, Stored)>> {
    let mut read = Vec::new();
    for partition in (0..bus.layout().partitions).map(Partition::Chain) {
        let mut log = bus.log(partition).await?;
        let mut from = log.extent().await?.first;
        loop {
            let page = log.range(&partition.all(), from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            read.extend(page.into_iter().map(|stored| (partition, stored)));
        }
    }
    Ok(read)
}

/// The outcomes of the first reply to each event.
async fn read_results(
    bus: &dyn Bus,
    log: &[(Partition, Stored)],
    handler: &str,
) -> anyhow::Result<Vec<ResultRecord>> {
    let mut results = Vec::new();
    for (_, stored) in log {
        let Some(headers) = &stored.record.headers.event else { continue };
        let event: Event<'_> = serde_json::from_slice(&stored.record.payload)?;
        if event.reply.is_none() {
            continue;
        }
        let command = CommandId::of_handler(&headers.id, handler, 0);
        let subject = ScopeSubject::new(&headers.app, &event.place()).result(command.as_str());
        for record in bus.results(&subject).await? {
            results.push(serde_json::from_slice(&record)?);
        }
    }
    Ok(results)
}
