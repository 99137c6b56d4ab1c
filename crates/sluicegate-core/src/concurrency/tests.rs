//! The machine by itself, and in front of a service in virtual time.
//!
//! Longer than other files: each test is one short story, and all use the same few helpers.

mod overload;
mod server;
mod shares;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use server::{MILLI, SECOND};

/// An algorithm that keeps its windows and does nothing else.
#[derive(Debug, Default)]
struct Watcher(Vec<Window>);

impl Algorithm for Watcher {
    fn first(&mut self, bounds: Bounds) -> Next {
        Next::new(bounds.first, 20, Why::First)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        self.0.push(window.clone());
        Next::new(bounds.first, 20, Why::Held)
    }
}

/// Requests one after the other, so many at once, each of which takes as long as it is told; returns all changes.
fn rounds<A: Algorithm>(
    limits: &mut Concurrency<A>,
    now: &mut u64,
    rounds: u32,
    outcome: Outcome,
    took: impl Fn(u32) -> u64,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..rounds {
        let mut tickets = Vec::new();
        while let Ok(ticket) = limits.begin(*now, 0) {
            tickets.push(ticket);
        }
        *now += took(limits.in_flight());
        changes.extend(tickets.into_iter().filter_map(|ticket| limits.end(ticket, *now, outcome)));
    }
    changes
}

#[test]
fn a_window_is_judged_once_nearly_all_that_began_in_it_have_ended() {
    let mut limits = Concurrency::new(Settings::default().with_first(100).unwrap(), Watcher::default());
    let slow = limits.begin(0, 0).unwrap();
    let quick: Vec<_> = (0..18).map(|_| limits.begin(0, 0).unwrap()).collect();
    let last = limits.begin(MILLI, 0).unwrap();
    let later = limits.begin(MILLI, 0).unwrap();
    for (n, ticket) in quick.into_iter().enumerate() {
        let outcome = if n < 2 { Outcome::Dropped } else { Outcome::Good };
        limits.end(ticket, MILLI + MILLI / 2, outcome);
    }
    limits.end(last, MILLI + MILLI / 2, Outcome::Good);
    assert_eq!(limits.algorithm().0.len(), 0, "it has not waited for the slow one as long as it lasted");
    limits.end(later, 3 * MILLI, Outcome::Good);
    let [window] = &limits.algorithm().0[..] else { panic!("one window") };
    assert_eq!((window.begun(), window.good(), window.dropped(), window.refused()), (20, 17, 2, 0));
    assert_eq!(window.took(), Some((16.0 * 1.5e6 + 0.5e6) / 17.0));
    // Those dropped have taken a while as well, and the one that still runs 3 ms up to now.
    assert_eq!(window.spent(), Some((18.0 * 1.5e6 + 0.5e6 + 3e6) / 17.0));
    assert_eq!((window.place(), window.most(), window.lost()), (10.5, 20, 2.0 / 19.0));
    limits.end(slow, 9 * MILLI, Outcome::Good);
    assert_eq!(limits.last().map(Window::good), Some(17), "it came too late for its window");
    assert_eq!(limits.in_flight(), 0);
}

#[test]
fn a_window_needs_ten_samples_and_a_request_that_was_given_up_is_none() {
    let mut limits = Concurrency::new(Settings::default(), Watcher::default());
    for n in 0..9 {
        let ticket = limits.begin(n * SECOND, 0).unwrap();
        limits.end(ticket, n * SECOND + 1, Outcome::Good);
    }
    for n in 10..20 {
        let ticket = limits.begin(n * SECOND, 0).unwrap();
        limits.end(ticket, n * SECOND + 1, Outcome::Cancelled);
    }
    assert_eq!(limits.algorithm().0.len(), 0);
    let ticket = limits.begin(20 * SECOND, 0).unwrap();
    limits.end(ticket, 20 * SECOND + 1, Outcome::Good);
    let [window] = &limits.algorithm().0[..] else { panic!("one window") };
    assert_eq!((window.good(), window.cancelled()), (10, 10));
}

#[test]
fn aimd_goes_up_by_one_and_down_by_a_tenth() {
    let aimd = Aimd::new(Duration::from_millis(100)).unwrap();
    let mut limits = Concurrency::new(Settings::default().with_first(20).unwrap(), aimd);
    let mut now = 0;
    let up = rounds(&mut limits, &mut now, 9, Outcome::Good, |_| MILLI);
    assert_eq!(up[0], Change { from: 20, to: 21, why: Why::Room });
    // A window is thought no more than four times as slow as the one before, so it takes some.
    let slow = rounds(&mut limits, &mut now, 20, Outcome::Good, |_| 200 * MILLI);
    assert!(slow.iter().any(|it| it.why == Why::Waiting && it.to == it.from * 9 / 10), "{slow:?}");
    let drops = rounds(&mut limits, &mut now, 3, Outcome::Dropped, |_| MILLI);
    assert!(drops.iter().any(|it| it.why == Why::Drops && it.to == it.from * 9 / 10), "{drops:?}");
}

#[test]
fn nothing_grows_while_less_than_half_is_used_or_nobody_is_refused() {
    fn idle(algorithm: Box<dyn Algorithm>) {
        let mut limits = Concurrency::new(Settings::default().with_first(40).unwrap(), algorithm);
        for now in 0..2000 {
            let tickets: Vec<_> = (0..15).map(|_| limits.begin(now * MILLI, 0).unwrap()).collect();
            for ticket in tickets {
                assert_eq!(limits.end(ticket, now * MILLI + 100, Outcome::Good), None);
            }
        }
        assert_eq!((limits.limit(), limits.changed()), (40, None), "{:?}", limits.algorithm());
        assert!(limits.last().is_some());
    }
    idle(Box::new(Aimd::new(Duration::from_secs(1)).unwrap()));
    idle(Box::new(Gradient::default()));
    idle(Box::new(Knee::default()));
}

#[test]
fn callers_that_leave_lower_no_limit() {
    fn left(algorithm: Box<dyn Algorithm>) {
        let mut limits = Concurrency::new(Settings::default().with_first(20).unwrap(), algorithm);
        let mut now = 0;
        for n in 0..600 {
            let outcome = if n % 2 == 0 { Outcome::Cancelled } else { Outcome::Good };
            for change in rounds(&mut limits, &mut now, 1, outcome, |_| 7 * MILLI) {
                assert!(
                    change.to > change.from || change.why == Why::Dip,
                    "{change:?} {:?}",
                    limits.algorithm()
                );
            }
        }
    }
    left(Box::new(Aimd::new(Duration::from_millis(10)).unwrap()));
    left(Box::new(Gradient::default()));
    left(Box::new(Knee::default()));
}

/// One worker of 10 ms, kept full from so many places on; returns the limit, and how often it dipped.
fn full(first: u32, turns_away: bool) -> (u32, u64) {
    let mut limits = Concurrency::new(Settings::default().with_first(first).unwrap(), Knee::default());
    let mut now = 0;
    for _ in 0..500 {
        let tickets: Vec<_> = std::iter::from_fn(|| limits.begin_or_wait(now, 0).ok()).collect();
        limits.turn_away(turns_away.into());
        now += tickets.len() as u64 * 10 * MILLI;
        for ticket in tickets {
            limits.end(ticket, now, Outcome::Good);
        }
    }
    (limits.limit(), limits.changes().of(Why::Dip))
}

#[test]
fn a_lower_limit_is_looked_for_only_while_somebody_is_turned_away() {
    assert_eq!(full(100, false), (100, 0), "all who wait are served, here or there");
    assert_eq!(full(10, false), (20, 0), "twice what was found out by a limit that had doubled in vain");
    for first in [10, 100] {
        let (limit, dips) = full(first, true);
        assert!(limit <= 2 && dips > 0, "{limit} {dips}");
    }
}

/// A hundred places of ten workers of 10 ms, always full. `away` says how many are turned away in a round, each of which is a tenth of a second.
fn dips_when(away: impl Fn(u64) -> u64) -> u64 {
    let mut limits = Concurrency::new(Settings::default().with_first(100).unwrap(), Knee::default());
    let mut now = 0;
    for round in 0..300 {
        let tickets: Vec<_> = std::iter::from_fn(|| limits.begin_or_wait(now, 0).ok()).collect();
        limits.turn_away(away(round));
        now += tickets.len() as u64 * MILLI;
        for ticket in tickets {
            limits.end(ticket, now, Outcome::Good);
        }
    }
    limits.changes().of(Why::Dip)
}

#[test]
fn no_dip_keeps_out_more_than_were_turned_away_without_it() {
    assert_eq!(
        dips_when(|round| u64::from(round % 30 < 3)),
        0,
        "a burst that just overflows the line, now and then"
    );
    assert_eq!(dips_when(|round| if round < 3 { 15 } else { 0 }), 0, "the first dip would be of fifty");
    assert!(dips_when(|_| 1) > 0, "it goes on");
    assert_eq!(dips_when(|round| if round < 3 { 20 } else { 0 }), 1, "as many at once");
    assert_eq!(dips_when(|round| if round < 3 { 40 } else { 0 }), 1, "and what is more does not last");
}

#[test]
fn a_window_without_refusals_does_not_undo_all_that_spoke_for_a_dip() {
    assert!(dips_when(|round| u64::from(round % 8 != 0)) > 0, "most rounds");
    // Windows are of six rounds: one of four is without.
    assert!(dips_when(|round| u64::from(round % 24 >= 6)) > 0, "most windows");
    assert_eq!(dips_when(|round| u64::from(round % 12 >= 6)), 0, "every other window");
}

#[test]
fn who_is_turned_away_while_a_window_s_last_requests_are_waited_for_counts() {
    let mut limits = Concurrency::new(Settings::default().with_first(20).unwrap(), Watcher::default());
    let tickets: Vec<_> = (0..20).map(|_| limits.begin(0, 0).unwrap()).collect();
    limits.turn_away(2);
    limits.begin(1, 0).unwrap_err();
    for ticket in tickets {
        limits.end(ticket, 2, Outcome::Good);
    }
    assert_eq!(limits.algorithm().0[0].turned_away(), 3);
}

#[test]
fn growth_for_those_who_wait_goes_to_twice_the_knee_and_is_undone_at_once() {
    let mut limits = Concurrency::new(Settings::default(), Knee::default());
    let mut now = 0;
    // Ten workers of 10 ms, always full.
    let mut play = |rounds: u32, away: u64| {
        for _ in 0..rounds {
            let tickets: Vec<_> = std::iter::from_fn(|| limits.begin_or_wait(now, 0).ok()).collect();
            limits.turn_away(away);
            now += (tickets.len() as u64).max(10) * MILLI;
            for ticket in tickets {
                limits.end(ticket, now, Outcome::Good);
            }
        }
        limits.limit()
    };
    let found = play(500, 1);
    assert!(found <= 13, "{found}");
    let grown = play(300, 0);
    assert!(grown >= 18, "{grown}");
    let after = play(15, 1);
    assert!(after <= found + 1, "{after} of {grown}");
}

#[test]
fn who_is_turned_away_before_a_window_s_first_request_counts() {
    let mut limits = Concurrency::new(Settings::default().with_first(1).unwrap(), Watcher::default());
    limits.turn_away(3);
    for now in 0..20 {
        let ticket = limits.begin_or_wait(now, 0).unwrap();
        limits.end(ticket, now + 1, Outcome::Good);
    }
    assert_eq!(limits.algorithm().0[0].turned_away(), 3);
}

#[test]
fn who_is_refused_and_who_is_turned_away_are_counted_apart() {
    let mut limits = Concurrency::new(Settings::default().with_first(1).unwrap(), Watcher::default());
    for now in 0..20 {
        let ticket = limits.begin(now, 0).unwrap();
        limits.begin_or_wait(now, 0).unwrap_err();
        if now % 2 == 0 {
            limits.begin(now, 0).unwrap_err();
        }
        if now % 5 == 0 {
            limits.turn_away(2);
        }
        limits.end(ticket, now + 1, Outcome::Good);
    }
    let [window] = &limits.algorithm().0[..] else { panic!("one window") };
    // The last ones come after the twentieth has begun, which closes it.
    assert_eq!((window.refused(), window.turned_away()), (19 + 10, 10 + 8));
}

#[test]
fn when_all_callers_leave_before_any_answer_the_knee_is_looked_for_below() {
    let mut limits = Concurrency::new(Settings::default().with_first(500).unwrap(), Knee::default());
    let mut now = 0;
    rounds(&mut limits, &mut now, 300, Outcome::Cancelled, |_| SECOND);
    assert!(limits.limit() < 20, "{}", limits.limit());
    rounds(&mut limits, &mut now, 500, Outcome::Good, |_| MILLI);
    assert!(limits.limit() > 40, "{}", limits.limit());
}

#[test]
fn when_all_time_out_no_limit_is_frozen_and_each_comes_back() {
    fn out(algorithm: Box<dyn Algorithm>, windows: u32) {
        let mut limits = Concurrency::new(Settings::default().with_first(1000).unwrap(), algorithm);
        let mut now = 0;
        let drops = rounds(&mut limits, &mut now, windows, Outcome::Dropped, |_| SECOND);
        assert!(limits.limit() < 20, "{} {:?}", limits.limit(), limits.algorithm());
        assert!(drops.iter().all(|change| change.to < change.from && change.why == Why::Drops));
        let low = limits.limit();
        // A service with room for many.
        rounds(&mut limits, &mut now, 500, Outcome::Good, |_| MILLI);
        assert!(limits.limit() > 2 * low, "{low} {} {:?}", limits.limit(), limits.algorithm());
    }
    out(Box::new(Gradient::default()), 20);
    out(Box::new(Knee::default()), 20);
    out(Box::new(Aimd::new(Duration::from_secs(1)).unwrap()), 100);
}

#[test]
fn a_dip_whose_load_has_gone_refuses_none_of_the_next() {
    let mut limits = Concurrency::new(Settings::default().with_first(200).unwrap(), Knee::default());
    let mut now = 0;
    while limits.changed().is_none_or(|it| it.why != Why::Dip) {
        rounds(&mut limits, &mut now, 1, Outcome::Good, |in_flight| u64::from(in_flight) * MILLI);
    }
    assert_eq!(limits.limit(), 100);
    now += 5 * SECOND;
    let begun = std::iter::from_fn(|| limits.begin(now, 0).ok()).count();
    assert_eq!((begun, limits.limit()), (200, 200));
    assert_eq!(limits.changed(), Some(Change { from: 100, to: 200, why: Why::DipOver }));
}

#[test]
fn the_limit_stays_between_its_bounds_whatever_an_algorithm_says() {
    #[derive(Debug)]
    struct Wild(u32);
    impl Algorithm for Wild {
        fn first(&mut self, _: Bounds) -> Next {
            Next::new(0, 0, Why::First)
        }

        fn next(&mut self, _: &Window, bounds: Bounds) -> Next {
            assert_eq!([bounds.hold(f64::NAN), bounds.hold(1e300), bounds.hold(-1.0)], [3.0, 5.0, 3.0]);
            self.0 = self.0.wrapping_sub(1);
            Next { after: Some(u32::MAX), ..Next::new(self.0, 0, Why::Held) }
        }
    }
    let mut limits = Concurrency::new(Settings::default().with_limits(3, 5).unwrap(), Wild(2));
    assert_eq!(limits.limit(), 3);
    let mut now = 0;
    for _ in 0..20 {
        rounds(&mut limits, &mut now, 1, Outcome::Good, |_| MILLI);
        assert!((3..=5).contains(&limits.limit()));
    }
    assert!(matches!(limits.changed(), Some(Change { to: 5, .. })));
}

#[test]
fn a_clock_that_stands_or_steps_back_breaks_nothing() {
    fn back(algorithm: Box<dyn Algorithm>) {
        let mut limits = Concurrency::new(Settings::default(), algorithm);
        let mut held = Vec::new();
        for n in 0..20_000_u64 {
            let now = if n % 3 == 0 { 0 } else { n % 7 * SECOND };
            while let Ok(ticket) = limits.begin(now, 0) {
                held.push(ticket);
            }
            let outcome = if n % 5 == 0 { Outcome::Dropped } else { Outcome::Good };
            let ticket = held.swap_remove(usize::try_from(n).unwrap() % held.len());
            limits.end(ticket, if n % 2 == 0 { 0 } else { u64::MAX }, outcome);
            assert!((1..=10_000).contains(&limits.limit()));
        }
        assert!(limits.last().is_some());
    }
    back(Box::new(Fixed));
    back(Box::new(Aimd::new(Duration::from_secs(1)).unwrap()));
    back(Box::new(Gradient::default()));
    back(Box::new(Knee::default()));
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    let some = Settings::default();
    let fields = [
        some.clone().with_limits(0, 5),
        some.clone().with_limits(5, 4),
        some.clone().with_limits(1, u32::MAX),
        some.clone().with_first(0),
        some.clone().with_first(10_001),
        some.clone().with_window(Duration::ZERO),
        some.clone().with_shares(&[0.5, f64::NAN]),
        some.clone().with_shares(&[0.5, 0.6]),
        some.with_shares(&[-0.1]),
    ];
    let fields = fields.map(|settings| settings.unwrap_err().field());
    assert_eq!(fields, ["min", "max", "max", "first", "first", "window", "shares", "shares", "shares"]);
    assert!(Settings::default().with_shares(&[0.1; 10]).is_ok(), "ten tenths are one");
    let aimd = Aimd::new(Duration::from_secs(1)).unwrap();
    let fields = [Aimd::new(Duration::ZERO).map(|_| ()), aimd.with_decrease(f64::NAN).map(|_| ())];
    assert_eq!(fields.map(|it| it.unwrap_err().field()), ["timeout", "decrease"]);
    let gradients = [Gradient::default().with_tolerance(0.9), Gradient::default().with_queue(f64::INFINITY)];
    assert_eq!(gradients.map(|it| it.unwrap_err().field()), ["tolerance", "queue"]);
}

proptest! {
    /// Whatever happens to requests, no more begin than the limit says at that moment, and all places come back.
    #[test]
    fn never_more_than_the_limit(
        first in 1_u32..30,
        which in 0_u8..3,
        ops in prop::collection::vec((0_u8..8, 0_u64..50, 0_usize..100), 0..2000),
    ) {
        let algorithm: Box<dyn Algorithm> = match which {
            0 => Box::new(Aimd::new(Duration::from_millis(30)).unwrap()),
            1 => Box::new(Gradient::default()),
            _ => Box::new(Knee::default()),
        };
        let mut limits = Concurrency::new(Settings::default().with_first(first).unwrap(), algorithm);
        let (mut held, mut now) = (Vec::new(), 0);
        for (op, wait, pick) in ops {
            now += wait * MILLI;
            if op < 5 || held.is_empty() {
                let room = held.len() < usize::try_from(limits.limit()).unwrap();
                match limits.begin(now, 0) {
                    Ok(ticket) => { prop_assert!(room); held.push(ticket) }
                    Err(refusal) => prop_assert!(!room && refusal == Refusal::Limit),
                }
            } else {
                let before = limits.limit();
                let outcome = [Outcome::Good, Outcome::Dropped, Outcome::Cancelled][usize::from(op - 5)];
                let change = limits.end(held.swap_remove(pick % held.len()), now, outcome);
                prop_assert_eq!(change.map(|it| it.from), (limits.limit() != before).then_some(before));
                prop_assert!(change.is_none_or(|it| it.to == limits.limit() && Some(it) == limits.changed()));
            }
            prop_assert_eq!(usize::try_from(limits.in_flight()).unwrap(), held.len());
        }
        for ticket in held {
            limits.end(ticket, now, Outcome::Cancelled);
        }
        prop_assert_eq!(limits.in_flight(), 0);
    }
}
