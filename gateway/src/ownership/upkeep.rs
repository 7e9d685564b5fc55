//! Keeping the lease of a partition that is ours.
//!
//! The lease is a hint for others. Who has lost it, because the state was emptied, goes on until
//! the log says that the partition is another's, and meanwhile takes it again as anybody would.

use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::lease::LeaseTimes;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::state::{Lease, LeaseKey, State};
use qqrelay_runtime::tenure::{self, Tenure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::claim::Claimed;

/// How long giving a lease away may take; whoever comes next without it waits for the lease to be
/// seen abandoned.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// Renews a lease for as long as it lives.
pub(super) struct Upkeep {
    state: Arc<dyn State>,
    key: LeaseKey,
    newest: watch::Receiver<Lease>,
    renewing: JoinHandle<()>,
}

impl Upkeep {
    pub(super) fn start(
        state: Arc<dyn State>,
        partition: Partition,
        owner: OwnerId,
        times: LeaseTimes,
        (lease, mut asked): Claimed,
    ) -> Self {
        let key = LeaseKey::Partition(partition);
        let (said, newest) = watch::channel(lease.clone());
        let renewing = tokio::spawn({
            let (state, mut lease) = (state.clone(), lease);
            async move {
                loop {
                    Tenure::taken(times, asked).keep(&*state, key, &lease).await;
                    warn!(%partition, "the lease is lost: it is taken again if nobody has it");
                    (lease, asked) = tenure::take(&*state, key, &owner, times).await;
                    said.send_replace(lease.clone());
                }
            }
        });
        Self { state, key, newest, renewing }
    }

    /// Renews no more, and gives the lease away.
    pub(super) async fn end(self) {
        self.renewing.abort();
        let lease = self.newest.borrow().clone();
        let released = timeout(RELEASE_WITHIN, self.state.release_lease(self.key, &lease)).await;
        if !matches!(released, Ok(Ok(()))) {
            warn!(key = ?self.key, "the lease could not be given away: others wait until it stands still");
        }
    }
}
