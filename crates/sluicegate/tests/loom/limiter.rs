//! A token bucket: nobody who waits or watches is forgotten, no token is lost or doubled.

use std::sync::Arc as Plain;
use std::sync::atomic::{AtomicBool as Seen, Ordering::Relaxed};
use std::task::Poll;

use loom::future::block_on;
use loom::thread;
use sluicegate::limiter::{Carry, TokenBucket};
use sluicegate::timer::ManualTime;

use super::{poll_once, preempted};

fn bucket(quota: &str) -> (ManualTime, TokenBucket<ManualTime>) {
    let time = ManualTime::new();
    let bucket = TokenBucket::with_clock(quota.parse().unwrap(), time.clone());
    (time, bucket)
}

/// Nobody waits, and there are so many tokens.
fn assert_idle(bucket: &TokenBucket<ManualTime>, tokens: i64) {
    assert_eq!((bucket.counts().waiting, bucket.balance()), (0, tokens));
}

/// Two threads: one puts a token without a lock, the other begins to wait for it.
#[test]
fn who_begins_to_wait_is_served_by_a_put() {
    preempted(4, || {
        let (_, bucket) = bucket("stock 0 max 1");
        let theirs = bucket.clone();
        let other = thread::spawn(move || assert!(block_on(theirs.take(1)).is_granted()));
        assert_eq!(bucket.put(1), 1);
        other.join().unwrap();
        assert_idle(&bucket, 0);
    });
}

/// Two threads: one puts a token without a lock, the other begins to watch for it.
#[test]
fn who_begins_to_watch_is_told_of_a_put() {
    preempted(4, || {
        let (_, bucket) = bucket("stock 0 max 1");
        let theirs = bucket.clone();
        let other = thread::spawn(move || assert!(block_on(theirs.watch(1)).is_granted()));
        assert_eq!(bucket.put(1), 1);
        other.join().unwrap();
        assert_idle(&bucket, 1);
    });
}

/// Three threads: one puts a token; the first in line gives up, before or after it was granted; the second waits.
#[test]
fn a_token_granted_to_who_gives_up_goes_to_the_next() {
    preempted(3, || {
        let (_, bucket) = bucket("stock 0 max 2");
        let (mut first, mut second) = (bucket.take(1), bucket.take(1));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        let quits = thread::spawn(move || drop(first));
        let waits = thread::spawn(move || assert!(block_on(second).is_granted()));
        assert_eq!(bucket.put(1), 1);
        quits.join().unwrap();
        waits.join().unwrap();
        assert_idle(&bucket, 0);
        assert_eq!((bucket.counts().waited, bucket.counts().cancelled), (1, 1));
    });
}

/// Two threads: one grants by its own poll what the other drops.
#[test]
fn a_token_granted_by_another_s_poll_to_who_is_dropped_is_not_lost() {
    let happened = Plain::new([const { Seen::new(false) }; 2]);
    let seen = Plain::clone(&happened);
    preempted(4, move || {
        let (time, bucket) = bucket("1/s burst 2");
        assert!(bucket.try_take(2).is_granted());
        let (mut first, mut second) = (bucket.take(1), bucket.take(1));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        // The first is due, and whoever looks serves it.
        time.set(1_000_000_000);
        let quits = thread::spawn(move || drop(first));
        let is_ready = poll_once(&mut second).is_ready();
        seen[usize::from(is_ready)].store(true, Relaxed);
        quits.join().unwrap();
        assert!(is_ready || poll_once(&mut second).is_ready());
        assert_idle(&bucket, 0);
    });
    assert!(happened.iter().all(|seen| seen.load(Relaxed)), "{happened:?}");
}

/// Three threads: one moves the time; two wait, the second behind the first.
#[test]
fn two_who_wait_are_served_whoever_is_polled_first() {
    preempted(3, || {
        let (time, bucket) = bucket("1/s");
        assert!(bucket.try_take(1).is_granted());
        let (mut first, mut second) = (bucket.take(1), bucket.take(1));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        let others = [first, second].map(|take| thread::spawn(move || block_on(take).is_granted()));
        // Past the safety timeout of the second, in case that it is polled while it still is the second.
        time.set(3_000_000_000);
        assert!(others.map(|other| other.join().unwrap()).iter().all(|is_granted| *is_granted));
        assert_eq!((bucket.counts().waiting, bucket.counts().waited), (0, 2));
    });
}

/// Two threads: the line moves up while one that waits asks anew, and so sets its timer.
#[test]
fn who_moves_up_while_it_sets_its_timer_sets_it_anew() {
    preempted(4, || {
        let (time, bucket) = bucket("1/s");
        let (hour, second) = (bucket.reserve_overdraft(3600).unwrap(), bucket.reserve(1).unwrap());
        let mut take = bucket.take(1);
        let waits = thread::spawn(move || match poll_once(&mut take) {
            Poll::Ready(decision) => decision,
            Poll::Pending => block_on(take),
        });
        drop(hour);
        time.set(1_000_000_000);
        assert!(waits.join().unwrap().is_granted());
        drop(second);
    });
}

/// Three threads: one takes and one puts, without a lock, while the quota changes: each comes before or after.
#[test]
fn a_quota_that_changes_beside_a_take_and_a_put_loses_and_mints_nothing() {
    preempted(3, || {
        let (_, bucket) = bucket("stock 1 max 2");
        let (one, two) = (bucket.clone(), bucket.clone());
        let takes = thread::spawn(move || assert!(one.try_take(1).is_granted()));
        let puts = thread::spawn(move || assert_eq!(two.put(1), 1));
        bucket.set_quota("stock 0 max 3".parse().unwrap(), Carry::Keep);
        takes.join().unwrap();
        puts.join().unwrap();
        assert_eq!(bucket.capacity(), 3);
        assert_idle(&bucket, 1);
    });
}

/// Three threads: one waits, one puts, and the quota changes. Whoever holds the lock before the one that waits must not forget
/// that it is coming, or the put does not look.
#[test]
fn who_waits_while_the_quota_changes_is_served_by_a_put() {
    preempted(2, || {
        let (_, bucket) = bucket("stock 0 max 1");
        let (one, two) = (bucket.clone(), bucket.clone());
        let waits = thread::spawn(move || assert!(block_on(one.take(1)).is_granted()));
        let puts = thread::spawn(move || assert_eq!(two.put(1), 1));
        bucket.set_quota("stock 0 max 3".parse().unwrap(), Carry::Keep);
        waits.join().unwrap();
        puts.join().unwrap();
        assert_idle(&bucket, 0);
    });
}
