//! Throttled readers, writers, streams and sinks, dropped at every await: nothing is paid for what was not moved.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use sluicegate::clock::Clock;
use sluicegate::io::{AsyncThrottled, PacedStream};
use sluicegate::limiter::TokenBucket;
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// A step: what flows meanwhile is a slice of 20 bytes.
const STEP: Duration = Duration::from_millis(20);

/// An empty bucket, and what came out of the throttled end of a pipe, or went into it.
struct Pipe {
    time: ManualTime,
    bucket: TokenBucket<ManualTime>,
    there: DuplexStream,
    arrived: usize,
}

impl Pipe {
    /// Whose throttled end waits for tokens at once.
    fn new(room: usize) -> (Self, AsyncThrottled<DuplexStream, ManualTime>) {
        let time = ManualTime::new();
        let bucket = TokenBucket::with_clock("1000/s burst 1000 initial 0".parse().unwrap(), time.clone());
        let (here, there) = duplex(room);
        let here = AsyncThrottled::new(here, &bucket);
        (Self { time, bucket, there, arrived: 0 }, here)
    }

    fn step(&self) -> Turn {
        self.time.advance(STEP);
        Turn::MayWait
    }

    /// All that has flowed is there, but for one token a byte that was moved; nobody waits, and nobody sleeps.
    fn has_paid_for(&self, moved: usize) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        assert_eq!(self.bucket.counts().waiting, 0);
        let flowed = self.time.now() / 1_000_000;
        assert_eq!(self.bucket.available(), flowed - moved as u64, "tokens");
    }

    /// What has come through the pipe.
    fn arrived(&mut self) -> usize {
        let mut bytes = [0; 64];
        while let Some(Ok(n @ 1..)) = now(self.there.read(&mut bytes)) {
            self.arrived += n;
        }
        self.arrived
    }
}

/// What is ready at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(output) = polled { Some(output) } else { None }
}

#[test]
fn bytes_written() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (pipe, mut here) = Pipe::new(1000);
            (pipe, async move { here.write_all(&[7; 90]).await })
        },
        |pipe, _| pipe.step(),
        |pipe, left| {
            let arrived = pipe.arrived();
            assert!(matches!(left, Left::Nothing) || arrived == 90);
            pipe.has_paid_for(arrived);
        },
    );
    assert_eq!(seen.polls, 6, "five slices");
}

/// A pipe that takes 30 bytes at a time: the writer waits for tokens and for room in turns.
#[test]
fn bytes_written_where_there_is_little_room() {
    Drops::new().run_now(
        || {
            let (pipe, mut here) = Pipe::new(30);
            (pipe, async move { here.write_all(&[7; 90]).await })
        },
        |pipe, number| {
            if number % 3 == 0 {
                pipe.arrived();
            }
            pipe.step()
        },
        |pipe, left| {
            let arrived = pipe.arrived();
            assert!(matches!(left, Left::Nothing) || arrived == 90);
            pipe.has_paid_for(arrived);
        },
    );
}

/// The other side writes now and then; the reader waits for tokens and for bytes in turns.
#[test]
fn bytes_read() {
    Drops::new().run_now(
        || {
            let (pipe, mut here) = Pipe::new(1000);
            let read = Rc::new(Cell::new(0));
            let count = Rc::clone(&read);
            let reads = async move {
                let mut bytes = [0; 50];
                while count.get() < 90 {
                    count.set(count.get() + here.read(&mut bytes).await?);
                }
                io::Result::Ok(())
            };
            ((pipe, read), reads)
        },
        |(pipe, _), number| {
            if number % 3 == 1 {
                now(pipe.there.write_all(&[7; 30])).unwrap().unwrap();
            }
            pipe.step()
        },
        |(pipe, read), _| pipe.has_paid_for(read.get()),
    );
}

/// The read is dropped and begun anew at each poll, into buffers of other sizes: the place in line stays.
#[test]
fn reads_that_are_begun_anew() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (mut pipe, mut here) = Pipe::new(1000);
            now(pipe.there.write_all(&[7; 500])).unwrap().unwrap();
            let mut polls = 0;
            let first = poll_fn(move |context| {
                polls += 1;
                let mut bytes = vec![0; 100 - polls];
                let mut buf = ReadBuf::new(&mut bytes);
                ready!(AsyncRead::poll_read(Pin::new(&mut here), context, &mut buf))?;
                Poll::Ready(io::Result::Ok(buf.filled().len()))
            });
            (pipe, first)
        },
        |pipe, number| {
            pipe.step();
            if number == 1 { Turn::MustWake } else { Turn::MayWait }
        },
        |pipe, left| {
            if let Left::Output(read) = left {
                assert_eq!(read.as_ref().ok(), Some(&20));
            }
            pipe.has_paid_for(if matches!(left, Left::Nothing) { 0 } else { 20 });
        },
    );
    assert_eq!(seen.polls, 2);
}

/// An item that costs more than the bucket holds, paid in parts.
#[test]
fn items_of_a_stream() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let bucket = TokenBucket::with_clock("1000/s burst 20".parse().unwrap(), time.clone());
            let mut items = PacedStream::new(stream::iter([50_u64]), &bucket, |item: &u64| *item);
            let first = async move { items.next().await };
            ((time, bucket), first)
        },
        |(time, _), _| {
            time.advance(STEP);
            Turn::MayWait
        },
        |(time, bucket), left| {
            assert_eq!((time.next(), bucket.counts().waiting), (None, 0));
            // Dropped on the way, as if nobody had come: full. Paid, and 10 of the last 20 are left.
            let expected = match left {
                Left::Nothing => 20,
                Left::Output(_) | Left::Done => 10,
            };
            assert_eq!(bucket.available(), expected);
        },
    );
    assert_eq!(seen.polls, 3);
}
