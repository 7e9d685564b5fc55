//! What is kept for how long, and taking away the rest a little at a time.

use std::time::{Duration, Instant};

use qqrelay_proto::subject::{Lane, Partition};
use qqrelay_proto::time::UnixMs;
use redb::{ReadableTable, Table, WriteTransaction};

use super::record::View;
use super::table::{
    COMMAND_IDS, COMMAND_TIMES, COMMANDS, EVENTS, Extents, LETTERS, RESULTS, RESULTS_OF, StreamKey,
    TAILS,
};
use crate::bus::Extent;
use crate::store::{Sweep, Swept};

/// How long a command's id is remembered.
pub(super) const COMMAND_ID_KEPT: Duration = Duration::from_secs(15 * 60);

const HOUR: Duration = Duration::from_secs(3600);
const GIB: u64 = 1 << 30;

/// Most that one step removes.
const STEP_RECORDS: usize = 1024;

/// The longest that one step may take, with room to finish what it is at.
const STEP_TIME: Duration = Duration::from_millis(2);

/// How long something is kept, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// What is older goes.
    pub max_age: Duration,
    /// Above this the oldest goes; of commands, above this none is taken.
    pub max_bytes: u64,
}

/// What the embedded bus keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events, of each partition.
    pub events: Bound,
    /// Commands that are not done.
    pub commands: Bound,
    /// Attempts and outcomes.
    pub results: Bound,
    /// Most attempts and outcomes.
    pub results_max: u64,
    /// Parked records.
    pub letters: Bound,
}

impl Default for Limits {
    fn default() -> Self {
        let bound = |max_age, max_bytes| Bound { max_age, max_bytes };
        Self {
            events: bound(24 * HOUR, 8 * GIB),
            commands: bound(24 * HOUR, GIB),
            results: bound(24 * HOUR, 2 * GIB),
            results_max: 2_000_000,
            letters: bound(14 * 24 * HOUR, 2 * GIB),
        }
    }
}

/// Keeps the file within its limits.
pub(super) struct Sweeper {
    limits: Limits,
    partitions: Vec<Partition>,
}

impl Sweeper {
    pub(super) const fn new(limits: Limits, partitions: Vec<Partition>) -> Self {
        Self { limits, partitions }
    }
}

impl Sweep for Sweeper {
    fn sweep(&mut self, tx: &WriteTransaction, now: UnixMs) -> Result<Swept, redb::Error> {
        let mut step = Step { now, left: STEP_RECORDS, until: Instant::now() + STEP_TIME };
        let mut extents = Extents::open(tx)?;
        let limits = &self.limits;
        for &partition in &self.partitions {
            sweep_events(tx, &mut extents, StreamKey::events(partition), limits.events, &mut step)?;
        }
        sweep_commands(tx, &mut extents, limits.commands, &mut step)?;
        sweep_command_ids(tx, &mut step)?;
        sweep_results(tx, &mut extents, limits, &mut step)?;
        sweep_letters(tx, &mut extents, limits.letters, &mut step)?;
        Ok(match step.left {
            STEP_RECORDS => Swept::Nothing,
            _ if step.is_over() => Swept::More,
            _ => Swept::Done,
        })
    }
}

/// What one step may still do.
struct Step {
    now: UnixMs,
    left: usize,
    until: Instant,
}

impl Step {
    /// Whether something stored at `at_ms` has been kept for long enough.
    const fn is_over_age(&self, at_ms: u64, kept: Duration) -> bool {
        self.now.since(UnixMs(at_ms)).as_millis() > kept.as_millis()
    }

    /// There may be more to do than a step does. The first removal is always allowed.
    fn is_over(&self) -> bool {
        self.left == 0 || (self.left < STEP_RECORDS && Instant::now() >= self.until)
    }
}

fn sweep_events(
    tx: &WriteTransaction,
    extents: &mut Extents<'_>,
    stream: StreamKey,
    bound: Bound,
    step: &mut Step,
) -> Result<(), redb::Error> {
    let mut extent = extents.of(stream)?;
    let (mut events, mut tails) = (tx.open_table(EVENTS)?, tx.open_table(TAILS)?);
    let before = extent;
    while extent.first <= extent.last && !step.is_over() {
        let number = extent.first;
        let Some(oldest) = events.get((stream.0, number))? else {
            extent.first += 1;
            step.left -= 1;
            continue;
        };
        let view = View::new(oldest.value());
        if extent.bytes <= bound.max_bytes && !step.is_over_age(view.at_ms(), bound.max_age) {
            break;
        }
        if let Some(chain) = view.chain()
            && tails.get(chain)?.is_some_and(|newest| newest.value() == number)
        {
            tails.remove(chain)?;
        }
        extent.bytes = extent.bytes.saturating_sub(oldest.value().len() as u64);
        drop(oldest);
        events.remove((stream.0, number))?;
        extent.first += 1;
        step.left -= 1;
    }
    if extent != before {
        extents.set(stream, extent)?;
    }
    Ok(())
}

fn sweep_commands(
    tx: &WriteTransaction,
    extents: &mut Extents<'_>,
    bound: Bound,
    step: &mut Step,
) -> Result<(), redb::Error> {
    let mut commands = tx.open_table(COMMANDS)?;
    let mut extent = extents.of(StreamKey::COMMANDS)?;
    let before = extent;
    for lane in Lane::all() {
        while !step.is_over() {
            let all = (lane.number(), 0)..=(lane.number(), u64::MAX);
            let Some((key, value)) = commands.range(all)?.next().transpose()? else { break };
            if !step.is_over_age(View::new(value.value()).at_ms(), bound.max_age) {
                break;
            }
            extent.bytes = extent.bytes.saturating_sub(value.value().len() as u64);
            let found = key.value();
            drop((key, value));
            commands.remove(found)?;
            step.left -= 1;
        }
    }
    if extent != before {
        extents.set(StreamKey::COMMANDS, extent)?;
    }
    Ok(())
}

fn sweep_command_ids(tx: &WriteTransaction, step: &mut Step) -> Result<(), redb::Error> {
    let (mut ids, mut times) = (tx.open_table(COMMAND_IDS)?, tx.open_table(COMMAND_TIMES)?);
    while !step.is_over() {
        let Some((key, entry)) = times.first()? else { break };
        let (number, (at_ms, id)) = (key.value(), entry.value());
        if !step.is_over_age(at_ms, COMMAND_ID_KEPT) {
            break;
        }
        // The id may have come again since, under a later number.
        if ids.get(id)?.is_some_and(|newest| newest.value().0 == number) {
            ids.remove(id)?;
        }
        drop((key, entry));
        times.remove(number)?;
        step.left -= 1;
    }
    Ok(())
}

fn sweep_results(
    tx: &WriteTransaction,
    extents: &mut Extents<'_>,
    limits: &Limits,
    step: &mut Step,
) -> Result<(), redb::Error> {
    let mut of = tx.open_table(RESULTS_OF)?;
    let mut results = tx.open_table(RESULTS)?;
    sweep_oldest(&mut results, extents, StreamKey::RESULTS, step, |extent, number, row, step| {
        let (at_ms, subject, payload) = row;
        let many = extent.last - extent.first >= limits.results_max;
        let goes = many
            || extent.bytes > limits.results.max_bytes
            || step.is_over_age(at_ms, limits.results.max_age);
        if goes {
            of.remove((subject, number))?;
        }
        Ok(goes.then_some(subject.len() + payload.len()))
    })
}

fn sweep_letters(
    tx: &WriteTransaction,
    extents: &mut Extents<'_>,
    bound: Bound,
    step: &mut Step,
) -> Result<(), redb::Error> {
    let mut letters = tx.open_table(LETTERS)?;
    sweep_oldest(&mut letters, extents, StreamKey::LETTERS, step, |extent, _, row, step| {
        let (at_ms, subject, _, detail, _, _, record) = row;
        let goes = extent.bytes > bound.max_bytes || step.is_over_age(at_ms, bound.max_age);
        Ok(goes.then_some(subject.len() + detail.len() + record.len()))
    })
}

/// Removes from the front as long as `size_if_over` gives the size of what has to go.
fn sweep_oldest<V: redb::Value + 'static>(
    table: &mut Table<'_, u64, V>,
    extents: &mut Extents<'_>,
    stream: StreamKey,
    step: &mut Step,
    mut size_if_over: impl FnMut(
        &Extent,
        u64,
        V::SelfType<'_>,
        &Step,
    ) -> Result<Option<usize>, redb::Error>,
) -> Result<(), redb::Error> {
    let mut extent = extents.of(stream)?;
    let before = extent;
    while !step.is_over() {
        let Some((key, row)) = table.first()? else { break };
        let number = key.value();
        let Some(size) = size_if_over(&extent, number, row.value(), step)? else { break };
        drop((key, row));
        table.remove(number)?;
        extent.bytes = extent.bytes.saturating_sub(size as u64);
        extent.first = number + 1;
        step.left -= 1;
    }
    if extent != before {
        extents.set(stream, extent)?;
    }
    Ok(())
}
