//! What is refused is an error at once, and costs nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::task::Poll;
use std::thread;

use sluicegate::decision::Decision;
use sluicegate::io::{AsyncThrottled, Cancelled, Throttled, denied};
use sluicegate::limiter::{Carry, TokenBucket};
use sluicegate::timer::ManualTime;

use crate::support::{Peer, bucket, poll_read, poll_write, stock};

fn is_never(outcome: io::Result<usize>) -> bool {
    let error = outcome.unwrap_err();
    let decision = denied(&error).unwrap().decision();
    error.kind() == ErrorKind::QuotaExceeded && matches!(decision, Decision::Never { .. })
}

fn now(outcome: Poll<io::Result<usize>>) -> io::Result<usize> {
    let Poll::Ready(outcome) = outcome else { panic!("it waits") };
    outcome
}

#[test]
fn a_ban_is_an_error_and_no_wait() {
    let (bucket, peer) = (bucket("ban", &ManualTime::new()), Peer::default());
    let mut here = Throttled::new(peer.clone(), &bucket);
    assert!(is_never(here.read(&mut [0; 9])) && is_never(here.write(&[0; 9])));
    let mut here = AsyncThrottled::new(peer.clone(), &bucket);
    assert!(is_never(now(poll_read(&mut here, 9))) && is_never(now(poll_write(&mut here, 9))));
    assert!(peer.asked().is_empty());
}

#[test]
fn a_ban_ends_waits_that_have_begun() {
    let (bucket, peer) = (stock(0), Peer::default());
    let mut here = AsyncThrottled::new(peer.clone(), &bucket);
    assert!(poll_read(&mut here, 9).is_pending() && poll_write(&mut here, 9).is_pending());
    bucket.set_quota("ban".parse().unwrap(), Carry::Keep);
    assert!(is_never(now(poll_read(&mut here, 9))) && is_never(now(poll_write(&mut here, 9))));

    // Lifted, it goes on.
    bucket.set_quota("unlimited".parse().unwrap(), Carry::Keep);
    assert_eq!(now(poll_read(&mut here, 9)).unwrap(), 9);
}

#[test]
fn a_line_that_is_full_says_when_to_come_back() {
    let time = ManualTime::new();
    let (bucket, peer) = (bucket("10/s burst 1 initial 0", &time), Peer::default());
    bucket.max_waiting(1);
    let mut first = AsyncThrottled::new(peer.clone(), &bucket);
    assert!(poll_read(&mut first, 9).is_pending());
    for outcome in [
        now(poll_read(&mut AsyncThrottled::new(peer.clone(), &bucket), 9)),
        Throttled::new(peer.clone(), &bucket).read(&mut [0; 9]),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        assert!(matches!(denied(&error).unwrap().decision(), Decision::Later { .. }));
    }
    assert!(peer.asked().is_empty());
    assert!(denied(&io::ErrorKind::QuotaExceeded.into()).is_none(), "not every such error is ours");
}

#[test]
fn a_bucket_that_becomes_smaller_than_a_slice_that_waits_is_asked_for_less() {
    let time = ManualTime::new();
    let (bucket, peer) = (bucket("1000/s burst 100 initial 0", &time), Peer::default());
    let mut reader = AsyncThrottled::new(peer.clone(), &bucket);
    assert!(poll_read(&mut reader, 100).is_pending());
    bucket.set_quota("1000/s burst 3".parse().unwrap(), Carry::Keep);
    assert!(poll_read(&mut reader, 100).is_pending());
    time.set(time.next().unwrap());
    assert_eq!(now(poll_read(&mut reader, 100)).unwrap(), 3);
}

#[test]
fn a_thread_that_waits_is_cancelled() {
    let bucket = TokenBucket::new("stock 3".parse().unwrap());
    let peer = Peer::default();
    let mut here = Throttled::new(peer.clone(), &bucket);
    let (canceller, same) = (here.canceller(), here.canceller());
    let reads = thread::spawn(move || {
        let error = here.read_exact(&mut [0; 9]).unwrap_err();
        (here, error)
    });
    // Whether it waits already or not.
    while bucket.counts().waiting == 0 {
        thread::yield_now();
    }
    canceller.cancel();
    let (mut here, error) = reads.join().unwrap();
    assert_eq!(error.get_ref().unwrap().downcast_ref::<Cancelled>(), Some(&Cancelled));
    assert_eq!(error.to_string(), "cancelled");
    assert_eq!((peer.moved(), bucket.counts().waiting), (3, 0), "what was there was read");

    assert!(here.write(&[0; 9]).is_err(), "for good");
    same.cancel();
    here.flush().unwrap();
    bucket.put(3);
    assert_eq!(bucket.available(), 3, "nobody waits for them");
    assert_eq!(here.into_inner().read(&mut [0; 9]).unwrap(), 9);
}

#[test]
fn a_thread_waits_for_tokens_that_are_put() {
    let bucket = TokenBucket::new("stock 0 max 100".parse().unwrap());
    let mut here = [Throttled::new(Peer::default(), &bucket), Throttled::new(Peer::default(), &bucket)];
    // One that could be cancelled, and one that could not.
    let _canceller = here[0].canceller();
    let reads = here.map(|mut here| thread::spawn(move || here.read_exact(&mut [0; 50])));
    while bucket.counts().waiting < 2 {
        thread::yield_now();
    }
    for _ in 0..100 {
        bucket.put(1);
    }
    for read in reads {
        read.join().unwrap().unwrap();
    }
    assert_eq!(bucket.available(), 0);
}
