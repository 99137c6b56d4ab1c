//! How much flows, in virtual time: all of the quota, and never more.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use sluicegate::clock::Clock;
use sluicegate::io::AsyncThrottled;
use sluicegate::limiter::{Carry, TokenBucket};
use sluicegate::timer::ManualTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Act, Peer, bucket, run};

/// The bytes that were moved by each instant.
type Trace = Vec<(u64, usize)>;

/// Reads `n` bytes into a buffer of `len`.
async fn read(
    peer: Peer,
    bucket: TokenBucket<ManualTime>,
    time: ManualTime,
    (n, len): (usize, usize),
) -> Trace {
    let mut trace = vec![(time.now(), 0)];
    let mut reader = AsyncThrottled::new(peer, &bucket);
    let (mut moved, mut buf) = (0, vec![0; len]);
    while moved < n {
        moved += reader.read(&mut buf[..len.min(n - moved)]).await.unwrap();
        trace.push((time.now(), moved));
    }
    trace
}

/// In any span no more than the burst and what flows in it.
fn holds(trace: &Trace, burst: usize, bytes_a_milli: usize) {
    for (i, (from, before)) in trace.iter().enumerate() {
        for (to, after) in &trace[i..] {
            let flows = usize::try_from(to - from).unwrap() * bytes_a_milli / 1_000_000;
            assert!(
                after - before <= burst + flows,
                "{} bytes from {from} to {to} ns: {trace:?}",
                after - before
            );
        }
    }
}

#[test]
fn a_copy_takes_exactly_as_long_as_its_bytes() {
    for (quota, burst, slice) in
        [("1000000/s burst 100000", 100_000, 20_000), ("1000000/s burst 300", 300, 300)]
    {
        let time = ManualTime::new();
        let (peer, bucket) = (Peer::default(), bucket(quota, &time));
        let trace = run(&time, read(peer.clone(), bucket.clone(), time.clone(), (1_000_000, 65_536)));
        assert_eq!(time.now(), 1_000_000_000 - burst as u64 * 1000, "nanoseconds");
        holds(&trace, burst, 1000);
        assert!(peer.asked().iter().all(|asked| *asked <= slice), "in bounded slices");
        assert_eq!(bucket.available(), 0);
    }
}

#[test]
fn a_write_of_a_large_buffer_goes_out_as_it_is_paid_for() {
    let time = ManualTime::new();
    let (peer, bucket) = (Peer::default(), bucket("1000/s burst 100", &time));
    let mut writer = AsyncThrottled::new(peer.clone(), &bucket);
    run(&time, writer.write_all(&[0; 10_100])).unwrap();
    assert_eq!((time.now(), peer.moved()), (10_000_000_000, 10_100));
    assert_eq!(peer.asked(), [20; 505]);
}

/// A peer that is ready seldom, and then moves little, gets no less and no more.
#[test]
fn short_reads_cost_no_time() {
    let time = ManualTime::new();
    let peer = Peer::new((0..1000).flat_map(|_| [Act::Waits, Act::Fails, Act::Moves(3)]));
    let bucket = bucket("1000/s burst 10", &time);
    let mut reader = AsyncThrottled::new(peer.clone(), &bucket);
    let mut moved = 0;
    run(
        &time,
        poll_fn(|context| {
            while moved < 3000 {
                let mut bytes = [0; 64];
                let mut buf = tokio::io::ReadBuf::new(&mut bytes);
                let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut reader), context, &mut buf);
                moved += buf.filled().len();
                // Who is told to wait by the peer comes again.
                if read.is_pending() && bucket.counts().waiting > 0 {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        }),
    );
    // A slice of ten is waited for, and seven of them are given back.
    assert_eq!((time.now(), bucket.available()), (2_997_000_000, 7));
    assert_eq!(peer.moved(), 3000);
}

/// Several futures as one, each polled at each turn.
async fn all<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T>>>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context: &mut Context<'_>| {
        for (future, output) in futures.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[test]
fn streams_that_share_a_bucket_share_it_evenly_and_move_no_more_than_one() {
    let time = ManualTime::new();
    let bucket = bucket("1000000/s burst 50000", &time);
    let one = || -> Pin<Box<dyn Future<Output = Trace>>> {
        Box::pin(read(Peer::default(), bucket.clone(), time.clone(), (200_000, 8192)))
    };
    let traces = run(&time, all(vec![one(), one(), one()]));
    assert_eq!(time.now(), 550_000_000, "as long as one stream of as many bytes");

    let mut together: Vec<_> = traces
        .iter()
        .flat_map(|trace| trace.windows(2).map(|pair| (pair[1].0, pair[1].1 - pair[0].1)))
        .collect();
    together.sort_unstable();
    let mut sum = 0;
    let together = together.into_iter().map(|(at, moved)| {
        sum += moved;
        (at, sum)
    });
    holds(&together.collect(), 50_000, 1000);

    // Once the burst is gone and until one has ended, all of them come equally far, but for a slice.
    let moved_by =
        |trace: &Trace, at| trace.iter().rfind(|(when, _)| *when <= at).map_or(0, |(_, moved)| *moved);
    let gain = |trace: &Trace| moved_by(trace, 400_000_000) - moved_by(trace, 100_000_000);
    let gains: Vec<_> = traces.iter().map(gain).collect();
    let spread = gains.iter().max().unwrap() - gains.iter().min().unwrap();
    assert!(spread <= 8192, "{gains:?}");
}

#[test]
fn the_rate_can_change_on_the_way() {
    let time = ManualTime::new();
    let (peer, bucket) = (Peer::default(), bucket("1000/s burst 100 initial 0", &time));
    let mut reader = AsyncThrottled::new(peer.clone(), &bucket);
    run(&time, reader.read_exact(&mut [0; 1000])).unwrap();
    assert_eq!(time.now(), 1_000_000_000);

    // Slower, and smaller than a slice was.
    bucket.set_quota("100/s burst 10".parse().unwrap(), Carry::Keep);
    run(&time, reader.read_exact(&mut [0; 100])).unwrap();
    assert_eq!(time.now(), 2_000_000_000);

    bucket.set_quota("unlimited".parse().unwrap(), Carry::Keep);
    run(&time, reader.read_exact(&mut [0; 1_000_000])).unwrap();
    assert_eq!((time.now(), peer.moved()), (2_000_000_000, 1_001_100));
}
