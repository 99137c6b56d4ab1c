//! A peer that does what a script says, and time that jumps from event to event.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use sluicegate::limiter::TokenBucket;
use sluicegate::timer::ManualTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the peer does with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Moves so many bytes, as far as there is room.
    Moves(usize),
    /// Is not ready.
    Waits,
    /// Fails.
    Fails,
}

/// A reader and writer after a script; where that ends, it moves all it can. It notes how many bytes it was asked for, and
/// fills what is read with counting bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    shared: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    script: VecDeque<Act>,
    asked: Vec<usize>,
    moved: usize,
}

impl Peer {
    pub(crate) fn new(script: impl IntoIterator<Item = Act>) -> Self {
        let inside = Inside { script: script.into_iter().collect(), ..Inside::default() };
        Self { shared: Arc::new(Mutex::new(inside)) }
    }

    /// How many bytes each operation might have moved.
    pub(crate) fn asked(&self) -> Vec<usize> {
        self.shared.lock().unwrap().asked.clone()
    }

    /// How many bytes were moved.
    pub(crate) fn moved(&self) -> usize {
        self.shared.lock().unwrap().moved
    }

    fn act(&self, room: usize) -> Poll<io::Result<usize>> {
        let mut inside = self.shared.lock().unwrap();
        inside.asked.push(room);
        match inside.script.pop_front().unwrap_or(Act::Moves(usize::MAX)) {
            Act::Waits => Poll::Pending,
            Act::Fails => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Act::Moves(n) => {
                inside.moved += n.min(room);
                Poll::Ready(Ok(n.min(room)))
            }
        }
    }

    /// The same, for who can't wait.
    fn act_now(&self, room: usize) -> io::Result<usize> {
        match self.act(room) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The bytes of the last read.
    fn came(&self, n: usize) -> Vec<u8> {
        let from = self.moved() - n;
        (from..from + n).map(byte).collect()
    }
}

/// The byte at a place of what a peer is read.
pub(crate) fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.act_now(buf.len())?;
        buf[..n].copy_from_slice(&self.came(n));
        Ok(n)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let n = self.act_now(bufs.iter().map(|buf| buf.len()).sum())?;
        let bytes = self.came(n);
        let mut bytes = &bytes[..];
        for buf in bufs {
            let _ = bytes.read(buf)?;
        }
        Ok(n)
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.act_now(buf.len())
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.act_now(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Peer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.act(buf.remaining()).map_ok(|n| buf.put_slice(&self.came(n)))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.act(buf.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.act(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A bucket in virtual time.
pub(crate) fn bucket(quota: &str, time: &ManualTime) -> TokenBucket<ManualTime> {
    TokenBucket::with_clock(quota.parse().unwrap(), time.clone())
}

/// A bucket that no time fills.
pub(crate) fn stock(tokens: u64) -> TokenBucket<ManualTime> {
    bucket(&format!("stock {tokens} max 1000"), &ManualTime::new())
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Reads once into `n` bytes; says how many came.
pub(crate) fn poll_read(reader: &mut (impl AsyncRead + Unpin), n: usize) -> Poll<io::Result<usize>> {
    let mut bytes = vec![0; n];
    let mut buf = ReadBuf::new(&mut bytes);
    let read = Pin::new(reader).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
    read.map_ok(|()| buf.filled().len())
}

/// Writes `n` bytes once.
pub(crate) fn poll_write(writer: &mut (impl AsyncWrite + Unpin), n: usize) -> Poll<io::Result<usize>> {
    Pin::new(writer).poll_write(&mut Context::from_waker(Waker::noop()), &vec![0; n])
}

/// Runs a future to its end, with the time jumping to whatever is slept for next.
pub(crate) fn run<F: Future>(time: &ManualTime, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        time.set(time.next().expect("who waits has set a timer"));
    }
}
