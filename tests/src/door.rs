//! A door in front of the platform: everything goes through, but the first sockets meet something
//! else in place of their upgrade.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Requests are not longer than this.
const HEAD_MAX: usize = 16 * 1024;

/// What a socket meets that wants to be upgraded.
#[derive(Debug, Clone)]
pub enum Welcome {
    /// These bytes, and then the end.
    Bytes(Vec<u8>),
    /// A right upgrade, these bytes at once behind it, and then the end.
    Upgraded(Vec<u8>),
}

/// A door that is open for as long as it is held.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Told {
    waiting: VecDeque<Welcome>,
    /// Bytes that each welcome got rid of before the guest left.
    written: Vec<usize>,
}

impl Door {
    /// Opens a door in front of the platform, with a welcome for each of the first sockets.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn before(platform: SocketAddr, welcomes: Vec<Welcome>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let told = Told { waiting: welcomes.into(), written: Vec::new() };
        let told = Arc::new(Mutex::new(told));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, platform, Arc::clone(&told)));
        Ok(Self { address, told, _serving: serving })
    }

    /// Where it is.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes of its welcome each guest has taken.
    #[must_use]
    pub fn written(&self) -> Vec<usize> {
        lock(&self.told).written.clone()
    }
}

fn lock(told: &Mutex<Told>) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, platform: SocketAddr, told: Arc<Mutex<Told>>) {
    let mut guests = JoinSet::new();
    while let Ok((guest, _)) = listener.accept().await {
        let told = Arc::clone(&told);
        // One that breaks off is what these tests are about.
        guests.spawn(async move { drop(lead(guest, platform, &told).await) });
    }
}

async fn lead(mut guest: TcpStream, platform: SocketAddr, told: &Mutex<Told>) -> io::Result<()> {
    let head = head(&mut guest).await?;
    let welcome =
        if head.starts_with(b"GET /websocket") { lock(told).waiting.pop_front() } else { None };
    let Some(welcome) = welcome else {
        let mut inside = TcpStream::connect(platform).await?;
        inside.write_all(&head).await?;
        copy_bidirectional(&mut guest, &mut inside).await?;
        return Ok(());
    };
    let bytes = match welcome {
        Welcome::Bytes(bytes) => bytes,
        Welcome::Upgraded(bytes) => [upgrade(&head), bytes].concat(),
    };
    let mut written = 0;
    while written < bytes.len() {
        match guest.write(&bytes[written..]).await {
            Ok(count) if count > 0 => written += count,
            Ok(_) | Err(_) => break,
        }
    }
    lock(told).written.push(written);
    guest.shutdown().await
}

async fn head(guest: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        if guest.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

/// The right answer to a request for an upgrade.
fn upgrade(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}
