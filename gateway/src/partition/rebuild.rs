//! Reading back which events the log holds, after a takeover.
//!
//! A page at a time, so that the owner answers questions in between: a RESUME does not wait for it.

use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::{Log, Refusal};

/// Records read at a time.
const PAGE: usize = 512;

/// Most records read. With more than these in a quarter of an hour, the oldest stay unknown.
const RECORDS_MAX: u64 = 1 << 17;

/// What is still to be read: these numbers, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rebuild {
    next: u64,
    last: u64,
}

impl Rebuild {
    /// The records of since then, found by halving; `None` where there are none.
    pub(super) async fn since(
        log: &mut dyn Log,
        partition: Partition,
        since_ms: u64,
    ) -> Result<Option<Self>, Refusal> {
        let extent = log.extent().await?;
        let all = partition.all();
        let (mut from, mut to) = (extent.first, extent.last + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            match log.range(&all, middle, 1).await?.first() {
                Some(stored) if stored.at_ms < since_ms => from = stored.number + 1,
                _ => to = middle,
            }
        }
        let next = from.max((extent.last + 1).saturating_sub(RECORDS_MAX));
        Ok((next <= extent.last).then_some(Self { next, last: extent.last }))
    }

    /// The next page, and what is left behind it.
    pub(super) async fn page(
        self,
        log: &mut dyn Log,
        partition: Partition,
    ) -> Result<(Vec<Stored>, Option<Self>), Refusal> {
        let Self { next, last } = self;
        let mut page = log.range(&partition.all(), next, PAGE).await?;
        let next = page.last().map(|stored| stored.number + 1);
        page.retain(|stored| stored.number <= last);
        let rest = next.filter(|next| *next <= last).map(|next| Self { next, last });
        Ok((page, rest))
    }
}
