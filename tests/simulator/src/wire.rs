//! A TCP connection that can be cut off as if a cable had been.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Cuts the connection that it came with. Every request carries one as an extension, so a handler
/// can answer with a reset.
#[derive(Debug, Clone, Default)]
pub struct Cutter(CancellationToken);

impl Cutter {
    /// Ends the connection with a TCP reset. Whoever serves it stops where it is; a handler should
    /// wait for ever afterwards.
    pub fn cut(&self) {
        self.0.cancel();
    }

    /// Waits for [`Cutter::cut`].
    pub async fn was_cut(&self) {
        self.0.cancelled().await;
    }
}

/// A TCP connection with its cutter. It sends a reset when it is dropped after having been cut, and
/// closes in the ordinary way otherwise.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    cutter: Cutter,
}

impl Wire {
    pub(crate) const fn new(stream: TcpStream, cutter: Cutter) -> Self {
        Self { stream, cutter }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.cutter.0.is_cancelled() {
            // Without it the kernel would say goodbye in order. A socket that is gone needs none.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
