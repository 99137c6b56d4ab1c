//! A place in the line of permits.

use sluicegate::permits::{Enter, Permit, Permits};
use sluicegate_testkit::drops::{Drops, Left, Turn};

/// One permit, which somebody holds, and somebody who waits behind the future under test.
struct Line {
    permits: Permits,
    held: Option<Permit>,
    behind: Enter,
}

fn line() -> (Line, Enter) {
    let permits = Permits::new(1, 2);
    let held = permits.try_enter();
    let enter = permits.enter().unwrap();
    let behind = permits.enter().unwrap();
    (Line { permits, held, behind }, enter)
}

/// Whoever is next has the permit if nobody else has; and in the end all of them are there.
fn goes_on(line: &mut Line, left: &Left<'_, Permit>) {
    let taken = usize::from(line.held.is_some()) + usize::from(matches!(left, Left::Output(_)));
    let there = line.permits.concurrency();
    assert_eq!(line.behind.is_ready(), there > taken, "who waits behind");
    assert_eq!(line.permits.waiting(), usize::from(!line.behind.is_ready()));
    if !matches!(left, Left::Output(_)) {
        line.held = None;
        line.behind = line.permits.enter().unwrap();
        assert!(line.behind.is_ready(), "every permit is there");
        let others = (1..there).filter_map(|_| line.permits.try_enter());
        assert_eq!(others.count(), there - 1);
    }
}

#[test]
fn a_permit_that_comes_back() {
    let seen = Drops::new().keeping_no_waker().run_now(
        line,
        |line, step| match step {
            1 => Turn::MayWait,
            _ => {
                line.held = None;
                Turn::MustWake
            }
        },
        |line, left| goes_on(line, &left),
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn permits_that_become_more() {
    Drops::new().keeping_no_waker().run_now(
        line,
        |line, step| match step {
            // Nobody is turned out of the line.
            1 => {
                line.permits.resize(1, 1);
                Turn::MayWait
            }
            _ => {
                line.permits.resize(2, 2);
                Turn::MustWake
            }
        },
        |line, left| goes_on(line, &left),
    );
}

#[test]
fn a_permit_that_comes_back_after_the_close() {
    Drops::new().keeping_no_waker().run_now(
        line,
        |line, step| match step {
            1 => {
                line.permits.close();
                Turn::MayWait
            }
            _ => {
                line.held = None;
                Turn::MustWake
            }
        },
        |line, left| {
            let taken = line.held.is_some() || matches!(left, Left::Output(_));
            assert_eq!(line.behind.is_ready(), !taken);
            assert_eq!((line.permits.in_flight(), line.permits.waiting()), (1, usize::from(taken)));
        },
    );
}

#[test]
fn a_permit_that_is_free() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let permits = Permits::new(1, 0);
            let enter = permits.enter().unwrap();
            (permits, enter)
        },
        |_, _| Turn::MayWait,
        |permits, left| {
            let held = usize::from(matches!(left, Left::Output(_)));
            assert_eq!((permits.in_flight(), permits.waiting()), (held, 0));
        },
    );
    assert_eq!(seen.polls, 1);
}
