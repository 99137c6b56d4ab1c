//! The shipped cell under every interleaving of a few threads. Built and run by the `loom` stage of `scripts/test`;
//! without its flag this file is empty.
//!
//! No model bounds preemptions: with two or three threads of one or two operations each, every one is affordable.
//!
//! Loom looks for other orders only from the last access to a word. A thread that loads, and then nobody but a thread
//! that loads and swaps, hides the first load: so the thread that was there (it runs first) is one that swaps.
#![cfg(sluicegate_loom)]
#![expect(clippy::unwrap_used, reason = "a test: what fails here is the test")]

mod striped;

use std::sync::Arc as Plain;
use std::sync::atomic::{AtomicBool as Seen, Ordering::Relaxed};

use loom::sync::atomic::AtomicBool;
use loom::thread;
use sluicegate_core::bucket::Bucket;
use sluicegate_core::cell::Cell;
use sluicegate_core::sync::Arc;

/// A quota's arithmetic, and a new cell of it.
fn bucket(quota: &str) -> (Bucket, Arc<Cell>) {
    let bucket = Bucket::new(quota.parse().unwrap());
    (bucket, Arc::new(Cell::new(bucket.start())))
}

/// Runs each on a thread of its own, but the last on the one that is there, and hands out what they answer.
fn together<const N: usize>(cell: &Arc<Cell>, parts: [fn(&Bucket, &Cell) -> u64; N], bucket: Bucket) -> u64 {
    let (last, others) = parts.split_last().unwrap();
    let spawn = |part: &fn(&Bucket, &Cell) -> u64| {
        let (part, cell) = (*part, Arc::clone(cell));
        thread::spawn(move || part(&bucket, &cell))
    };
    let others: Vec<_> = others.iter().map(spawn).collect();
    let own = last(&bucket, cell);
    others.into_iter().map(|other| other.join().unwrap()).sum::<u64>() + own
}

/// Three threads, a take each.
#[test]
fn of_three_that_take_from_two_tokens_two_get_one() {
    loom::model(|| {
        let (bucket, cell) = bucket("stock 2");
        let take = |bucket: &Bucket, cell: &Cell| u64::from(cell.take(bucket, 1, 0).unwrap().is_granted());
        assert_eq!(together(&cell, [take, take, take], bucket), 2);
        assert_eq!(bucket.available(cell.load().unwrap(), 0), 0);
    });
}

/// Two threads, two takes each: between its own two, a thread meets what the other left.
#[test]
fn two_that_take_twice_from_three_tokens_get_three() {
    loom::model(|| {
        let (bucket, cell) = bucket("stock 3");
        let take = |bucket: &Bucket, cell: &Cell| {
            let twice = [cell.take(bucket, 1, 0).unwrap(), cell.take(bucket, 1, 0).unwrap()];
            twice.iter().map(|decision| u64::from(decision.is_granted())).sum()
        };
        assert_eq!(together(&cell, [take, take], bucket), 3);
    });
}

/// Three threads: two take at instants of their own, of which the later is past a refill; one takes what there is.
#[test]
fn takers_at_different_instants_get_what_has_flowed_by_the_last() {
    loom::model(|| {
        let (bucket, cell) = bucket("1/s burst 2");
        let granted = together(
            &cell,
            [
                |bucket, cell| u64::from(cell.take(bucket, 1, 0).unwrap().is_granted()),
                |bucket, cell| u64::from(cell.take(bucket, 2, 1_000_000_000).unwrap().is_granted()) * 2,
                |bucket, cell| cell.take_up_to(bucket, 2, 0).unwrap(),
            ],
            bucket,
        );
        // Who comes to a full bucket late finds that the second's token has overflowed: then it is 2.
        assert!((2..=3).contains(&granted), "{granted}");
        let left = bucket.available(cell.load().unwrap(), 1_000_000_000);
        assert!(granted + left <= 3, "{granted} and {left}");
    });
}

/// Three threads: two take, one puts.
#[test]
fn a_put_beside_takes_is_neither_lost_nor_doubled() {
    loom::model(|| {
        let (bucket, cell) = bucket("stock 1 max 2");
        let take = |bucket: &Bucket, cell: &Cell| u64::from(cell.take(bucket, 1, 0).unwrap().is_granted());
        let put = |bucket: &Bucket, cell: &Cell| {
            assert_eq!(cell.put(bucket, 1, 0).unwrap(), 1, "there is room");
            0
        };
        let granted = together(&cell, [take, put, take], bucket);
        assert_eq!(granted + bucket.available(cell.load().unwrap(), 0), 2);
    });
}

/// Two threads: one takes all or nothing, one what there is.
#[test]
fn a_part_and_a_whole_never_share_a_token() {
    loom::model(|| {
        let (bucket, cell) = bucket("stock 3");
        let granted = together(
            &cell,
            [
                |bucket, cell| u64::from(cell.take(bucket, 2, 0).unwrap().is_granted()) * 2,
                |bucket, cell| cell.take_up_to(bucket, 2, 0).unwrap(),
            ],
            bucket,
        );
        assert_eq!(granted + bucket.available(cell.load().unwrap(), 0), 3);
        assert!(granted >= 2, "{granted}");
    });
}

/// Three threads: one takes, one puts, and the cell retires: either comes before, and is in the last state, or finds that it
/// has retired, and has done nothing.
#[test]
fn a_cell_that_retires_leaves_behind_all_that_was_done_and_nothing_that_was_not() {
    let happened = Plain::new([const { Seen::new(false) }; 4]);
    let seen = Plain::clone(&happened);
    loom::model(move || {
        let (bucket, cell) = bucket("stock 1 max 2");
        let (one, two) = (Arc::clone(&cell), Arc::clone(&cell));
        let takes = thread::spawn(move || one.take(&bucket, 1, 0).map(|decision| decision.is_granted()));
        let puts = thread::spawn(move || two.put(&bucket, 1, 0));
        let last = cell.retire().unwrap();
        assert!(cell.load().is_err() && cell.retire().is_err() && cell.touch().is_err());
        let (taken, put) = (takes.join().unwrap(), puts.join().unwrap());
        assert!(taken.is_err() || taken == Ok(true), "there was a token: {taken:?}");
        assert!(put.is_err() || put == Ok(1), "there was room: {put:?}");
        assert_eq!(bucket.available(last, 0) + u64::from(taken.is_ok()), 1 + put.unwrap_or(0));
        seen[usize::from(taken.is_ok()) + 2 * usize::from(put.is_ok())].store(true, Relaxed);
    });
    assert!(happened.iter().all(|seen| seen.load(Relaxed)), "{happened:?}");
}

/// Two threads: one puts a token after it has written something, the other takes it.
#[test]
fn what_came_before_a_put_is_seen_by_who_takes_it() {
    loom::model(|| {
        let (bucket, cell) = bucket("stock 0 max 1");
        let written = Arc::new(AtomicBool::new(false));
        let (theirs, reads) = (Arc::clone(&cell), Arc::clone(&written));
        let other = thread::spawn(move || {
            if theirs.take(&bucket, 1, 0).unwrap().is_granted() {
                assert!(reads.load(Relaxed));
            }
        });
        written.store(true, Relaxed);
        cell.put(&bucket, 1, 0).unwrap();
        other.join().unwrap();
    });
}

/// Two threads: one puts a token and then says so, without ordering the two; the other hears it and asks.
///
/// A load may then still see the empty bucket. A write could not: of a word that is compared and swapped, or added to,
/// the latest value is always seen. So that the refusal happens at all shows that a refusal writes nothing, not even
/// the word that was there.
#[test]
fn a_refusal_writes_nothing() {
    let happened = Plain::new(Seen::new(false));
    let refused = Plain::clone(&happened);
    loom::model(move || {
        let (bucket, cell) = bucket("stock 0 max 1");
        let said = Arc::new(AtomicBool::new(false));
        let (theirs, says) = (Arc::clone(&cell), Arc::clone(&said));
        let other = thread::spawn(move || {
            theirs.put(&bucket, 1, 0).unwrap();
            says.store(true, Relaxed);
        });
        let heard = said.load(Relaxed);
        let before = bucket.start();
        if !cell.take(&bucket, 1, 0).unwrap().is_granted() && heard {
            refused.store(true, Relaxed);
        }
        other.join().unwrap();
        let after = cell.load().unwrap();
        assert!(after == before || bucket.available(after, 0) == 1);
    });
    assert!(happened.load(Relaxed), "no refusal was decided by a load alone");
}
