//! A place in line belongs to the wrapper.

use std::task::Poll;

use sluicegate::io::AsyncThrottled;
use sluicegate::timer::ManualTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Act, Peer, bucket, poll, poll_read, poll_write, stock};

#[test]
fn who_reads_again_into_another_buffer_is_still_in_line() {
    let time = ManualTime::new();
    let bucket = bucket("1000/s burst 100 initial 0", &time);
    let mut reader = AsyncThrottled::new(Peer::default(), &bucket);
    assert!(poll(&mut Box::pin(reader.read(&mut [0; 100]))).is_pending(), "20 bytes, in 20 ms");
    assert!(poll_read(&mut reader, 1000).is_pending());
    assert!(matches!(poll_read(&mut reader, 0), Poll::Ready(Ok(0))), "nothing is not waited for");
    assert_eq!(bucket.counts().waiting, 1);

    time.set(time.next().unwrap());
    assert!(matches!(poll_read(&mut reader, 3), Poll::Ready(Ok(3))));
    assert_eq!(bucket.available(), 17, "what the small buffer did not take is there again");
    assert!(matches!(poll_read(&mut reader, 1000), Poll::Pending), "more than is there");
    time.set(time.next().unwrap());
    assert!(matches!(poll_read(&mut reader, 1000), Poll::Ready(Ok(20))), "as many as were paid for");
}

#[test]
fn who_reads_again_is_not_sent_to_the_end_of_the_line() {
    let time = ManualTime::new();
    let bucket = bucket("1000/s burst 100 initial 0", &time);
    let [mut first, mut second] = [(); 2].map(|()| AsyncThrottled::new(Peer::default(), &bucket));
    assert!(poll_read(&mut first, 100).is_pending() && poll_read(&mut second, 100).is_pending());
    assert!(poll_read(&mut first, 50).is_pending());
    time.set(20_000_000);
    assert!(poll_read(&mut second, 100).is_pending());
    assert!(matches!(poll_read(&mut first, 100), Poll::Ready(Ok(20))));
}

#[test]
fn a_connection_that_is_silent_keeps_no_tokens() {
    let bucket = stock(100);
    let mut silent: Vec<_> =
        (0..50).map(|_| AsyncThrottled::new(Peer::new([Act::Waits; 3]), &bucket)).collect();
    for _ in 0..3 {
        assert!(silent.iter_mut().all(|here| poll_read(here, 100).is_pending()));
    }
    assert_eq!(bucket.available(), 100);
    assert!(matches!(poll_read(&mut silent[7], 100), Poll::Ready(Ok(100))));
}

#[test]
fn a_wrapper_that_is_left_alone_keeps_a_slice_until_it_is_dropped() {
    let bucket = stock(0);
    let mut left = AsyncThrottled::new(Peer::default(), &bucket);
    assert!(poll_read(&mut left, 100).is_pending() && poll_write(&mut left, 100).is_pending());
    bucket.put(10);
    assert_eq!(bucket.available(), 8, "one token each");
    let _peer = left.into_inner();
    assert_eq!(bucket.available(), 10);
}

#[test]
fn both_directions_wait_beside_each_other() {
    let time = ManualTime::new();
    let (down, up) = (bucket("1000/s burst 1 initial 0", &time), bucket("500/s burst 1 initial 0", &time));
    let mut here = AsyncThrottled::both(Peer::default(), &down, &up);
    assert!(poll_read(&mut here, 9).is_pending() && poll_write(&mut here, 9).is_pending());
    time.set(1_000_000);
    assert!(poll_write(&mut here, 9).is_pending());
    assert!(matches!(poll_read(&mut here, 9), Poll::Ready(Ok(1))));
    time.set(2_000_000);
    assert!(matches!(poll_write(&mut here, 9), Poll::Ready(Ok(1))));
    assert!(matches!(poll(&mut Box::pin(here.flush())), Poll::Ready(Ok(()))));
}

/// It can be sent to another thread, and moved between two polls.
#[test]
fn it_is_send_and_unpin() {
    fn check<T: Send + Sync + Unpin>(_: &T) {}
    check(&AsyncThrottled::new(tokio::io::empty(), &stock(1)));
    check(&AsyncThrottled::new(
        tokio::io::empty(),
        &sluicegate::limiter::TokenBucket::new("1/s".parse().unwrap()),
    ));
}
