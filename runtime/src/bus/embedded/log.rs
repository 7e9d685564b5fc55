//! One partition as whoever wants to own it sees it. Many may be open on the same one: which of
//! them owns it is for the marker batch to say.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use qqrelay_proto::record::{RECORD_BYTES_MAX, Record, Stored};
use qqrelay_proto::subject::{Partition, matches};
use tokio::sync::{mpsc, oneshot};

use super::append::{Append, Prepared, enqueue};
use super::record::{self, Filing};
use super::scan;
use super::shared::Shared;
use super::table::committed_extent;
use crate::bus::{Answer, BATCH_MAX, BusError, Extent, Log, Refusal};
use crate::store::StoreError;

/// A handle on one partition.
pub(super) struct PartitionLog {
    shared: Arc<Shared>,
    partition: Partition,
    index: usize,
    sender: mpsc::UnboundedSender<Answer>,
    /// One for each publish, and so no more than the window.
    answers: mpsc::UnboundedReceiver<Answer>,
    unanswered: usize,
}

impl PartitionLog {
    pub(super) fn open(shared: Arc<Shared>, partition: Partition) -> Result<Self, BusError> {
        let index = shared.index(partition).ok_or_else(|| {
            let count = shared.store.layout().partitions;
            BusError::Refused(format!("there is no partition {partition}: the log has {count}"))
        })?;
        let (sender, answers) = mpsc::unbounded_channel();
        Ok(Self { shared, partition, index, sender, answers, unanswered: 0 })
    }

    fn prepare(&self, record: Record) -> Result<Prepared, Refusal> {
        let size = record.size();
        if size > RECORD_BYTES_MAX {
            return Err(Refusal::Never(format!(
                "it has {size} bytes and a record at most {RECORD_BYTES_MAX}"
            )));
        }
        let filing = Filing::of_event(self.partition, &record.subject).ok_or_else(|| {
            let Self { partition, .. } = self;
            Refusal::Never(format!("{:?} is no subject of partition {partition}", record.subject))
        })?;
        let bytes = record::encode(filing, &record);
        Ok(Prepared { record, filing, bytes })
    }
}

#[async_trait]
impl Log for PartitionLog {
    fn publish(&mut self, number: u64, record: Record) {
        let window = usize::from(self.shared.store.layout().window);
        let prepared = if self.unanswered < window {
            self.prepare(record)
        } else {
            Err(Refusal::Busy(format!("{window} records are unacknowledged")))
        };
        self.unanswered += 1;
        match prepared {
            Ok(record) => {
                let (partition, answers) = (self.index, self.sender.clone());
                enqueue(&self.shared, Append::One { partition, number, record, answers });
            }
            Err(refusal) => {
                let refused = self.sender.send(Answer::Refused { number, refusal });
                refused.expect("the receiver is ours");
            }
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = ready!(self.answers.poll_recv(cx)).expect("a sender is ours");
        self.unanswered -= 1;
        Poll::Ready(answer)
    }

    async fn mark(&mut self, records: Vec<Record>) -> Result<u64, Refusal> {
        if !(1..=BATCH_MAX).contains(&records.len()) {
            let count = records.len();
            return Err(Refusal::Never(format!(
                "a batch has 1 to {BATCH_MAX} records, not {count}"
            )));
        }
        let records = records.into_iter().map(|record| self.prepare(record));
        let records = records.collect::<Result<_, _>>()?;
        let (answer, answered) = oneshot::channel();
        enqueue(&self.shared, Append::Batch { partition: self.index, records, answer });
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    async fn last(&mut self, filter: &str) -> Result<Option<Stored>, Refusal> {
        let (stream, filter) = (self.shared.key(self.index), filter.to_owned());
        Ok(self.shared.store.read(move |tx| scan::newest(tx, stream, &filter)).await?)
    }

    async fn range(
        &mut self,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, Refusal> {
        let (mut found, mut next) = (Vec::new(), from);
        while found.len() < limit {
            let (stream, filter) = (self.shared.key(self.index), filter.to_owned());
            let left = limit - found.len();
            let look = move |tx: &redb::ReadTransaction| {
                scan::forward(tx, stream, next, left, |record| {
                    record.subject().is_some_and(|subject| matches(&filter, subject))
                })
            };
            let scanned = self.shared.store.read(look).await?;
            found.extend(scanned.taken);
            if scanned.next > scanned.extent.last || scanned.next == next {
                break;
            }
            next = scanned.next;
        }
        Ok(found)
    }

    async fn extent(&mut self) -> Result<Extent, Refusal> {
        let stream = self.shared.key(self.index);
        Ok(self.shared.store.read(move |tx| committed_extent(tx, stream)).await?)
    }
}
