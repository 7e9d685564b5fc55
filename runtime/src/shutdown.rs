//! From a signal to the end of a process: the first asks it to drain, the second ends it at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// A signal that asks a process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

impl Signal {
    /// What a process says with its exit code that ended on this signal: 128 and its number.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Listens for SIGINT and SIGTERM. The token is cancelled by the first; the second ends the process
/// without any cleaning up, for whoever cannot wait for the grace.
///
/// # Errors
///
/// The system does not let us listen.
pub fn listen() -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let next = async move || {
        tokio::select! {
            Some(()) = interrupt.recv() => Signal::Interrupt,
            Some(()) = terminate.recv() => Signal::Terminate,
            else => std::future::pending().await,
        }
    };
    let exit = |signal: Signal| std::process::exit(signal.exit_code());
    tokio::spawn(watch(next, stop.clone(), exit));
    Ok(stop)
}

async fn watch(
    mut next: impl AsyncFnMut() -> Signal,
    stop: CancellationToken,
    exit: impl FnOnce(Signal),
) {
    let signal = next().await;
    info!(?signal, "stopping; a second signal stops at once");
    stop.cancel();
    let signal = next().await;
    warn!(?signal, "stopped before everything was handed over");
    exit(signal);
}

/// How draining went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything ended by itself.
    Clean,
    /// Time ran out with this many tasks left.
    Abandoned(usize),
}

/// Closes the tracker and waits for its tasks, for `grace` at most.
pub async fn drain(tasks: &TaskTracker, grace: Duration) -> Drained {
    tasks.close();
    match timeout(grace, tasks.wait()).await {
        Ok(()) => Drained::Clean,
        Err(_) => Drained::Abandoned(tasks.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_ends() {
        let (send, mut signals) = mpsc::channel(2);
        let (exit, exited) = oneshot::channel();
        let stop = CancellationToken::new();
        let next = async move || signals.recv().await.expect("the test sends two");
        let watching = watch(next, stop.clone(), move |signal| exit.send(signal).unwrap());
        let watching = tokio::spawn(watching);

        assert!(!stop.is_cancelled());
        send.send(Signal::Terminate).await.unwrap();
        stop.cancelled().await;
        assert!(!watching.is_finished());
        send.send(Signal::Interrupt).await.unwrap();
        assert_eq!(exited.await.unwrap().exit_code(), 130);
    }

    async fn drain_of(tasks: &[Option<u64>]) -> Drained {
        let tracker = TaskTracker::new();
        for seconds in tasks.iter().copied() {
            tracker.spawn(async move {
                match seconds {
                    Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                    None => pending().await,
                }
            });
        }
        drain(&tracker, Duration::from_secs(25)).await
    }

    #[tokio::test(start_paused = true)]
    async fn draining_ends_clean_or_in_a_count() {
        assert_eq!(drain_of(&[]).await, Drained::Clean);
        assert_eq!(drain_of(&[Some(1), Some(24)]).await, Drained::Clean);
        assert_eq!(drain_of(&[Some(1), None, Some(26)]).await, Drained::Abandoned(2));
    }
}
