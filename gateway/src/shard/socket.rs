//! One WebSocket to the platform, with every wait and size bounded.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use qqrelay_proto::close::CloseCode;
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};
use tracing::debug;

/// Allocated for each socket up front and filled on each read: the library's 128 KiB would cost
/// twenty times the memory of an idle session.
const READ_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER: usize = 4 * 1024;
/// What we send is a few hundred bytes; a peer that does not read must not make us grow.
const WRITE_BUFFER_MAX: usize = 64 * 1024;
const FRAME_MAX: usize = 1 << 20;
const MESSAGE_MAX: usize = 4 << 20;

/// A frame that the peer does not take within this is a dead link.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// The whole of saying goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A peer that is gone without a word is noticed by the kernel: at the latest so long after something
/// was sent that it did not acknowledge, or after so many questions to one that says nothing.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
const ASK_AFTER: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMES: u32 = 3;

/// Sockets that are opened at once. A handshake takes ten times the memory of the session that it
/// opens, and a platform that comes back is not asked by everybody in the same moment.
const OPENING: usize = 256;

/// How all shards of a process come to the platform.
#[derive(Clone)]
pub(crate) struct Way {
    tls: Arc<ClientConfig>,
    /// Turns to open a socket.
    opening: Arc<Semaphore>,
}

impl Way {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, opening: Arc::new(Semaphore::new(OPENING)) }
    }

    /// Waits for a turn, then connects within `limit`.
    pub(super) async fn open(
        &self,
        url: &str,
        limit: Duration,
    ) -> Result<Socket, Box<dyn Error + Send + Sync>> {
        let _turn = self.opening.acquire().await?;
        // On the heap: whoever waits here for a turn must not have room for a handshake all the while.
        Ok(Box::pin(Socket::connect(url, self.tls.clone(), limit)).await?)
    }
}

/// An open socket.
pub(super) struct Socket {
    /// On the heap: with TLS it is more than a kilobyte, which whatever holds a socket would hold twice.
    inner: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>,
}

/// What came over a socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A text frame.
    Text(Utf8Bytes),
    /// Something that is no frame of the platform's, but a sign of life.
    Noise,
    /// A frame larger than we take. The socket is of no use any more.
    TooLarge,
    /// The end, with the code if the peer said one.
    Closed(Option<CloseCode>),
}

/// Why no socket was opened.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    /// Time was up.
    #[error("no connection within {0:?}")]
    Late(Duration),
    /// It was refused or broke.
    #[error("no connection to the gateway")]
    Failed(#[source] Box<tungstenite::Error>),
}

/// The peer did not take what we sent.
#[derive(Debug, thiserror::Error)]
#[error("the frame could not be written")]
pub(super) struct WriteError;

impl Socket {
    /// Connects, TLS and upgrade included, within `limit`.
    async fn connect(
        url: &str,
        tls: Arc<ClientConfig>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_frame_size(Some(FRAME_MAX))
            .max_message_size(Some(MESSAGE_MAX));
        let tls = Connector::Rustls(tls);
        let connecting = connect_async_tls_with_config(url, Some(config), true, Some(tls));
        match timeout(limit, connecting).await {
            Ok(Ok((inner, _))) => {
                if let Err(error) = notice_death(inner.get_ref()) {
                    debug!(%error, "heartbeats alone will tell whether the peer lives");
                }
                Ok(Self { inner: Box::new(inner) })
            }
            Ok(Err(error)) => Err(ConnectError::Failed(Box::new(error))),
            Err(_) => Err(ConnectError::Late(limit)),
        }
    }

    /// The next thing that comes. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Received {
        match self.inner.next().await {
            Some(Ok(Message::Text(text))) => Received::Text(text),
            Some(Ok(Message::Close(frame))) => {
                Received::Closed(frame.map(|frame| CloseCode(frame.code.into())))
            }
            Some(Ok(_)) => Received::Noise,
            Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                Received::TooLarge
            }
            Some(Err(_)) | None => Received::Closed(None),
        }
    }

    /// Sends a text frame.
    pub(super) async fn send(&mut self, text: String) -> Result<(), WriteError> {
        match timeout(WRITE_WITHIN, self.inner.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(WriteError),
        }
    }

    /// Says goodbye with a code that leaves the session alive, then lets go of the connection.
    pub(super) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: WireCode::from(code), reason: Utf8Bytes::default() };
        // A peer that is gone needs no goodbye.
        let _ = timeout(CLOSE_WITHIN, WebSocketStream::close(&mut self.inner, Some(frame))).await;
    }
}

/// Has the kernel notice a peer that is gone.
fn notice_death(stream: &MaybeTlsStream<TcpStream>) -> io::Result<()> {
    let tcp = match stream {
        MaybeTlsStream::Plain(tcp) => tcp,
        MaybeTlsStream::Rustls(tls) => tls.get_ref().0,
        _ => return Ok(()),
    };
    let socket = SockRef::from(tcp);
    let ask = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY);
    socket.set_tcp_keepalive(&ask.with_retries(ASK_TIMES))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_notices_a_peer_that_is_gone() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = MaybeTlsStream::Plain(TcpStream::connect(listener.local_addr()?).await?);
        notice_death(&stream)?;
        let MaybeTlsStream::Plain(tcp) = &stream else { unreachable!("it is plain") };
        let socket = SockRef::from(tcp);
        assert_eq!(socket.tcp_user_timeout()?, Some(UNACKNOWLEDGED_MAX));
        assert!(socket.keepalive()?);
        assert_eq!(
            (socket.tcp_keepalive_time()?, socket.tcp_keepalive_retries()?),
            (ASK_AFTER, ASK_TIMES)
        );
        Ok(())
    }
}
