//! Memory that is read and written, and the copy between.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use sluicegate::clock::{Clock, SystemClock};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Larger than a processor's own caches.
const REGION: usize = 32 << 20;

/// What is copied, and where to.
pub(crate) struct Room {
    from: Vec<u8>,
    to: Vec<u8>,
    /// How many bytes a copy moves.
    pub(crate) len: u64,
}

impl Room {
    pub(crate) fn new(len: u64) -> Self {
        // Not zero: a page of zeros need not be there.
        Self { from: vec![7; REGION], to: vec![1; REGION], len }
    }

    /// Both ends.
    pub(crate) fn ends(&mut self) -> (Source<'_>, Target<'_>) {
        (Source { bytes: &self.from, at: 0 }, Target { bytes: &mut self.to, at: 0 })
    }
}

/// Memory that is read over and over.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Source<'a> {
    fn next(&mut self, room: usize) -> &'a [u8] {
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let rest = &self.bytes[self.at..];
        let next = &rest[..room.min(rest.len())];
        self.at += next.len();
        next
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let next = self.next(buf.len());
        buf[..next.len()].copy_from_slice(next);
        Ok(next.len())
    }
}

impl AsyncRead for Source<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let next = self.next(buf.remaining());
        buf.put_slice(next);
        Poll::Ready(Ok(()))
    }
}

/// Memory that is written to over and over.
pub(crate) struct Target<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Write for Target<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let n = buf.len().min(self.bytes.len() - self.at);
        self.bytes[self.at..self.at + n].copy_from_slice(&buf[..n]);
        self.at += n;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of the buffer is used where so much is left.
fn part(buf: &mut [u8], left: u64) -> &mut [u8] {
    let n = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
    &mut buf[..n]
}

/// Copies so many bytes; says how many nanoseconds that took.
#[inline(never)]
pub(crate) fn copy(mut from: impl Read, mut to: impl Write, len: u64, buf: &mut [u8]) -> io::Result<u64> {
    let clock = SystemClock::new();
    let mut left = len;
    while left > 0 {
        let buf = part(buf, left);
        let n = from.read(buf)?;
        to.write_all(&buf[..n])?;
        left -= n as u64;
    }
    Ok(clock.now())
}

/// As [`copy`], with tokio's traits on the side that is read.
#[inline(never)]
pub(crate) async fn copy_async(
    mut from: impl AsyncRead + Unpin,
    mut to: impl Write,
    len: u64,
    buf: &mut [u8],
) -> io::Result<u64> {
    let clock = SystemClock::new();
    let mut left = len;
    while left > 0 {
        let buf = part(buf, left);
        let n = from.read(buf).await?;
        to.write_all(&buf[..n])?;
        left -= n as u64;
    }
    Ok(clock.now())
}
