//! Waiting for a stop, and work that is stopped.

use sluicegate::cancel::{CancelToken, Cause};
use sluicegate::permits::{Permit, Permits};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

/// Nanoseconds.
const DEADLINE: u64 = 10;

/// A token with a deadline below one without.
struct Tree {
    time: ManualTime,
    parent: CancelToken<ManualTime>,
    token: CancelToken<ManualTime>,
}

impl Tree {
    fn new() -> Self {
        let time = ManualTime::new();
        let parent = CancelToken::new(time.clone());
        let token = parent.with_deadline(DEADLINE);
        Self { time, parent, token }
    }

    /// Nobody sleeps, and nobody was stopped but by what happened.
    fn is_as_found(&self, cause: Option<Cause>) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        let parent = cause.filter(|cause| *cause == Cause::Parent).map(|_| Cause::Cancelled);
        assert_eq!((self.token.cause(), self.parent.cause()), (cause, parent));
    }
}

/// What makes the last step.
fn ends(end: impl Fn(&Tree), cause: Cause) {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let tree = Tree::new();
            let token = tree.token.clone();
            ((tree, None), async move { token.stopped().await })
        },
        |(tree, happened), step| {
            if step == 1 {
                tree.time.set(DEADLINE - 1);
                return Turn::MayWait;
            }
            end(tree);
            *happened = Some(cause);
            Turn::MustWake
        },
        |(tree, happened), left| {
            tree.is_as_found(*happened);
            if let Left::Output(found) = left {
                assert_eq!(*found, cause);
            }
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn stopped_by_a_deadline() {
    ends(|tree| tree.time.set(DEADLINE), Cause::DeadlineExceeded);
}

#[test]
fn stopped_from_above() {
    ends(|tree| tree.parent.cancel(), Cause::Parent);
}

#[test]
fn stopped_in_one_step_by_both() {
    let both = |tree: &Tree| {
        tree.time.set(DEADLINE);
        tree.parent.cancel();
    };
    ends(both, Cause::Parent);
}

/// Work that waits for a permit.
struct Work {
    tree: Tree,
    permits: Permits,
    held: Option<Permit>,
    cause: Option<Cause>,
}

/// `end` makes the last step and says why work is stopped, if it is.
fn work_ends(end: impl Fn(&mut Work) -> Option<Cause>, wanted: Option<Cause>) {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (tree, permits) = (Tree::new(), Permits::new(1, 1));
            let (held, enter, token) = (permits.try_enter(), permits.enter().unwrap(), tree.token.clone());
            (Work { tree, permits, held, cause: None }, async move { token.run(enter).await })
        },
        |work, step| {
            if step == 1 {
                work.tree.time.set(DEADLINE - 1);
                return Turn::MayWait;
            }
            work.cause = end(work);
            Turn::MustWake
        },
        |work, left| {
            work.tree.is_as_found(work.cause);
            let others = usize::from(work.held.is_some());
            let own = match left {
                Left::Output(outcome) => {
                    assert_eq!(outcome.as_ref().err().copied(), wanted);
                    usize::from(outcome.is_ok())
                }
                _ => 0,
            };
            assert_eq!((work.permits.in_flight(), work.permits.waiting()), (others + own, 0));
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn work_that_is_done() {
    let end = |work: &mut Work| {
        work.held = None;
        None
    };
    work_ends(end, None);
}

#[test]
fn work_that_is_late() {
    let end = |work: &mut Work| {
        work.tree.time.set(DEADLINE);
        Some(Cause::DeadlineExceeded)
    };
    work_ends(end, Some(Cause::DeadlineExceeded));
}

#[test]
fn work_that_is_cancelled() {
    let end = |work: &mut Work| {
        work.tree.parent.cancel();
        Some(Cause::Parent)
    };
    work_ends(end, Some(Cause::Parent));
}

#[test]
fn work_that_is_done_at_the_last_instant() {
    let end = |work: &mut Work| {
        work.tree.time.set(DEADLINE);
        work.held = None;
        Some(Cause::DeadlineExceeded)
    };
    work_ends(end, None);
}
