mod bounded;
mod foreign;
mod model;
mod threads;

use std::sync::Mutex;

use super::*;
use crate::timer::ManualTime;

fn pool(sizes: &[usize], most: usize) -> Pool {
    Pool::new(Settings::new(sizes).unwrap().with_most(most).unwrap())
}

#[test]
fn a_buffer_comes_back_empty_and_is_the_same() {
    let pool = pool(&[100, 1000], 10);
    let mut buffer = pool.get(70);
    buffer.extend_from_slice(b"secret");
    let place = buffer.as_ptr();
    drop(buffer);
    assert_eq!(pool.get(500).capacity(), 1000, "another class");
    let again = pool.get(100);
    assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, 0, 100));
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let pool = pool(&[100], 2);
    let out: Vec<_> = (0..5).map(|_| pool.get(1)).collect();
    drop(out);
    let counts = pool.counts();
    assert_eq!((counts.kept, counts.kept_bytes, counts.full, counts.returned), (2, 200, 3, 5));
    let mut grown = pool.get(1);
    grown.reserve(5000);
    drop(grown);
    drop(pool.get(101));
    let counts = pool.counts();
    assert_eq!((counts.unfit, counts.oversize, counts.kept, counts.outstanding()), (2, 1, 1, 0));
    let kept = pool.get(1).into_inner();
    assert_eq!((pool.counts().detached, pool.counts().outstanding(), kept.capacity()), (1, 0, 100));
}

/// Where the rest is, nobody knows.
#[test]
fn what_comes_back_with_less_than_it_was_made_with_is_not_kept() {
    let pool = pool(&[100, 1000], 2);
    let mut less = pool.get(1000);
    *less = Vec::with_capacity(100);
    drop(less);
    assert_eq!((pool.counts().kept, pool.counts().unfit), (0, 1));
}

#[test]
fn pitfall_41_grown_buffers_pin_no_more_than_the_bytes_that_were_allowed() {
    let settings = Settings::new(&[100, 1000]).unwrap().with_most_bytes(2000).unwrap();
    let pool: Pool = Pool::new(settings);
    let out: Vec<_> = (0..50)
        .map(|_| {
            let mut buffer = pool.get(1);
            buffer.reserve_exact(900);
            buffer
        })
        .collect();
    drop(out);
    let counts = pool.counts();
    assert_eq!((counts.kept, counts.kept_bytes), (2, 1800), "of the class of 100 two, which hold 900 each");
}

#[test]
fn trimming_frees_what_nobody_has_needed_since() {
    let pool = pool(&[100], 1000);
    drop((0..500).map(|_| pool.get(1)).collect::<Vec<_>>());
    assert_eq!(pool.counts().kept, 500);
    pool.trim();
    drop((0..3).map(|_| pool.get(1)).collect::<Vec<_>>());
    pool.trim();
    let kept = pool.counts().kept;
    assert!((3..=16).contains(&kept), "{kept}: those that were needed, and the lists they came from");
    pool.trim();
    assert_eq!(pool.counts().kept, 0);
    drop((0..1000).map(|_| pool.get(1)).collect::<Vec<_>>());
    assert_eq!((pool.counts().kept, pool.counts().full), (1000, 0), "all of the room is there again");
}

#[test]
fn a_buffer_outlives_its_pool() {
    let pool = pool(&[100], 2);
    let mut buffer = pool.get(10);
    drop(pool);
    buffer.push(1);
    drop(buffer);
}

#[test]
fn as_many_threads_keep_a_large_one_as_there_is_room_for() {
    let pool = &Pool::<Vec<u8>>::new(Settings::default());
    let meet = &std::sync::Barrier::new(16);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                drop(pool.get(200_000));
                meet.wait();
            });
        }
    });
    assert_eq!(pool.counts().full, 0, "16 of the 64 that fit");
}

#[test]
fn who_takes_out_for_good_leaves_the_room_to_others() {
    let pool = &pool(&[100], 40);
    drop((0..40).map(|_| pool.get(1)).collect::<Vec<_>>());
    let meet = &std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // As many pools as a thread can have buffers of its own of.
            let others: Vec<_> = (0..8).map(|_| self::pool(&[100], 1)).collect();
            others.iter().for_each(|other| drop(other.get(1)));
            for _ in 0..34 {
                drop(pool.get(1).into_inner());
            }
            meet.wait();
            meet.wait();
        });
        meet.wait();
        assert_eq!(pool.counts().kept, 6, "what is the other's own, or of its number");
        drop((0..40).map(|_| pool.get(1)).collect::<Vec<_>>());
        let kept = pool.counts().kept;
        meet.wait();
        assert!(kept >= 38, "{kept}");
    });
}

#[test]
fn what_had_grown_is_charged_for_what_it_has() {
    let bounded = BoundedPool::new(pool(&[100, 10_000], 10), 200, ManualTime::new()).unwrap();
    let mut grown = bounded.try_get(1).unwrap();
    grown.reserve_exact(9_000);
    drop(grown);
    let again = bounded.try_get(1).unwrap();
    assert!(again.capacity() as u64 <= bounded.outstanding(), "{}", again.capacity());
    let counts = bounded.pool().counts();
    assert_eq!((counts.hits, counts.misses, counts.returned, counts.unfit), (1, 2, 2, 1));
    assert_eq!((counts.outstanding(), counts.kept), (1, 0));
    let place = again.as_ptr();
    drop(again);
    assert_eq!(bounded.try_get(1).unwrap().as_ptr(), place, "what has not grown is used again");
}

#[tokio::test]
async fn who_asks_for_much_is_not_starved_and_who_leaves_changes_nothing() {
    let bounded = BoundedPool::new(pool(&[100, 300], 10), 400, ManualTime::new()).unwrap();
    assert_eq!(bounded.try_get(500).unwrap_err(), Unavailable::Never);
    let held = [bounded.try_get(100).unwrap(), bounded.try_get(200).unwrap()];
    assert_eq!((bounded.outstanding(), bounded.try_get(1).unwrap_err()), (400, Unavailable::Now));

    let mut large = std::pin::pin!(bounded.get(300));
    let mut small = std::pin::pin!(bounded.get(1));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(large.as_mut().poll(&mut context).is_pending() && small.as_mut().poll(&mut context).is_pending());
    let [first, second] = held;
    drop(first);
    assert!(small.as_mut().poll(&mut context).is_pending(), "the large one came first");
    assert_eq!(bounded.outstanding(), 300, "what is waited for is not out");
    drop(second);
    let large = large.await.unwrap();
    let small = small.await.unwrap();
    assert_eq!((large.capacity(), small.capacity(), bounded.outstanding()), (300, 100, 400));

    let mut left = Box::pin(bounded.get(100));
    assert!(left.as_mut().poll(&mut context).is_pending());
    drop((left, large, small));
    assert_eq!((bounded.outstanding(), bounded.pool().counts().outstanding()), (0, 0));
}

#[tokio::test]
async fn a_line_that_is_full_says_so() {
    let bounded = BoundedPool::new(pool(&[100], 10), 100, ManualTime::new()).unwrap();
    bounded.max_waiting(1);
    let _held = bounded.try_get(1).unwrap();
    let mut waits = Box::pin(bounded.get(1));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    assert_eq!(bounded.get(1).await.unwrap_err(), Unavailable::Now);
}

#[cfg(feature = "bytes")]
#[test]
fn what_was_split_off_is_taken_in_again_or_not_kept() {
    use bytes::BytesMut;
    let pool = Pool::<BytesMut>::new(Settings::new(&[100]).unwrap());
    let mut buffer = pool.get(100);
    buffer.extend_from_slice(&[1; 60]);
    let message = buffer.split().freeze();
    drop(buffer);
    assert_eq!((pool.counts().kept, pool.counts().unfit), (0, 1), "the message is alive and has most of it");
    let mut buffer = pool.get(100);
    buffer.extend_from_slice(&[2; 60]);
    drop(buffer.split().freeze());
    drop(buffer);
    assert_eq!((pool.counts().kept, pool.counts().kept_bytes), (1, 100));
    assert_eq!(&message[..], &[1; 60]);
}

/// The tail of a buffer is no small buffer: whoever has it has all.
#[cfg(feature = "bytes")]
#[test]
fn pitfall_41_what_is_left_of_a_split_buffer_pins_no_more_than_is_counted() {
    use bytes::BytesMut;
    let pool = Pool::<BytesMut>::new(Settings::new(&[4 << 10, 64 << 10]).unwrap());
    for _ in 0..100 {
        let mut buffer = pool.get(64 << 10);
        buffer.extend_from_slice(&[1; 50 << 10]);
        let message = buffer.split().freeze();
        drop(buffer);
        drop(message);
    }
    let counts = pool.counts();
    assert_eq!((counts.kept, counts.kept_bytes, counts.unfit), (0, 0, 100));

    // Its own are taken in, from the beginning.
    let mut buffer = pool.get(64 << 10);
    let place = buffer.as_ptr();
    buffer.extend_from_slice(&[1; 50 << 10]);
    drop(buffer.split());
    drop(buffer);
    assert_eq!((pool.counts().kept, pool.counts().kept_bytes), (1, 64 << 10));
    assert_eq!((pool.get(64 << 10).as_ptr(), pool.get(1).capacity()), (place, 4 << 10));
}

/// Nor is one that has grown and been split what it seems to be.
#[cfg(feature = "bytes")]
#[test]
fn pitfall_41_a_buffer_that_had_grown_counts_for_all_that_it_pins() {
    use bytes::BytesMut;
    let pool = Pool::<BytesMut>::new(Settings::new(&[4 << 10, 64 << 10]).unwrap());
    let grown = || {
        let mut buffer = pool.get(1);
        // Once it is split off from, it tells of its own part only.
        buffer.reserve(64 << 10);
        buffer
    };
    let (mut tail, mut head, mut filled) = (grown(), grown(), grown());
    let (own, whole) = (4 << 10, tail.capacity());
    tail.resize(whole - own, 1);
    let parts = [tail.split(), head.split_off(own)];
    filled.extend_from_slice(&[1; 100]);
    let part = filled.split_off(own + 100);
    assert_eq!([tail.capacity(), head.capacity(), filled.capacity()], [own, own, own + 100]);
    drop([tail, head, filled]);
    assert_eq!((pool.counts().kept, pool.counts().unfit), (0, 3), "the parts are alive");
    drop((parts, part));

    let mut back = grown();
    drop(back.split_off(own));
    drop(back);
    assert_eq!((pool.counts().kept, pool.counts().kept_bytes), (1, whole));
    let again = pool.get(64 << 10);
    assert_eq!((again.capacity(), again.len()), (whole, 0), "it is one of the larger ones");
}
