//! A fence: nobody who was replaced publishes, and who waits to be admitted is woken.

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use sluicegate::fence::Fence;

use super::preempted;

/// Two threads: one commits, the other is admitted in its place, goes on from what it finds, and commits.
#[test]
fn nothing_is_committed_behind_a_successor_s_back() {
    loom::model(|| {
        let fence = Fence::<u64>::new();
        let token = fence.try_admit().unwrap();
        let other = thread::spawn(move || token.commit(1).is_ok());
        let successor = fence.try_admit().unwrap();
        let found = fence.last().unwrap_or(0);
        successor.commit(found + 10).unwrap();
        let committed = u64::from(other.join().unwrap());
        assert_eq!((found, fence.last()), (committed, Some(committed + 10)));
    });
}

/// Two threads: one publishes by more than one step, the other is admitted once nothing is under way.
#[test]
fn a_publication_is_over_before_the_next_generation_begins() {
    preempted(4, || {
        let fence = Fence::<()>::new();
        let token = fence.try_admit().unwrap();
        // Relaxed: who is admitted sees what was published since it was let in, and for no other reason.
        let published = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&published);
        let other = thread::spawn(move || {
            token
                .publish(|| {
                    theirs.store(1, Relaxed);
                    theirs.store(2, Relaxed);
                })
                .is_ok()
        });
        let successor = block_on(fence.admit());
        let found = published.load(Relaxed);
        assert!(successor.publish(|| published.store(found + 10, Relaxed)).is_ok());
        let was_published = other.join().unwrap();
        assert_eq!(found, if was_published { 2 } else { 0 });
        assert_eq!(published.load(Relaxed), found + 10);
    });
}
