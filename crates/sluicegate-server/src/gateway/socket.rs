//! A client's socket, with or without TLS, that notes in [`Activity`] what is waited for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;

/// How much of what a client still sends after its refusal is read and thrown away: closing with something unread would
/// have the answer thrown away on its way.
const LINGER_BYTES: usize = 16 << 20;

/// What a client speaks over.
#[derive(Debug)]
pub enum Transport {
    /// Nothing in between.
    Plain(TcpStream),
    /// Large, so behind a pointer.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($transport:expr, $socket:ident => $call:expr) => {
        match $transport {
            Transport::Plain($socket) => $call,
            Transport::Tls($socket) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, socket => Pin::new(socket).poll_read(context, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, socket => Pin::new(socket).poll_write(context, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, socket => Pin::new(socket).poll_write_vectored(context, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, socket => socket.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, socket => Pin::new(socket).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, socket => Pin::new(socket).poll_shutdown(context))
    }
}

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Service,
}

/// A client's socket, or that of a service which has changed protocols. Reads first what was read ahead of it, to see what the client speaks.
#[derive(Debug)]
pub struct Socket<T = Transport> {
    transport: T,
    ahead: Bytes,
    activity: Arc<Activity>,
    side: Side,
    /// Bytes read and thrown away while closing.
    discarded: usize,
}

impl<T> Socket<T> {
    /// Over `transport`, of which `ahead` was read already, noting in `activity`.
    pub const fn new(transport: T, ahead: Bytes, activity: Arc<Activity>) -> Self {
        Self { transport, ahead, activity, side: Side::Client, discarded: 0 }
    }

    /// The same of a service.
    pub const fn of_service(transport: T, ahead: Bytes, activity: Arc<Activity>) -> Self {
        Self { transport, ahead, activity, side: Side::Service, discarded: 0 }
    }

    fn wrote<R>(&self, result: Poll<R>) -> Poll<R> {
        match self.side {
            Side::Client => self.activity.write(result.is_pending()),
            Side::Service => self.activity.write_back(result.is_pending()),
        }
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let result = if this.ahead.is_empty() {
            Pin::new(&mut this.transport).poll_read(context, buf)
        } else {
            let part = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..part]);
            this.ahead.advance(part);
            Poll::Ready(Ok(()))
        };
        if buf.filled().len() > before {
            this.activity.read();
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write(context, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write_vectored(context, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS keeps back what the socket does not take, and says so here.
        let result = Pin::new(&mut self.transport).poll_flush(context);
        self.wrote(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.side == Side::Service {
            return Pin::new(&mut this.transport).poll_shutdown(context);
        }
        if !this.activity.is_closing() {
            ready!(Pin::new(&mut this.transport).poll_shutdown(context))?;
            if !this.activity.closes() {
                return Poll::Ready(Ok(()));
            }
        }
        let mut buffer = [0; 16 * 1024];
        while this.discarded < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut this.transport).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            this.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
