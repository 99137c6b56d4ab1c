//! A place in the line of permits.

use sluicegate::concurrency::{self, Fixed};
use sluicegate::permits::{Enter, Permit, Permits, Settings, Who};
use sluicegate::queue::{self, Refusal, Rejected};
use sluicegate::timer::ManualTime;
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
fn goes_on(line: &mut Line, left: &Left<'_, Result<Permit, Rejected>>) {
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

/// One permit, which somebody holds, and a line of these settings, in which waits who has until instant 100.
fn policed(settings: Settings) -> ((Permits, Option<Permit>, ManualTime), Enter) {
    let time = ManualTime::new();
    let permits = Permits::with(settings, time.clone());
    let held = permits.try_enter();
    let enter = permits.enter_as(Who { deadline: 100, ..Who::default() }).unwrap();
    ((permits, held, time), enter)
}

/// Nobody sleeps or waits, and what is held is held by somebody.
fn is_as_found(
    (permits, held, time): &(Permits, Option<Permit>, ManualTime),
    left: &Left<'_, Result<Permit, Rejected>>,
) {
    let taken = usize::from(held.is_some()) + usize::from(matches!(left, Left::Output(Ok(_))));
    assert_eq!((permits.in_flight(), permits.waiting(), time.next()), (taken, 0, None));
}

/// As many as one that is found out, which stays the same.
fn found(line: queue::Settings) -> Settings {
    Settings::new(0, line).adaptive(concurrency::Settings::default().with_first(1).unwrap(), Fixed)
}

#[test]
fn a_deadline_that_passes() {
    for settings in [|line| Settings::new(1, line), found] {
        let seen = Drops::new().keeping_no_waker().run_now(
            || policed(settings(queue::Settings::new(2))),
            |(_, _, time), step| match step {
                1 => Turn::MayWait,
                2 => {
                    time.set(100);
                    Turn::MayWait
                }
                _ => {
                    time.set(101);
                    Turn::MustWake
                }
            },
            |line, left| {
                if let Left::Output(asked) = &left {
                    assert_eq!(asked.as_ref().unwrap_err().why(), Refusal::Late);
                }
                is_as_found(line, &left);
            },
        );
        assert_eq!(seen.polls, 2);
    }
}

#[test]
fn a_place_in_the_line_that_is_given_to_another() {
    for settings in [|line| Settings::new(1, line), found] {
        Drops::new().keeping_no_waker().run_now(
            || policed(settings(queue::Settings::new(1).displacing_oldest())),
            |(permits, _, _), step| match step {
                1 => Turn::MayWait,
                _ => {
                    drop(permits.enter().unwrap());
                    Turn::MustWake
                }
            },
            |line, left| {
                if let Left::Output(asked) = &left {
                    assert_eq!(asked.as_ref().unwrap_err().why(), Refusal::Displaced);
                }
                is_as_found(line, &left);
            },
        );
    }
}

#[test]
fn a_permit_that_comes_back_where_their_number_is_found_out() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || policed(found(queue::Settings::new(2))),
        |(_, held, _), step| match step {
            1 => Turn::MayWait,
            _ => {
                *held = None;
                Turn::MustWake
            }
        },
        |line, left| is_as_found(line, &left),
    );
    assert_eq!(seen.polls, 2);
}

/// Of another partition both permits were wanted lately.
#[test]
fn a_permit_that_was_kept_for_others_in_vain() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let limit = concurrency::Settings::default().with_first(2).unwrap();
            let limit = limit.with_shares(&[1.0]).unwrap();
            let settings = Settings::new(0, queue::Settings::new(1)).adaptive(limit, Fixed);
            let permits = Permits::with(settings, time.clone());
            drop([permits.try_enter(), permits.try_enter()]);
            let enter = permits.enter_as(Who { partition: 1, ..Who::default() }).unwrap();
            ((permits, None, time), enter)
        },
        |(_, _, time), _| {
            // The next instant at which somebody looks: by then it may be lent, or not yet.
            time.set(time.next().unwrap());
            Turn::MustWake
        },
        |line, left| is_as_found(line, &left),
    );
    assert!((2..=4).contains(&seen.polls), "{}", seen.polls);
}
