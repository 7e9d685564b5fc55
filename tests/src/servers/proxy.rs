//! A TCP proxy in front of one server: what goes through can be held back, let go, or cut off, each
//! way for itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait::eventually;

/// Bytes read at once.
const READ_MAX: usize = 64 * 1024;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From clients.
    ToServer,
    /// From the server.
    ToClient,
}

/// A proxy that works for as long as it is held.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    to_server: Gate,
    to_client: Gate,
    /// How often everything was cut off.
    cuts: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Gate {
    is_held: watch::Sender<bool>,
    /// Behind what it is held next.
    behind: Mutex<Option<Vec<u8>>>,
    /// What is held back now, of all connections.
    held: Mutex<Vec<u8>>,
}

impl Proxy {
    /// In front of the server at this port of this machine.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, port, Arc::clone(&shared)));
        Ok(Self { address, shared, _serving: serving })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `nats://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    fn gate(&self, way: Way) -> &Gate {
        match way {
            Way::ToServer => &self.shared.to_server,
            Way::ToClient => &self.shared.to_client,
        }
    }

    /// From now on, what goes this way waits here, without a bound.
    pub fn hold(&self, way: Way) {
        self.gate(way).is_held.send_replace(true);
    }

    /// Lets go what comes until these bytes have gone; what is behind them waits here.
    pub fn hold_behind(&self, way: Way, bytes: &[u8]) {
        *lock(&self.gate(way).behind) = Some(bytes.to_owned());
    }

    /// Lets everything go that was held back, in its order.
    pub fn release(&self, way: Way) {
        let gate = self.gate(way);
        gate.is_held.send_replace(false);
        gate.held().clear();
    }

    /// Waits until bytes like these are held back.
    ///
    /// # Errors
    ///
    /// They did not come.
    pub async fn holds(&self, way: Way, bytes: &[u8]) -> anyhow::Result<()> {
        let look = async || {
            let held = self.gate(way).held();
            held.windows(bytes.len()).any(|found| found == bytes).then_some(())
        };
        eventually("the proxy holds it", look).await
    }

    /// Ends every connection, and what is held back with it. New ones are let in.
    pub fn cut(&self) {
        for gate in [&self.shared.to_server, &self.shared.to_client] {
            gate.held().clear();
        }
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Gate {
    fn held(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.held)
    }

    /// How much of this may go.
    fn let_go(&self, waiting: &[u8]) -> usize {
        if *self.is_held.borrow() {
            return 0;
        }
        let mut behind = lock(&self.behind);
        let Some(mark) = &*behind else { return waiting.len() };
        let found = waiting.windows(mark.len()).position(|found| found == mark);
        let Some(end) = found.map(|start| start + mark.len()) else { return waiting.len() };
        *behind = None;
        self.held().extend_from_slice(&waiting[end..]);
        self.is_held.send_replace(true);
        end
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    let mut guests = JoinSet::new();
    while let Ok((guest, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // One that breaks off is what these tests are about.
        guests.spawn(async move { drop(lead(guest, port, &shared).await) });
    }
}

async fn lead(guest: TcpStream, port: u16, shared: &Shared) -> io::Result<()> {
    let mut cuts = shared.cuts.subscribe();
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    for stream in [&guest, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_guest, to_guest) = guest.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pump(from_guest, to_server, &shared.to_server);
    let back = pump(from_server, to_guest, &shared.to_client);
    // When one side has ended, so has the other.
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
        _ = cuts.changed() => Ok(()),
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    gate: &Gate,
) -> io::Result<()> {
    let mut is_held = gate.is_held.subscribe();
    let mut waiting = Vec::new();
    let mut read = vec![0; READ_MAX];
    loop {
        tokio::select! {
            count = from.read(&mut read) => {
                let bytes = &read[..count?];
                if bytes.is_empty() {
                    return Ok(());
                }
                waiting.extend_from_slice(bytes);
                if *is_held.borrow() {
                    gate.held().extend_from_slice(bytes);
                }
            }
            // The gate outlives its pumps.
            _ = is_held.changed() => {}
        }
        is_held.mark_unchanged();
        let gone = gate.let_go(&waiting);
        to.write_all(&waiting[..gone]).await?;
        waiting.drain(..gone);
    }
}
