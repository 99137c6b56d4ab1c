//! A service with a known distribution, hedged as shells do it: the winner's rival is dropped, and its time never known.

use std::time::Duration;

use super::*;
use crate::numbers::Numbers;

const MILLI: u64 = 1_000_000;

/// A time in nanoseconds, from an even number.
type Law = fn(f64) -> f64;

const EXPONENTIAL: Law = |u| -10e6 * u.ln();
const PARETO: Law = |u| 1e6 * u.powf(-1.0 / 1.5);
const EVEN: Law = |u| 5e6 + 1e5 * u;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time of some seconds at the most"
)]
fn took(law: Law, numbers: &mut Numbers) -> u64 {
    law(numbers.even()) as u64
}

/// Requests one after the other, hedged. Returns the share that was slow.
fn serve(hedge: &mut Hedge, law: Law, numbers: &mut Numbers, requests: u32) -> f64 {
    let mut slow = 0;
    for _ in 0..requests {
        let (first, second) = (took(law, numbers), took(law, numbers));
        let mut primary = hedge.begin(0);
        let at = hedge.next(&primary).unwrap();
        if first <= at {
            hedge.answered(primary, first);
            continue;
        }
        slow += 1;
        match hedge.due(&mut primary, at, false) {
            // The first is dropped, and nobody knows how long it would have taken.
            Due::Hedge if at + second < first => {}
            _ => hedge.answered(primary, first),
        }
    }
    f64::from(slow) / f64::from(requests)
}

fn tracked(percentile: f64) -> Hedge {
    let settings = Settings::tracked(percentile, Duration::from_millis(50)).unwrap();
    Hedge::new(&settings.with_tail(1.0).unwrap().with_budget(1.0, 100).unwrap())
}

#[test]
fn the_share_that_is_hedged_is_the_one_asked_for_though_every_hedge_cuts_off_a_slow_answer() {
    for law in [EXPONENTIAL, PARETO, EVEN] {
        for percentile in [0.5, 0.9, 0.95, 0.99] {
            let (mut hedge, mut numbers) = (tracked(percentile), Numbers(7));
            serve(&mut hedge, law, &mut numbers, 5000);
            let slow = serve(&mut hedge, law, &mut numbers, 100_000);
            let wanted = 1.0 - percentile;
            assert!((slow / wanted - 1.0).abs() < 0.1, "{slow} instead of {wanted}");
        }
    }
}

#[test]
fn a_service_that_becomes_ten_times_slower_or_faster_is_followed() {
    let (mut hedge, mut numbers) = (tracked(0.95), Numbers(3));
    serve(&mut hedge, |u| -1e6 * u.ln(), &mut numbers, 10_000);
    for law in [|u: f64| -10e6 * u.ln(), |u: f64| -1e6 * u.ln()] {
        serve(&mut hedge, law, &mut numbers, 4000);
        let slow = serve(&mut hedge, law, &mut numbers, 20_000);
        assert!((0.04..=0.06).contains(&slow), "{slow}");
    }
}

#[test]
fn the_first_answers_make_the_first_estimate() {
    let mut hedge = Hedge::new(&Settings::tracked(0.95, Duration::from_secs(1)).unwrap());
    for n in 0..80 {
        assert_eq!(hedge.delay(), 1_000_000_000, "not known yet");
        let primary = hedge.begin(0);
        hedge.answered(primary, (n * 37 % 80 + 1) * MILLI);
    }
    assert_eq!(hedge.delay(), 77 * MILLI);
}

#[test]
fn a_first_guess_that_is_far_too_short_is_left() {
    let settings = Settings::tracked(0.95, Duration::from_nanos(1)).unwrap();
    let (mut hedge, mut numbers) = (Hedge::new(&settings), Numbers(5));
    serve(&mut hedge, EXPONENTIAL, &mut numbers, 3000);
    let slow = serve(&mut hedge, EXPONENTIAL, &mut numbers, 20_000);
    assert!((0.04..=0.06).contains(&slow), "{slow}");
}

#[test]
fn a_service_that_always_takes_the_same_time_and_then_another_is_followed() {
    let (mut hedge, mut numbers) = (tracked(0.95), Numbers(3));
    serve(&mut hedge, |_| 1e6, &mut numbers, 1000);
    serve(&mut hedge, |_| 10e6, &mut numbers, 500);
    assert!((9 * MILLI..12 * MILLI).contains(&hedge.delay()), "{}", hedge.delay());
}

#[test]
fn answers_in_no_time_leave_no_debt() {
    let (mut hedge, mut numbers) = (tracked(0.95), Numbers(3));
    serve(&mut hedge, |_| 0.0, &mut numbers, 100_000);
    let before = hedge.delay();
    serve(&mut hedge, |_| 10e6, &mut numbers, 10);
    assert!(hedge.delay() > before, "{before} and {}", hedge.delay());
}

#[test]
fn attempts_that_fail_or_are_dropped_say_nothing() {
    let mut hedge = tracked(0.9);
    serve(&mut hedge, EXPONENTIAL, &mut Numbers(1), 1000);
    let before = hedge.delay();
    // Errors come at once. As answers, they would pull the delay to zero.
    (0..10_000).for_each(|_| drop(hedge.begin(0)));
    assert_eq!(hedge.delay(), before);
}

#[test]
fn nothing_pays_for_more_hedges_than_the_budget_says() {
    let settings = Settings::fixed(Duration::from_millis(1)).unwrap();
    let settings = settings.with_tail(1.0).unwrap().with_budget(0.05, 3).unwrap();
    let mut hedge = Hedge::new(&settings);
    let mut hedges = 0;
    for _ in 0..1000 {
        let mut primary = hedge.begin(0);
        match hedge.due(&mut primary, MILLI, false) {
            Due::Hedge => hedges += 1,
            other => assert_eq!(other, Due::Keep(Why::Budget)),
        }
    }
    assert_eq!(hedges, 53, "50 and what was saved up");
}

#[test]
fn none_under_overload_and_it_is_learned_from_all_the_same() {
    let mut hedge = tracked(0.9);
    serve(&mut hedge, EXPONENTIAL, &mut Numbers(1), 1000);
    let (before, saved) = (hedge.delay(), hedge.budget());
    for _ in 0..10 {
        let mut primary = hedge.begin(0);
        let at = hedge.next(&primary).unwrap();
        assert_eq!(hedge.due(&mut primary, at, true), Due::Keep(Why::Overloaded));
    }
    assert!(hedge.delay() > before, "slow is slow");
    assert!(hedge.budget() >= saved, "and cost nothing");
}

#[test]
fn when_all_are_slow_nobody_hedges_though_there_is_a_budget() {
    let settings = Settings::fixed(Duration::from_millis(1)).unwrap().with_budget(1.0, 1000).unwrap();
    let mut hedge = Hedge::new(&settings);
    let due = |hedge: &mut Hedge| {
        let mut primary = hedge.begin(0);
        hedge.due(&mut primary, MILLI, false)
    };
    let hedges = (0..1000).filter(|_| due(&mut hedge) == Due::Hedge).count();
    assert!((5..20).contains(&hedges), "until it is clear that it is not one in ten: {hedges}");
    assert_eq!(due(&mut hedge), Due::Keep(Why::Crowd));
    for _ in 0..5000 {
        let primary = hedge.begin(0);
        hedge.answered(primary, 1);
    }
    assert_eq!(due(&mut hedge), Due::Hedge, "it is over");
}

#[test]
fn a_thousand_at_one_instant_with_their_slow_ones_in_a_row_are_no_overload() {
    let mut hedge = Hedge::new(&Settings::fixed(Duration::from_millis(10)).unwrap());
    for _ in 0..10 {
        let mut all: Vec<_> = (0..1000).map(|_| hedge.begin(0)).collect();
        let mut slow = all.split_off(960);
        all.into_iter().for_each(|quick| hedge.answered(quick, MILLI));
        for primary in &mut slow {
            assert_eq!(hedge.due(primary, 10 * MILLI, false), Due::Hedge);
        }
    }
}

#[test]
fn as_many_hedges_as_a_request_may_have_each_a_delay_after_the_last() {
    let settings = Settings::fixed(Duration::from_millis(2)).unwrap().with_most(2).unwrap();
    let mut hedge = Hedge::new(&settings);
    let mut primary = hedge.begin(MILLI);
    assert_eq!(hedge.next(&primary), Some(3 * MILLI));
    assert_eq!(hedge.due(&mut primary, 2 * MILLI, false), Due::Early(3 * MILLI));
    assert_eq!(hedge.due(&mut primary, 3 * MILLI, false), Due::Hedge);
    assert_eq!(hedge.due(&mut primary, 3 * MILLI, false), Due::Early(5 * MILLI));
    assert_eq!(hedge.due(&mut primary, 9 * MILLI, false), Due::Hedge);
    assert_eq!(hedge.next(&primary), None);
    assert_eq!(hedge.due(&mut primary, u64::MAX, false), Due::Keep(Why::Enough));
    let slow = hedge.slow();
    hedge.answered(primary, 10 * MILLI);
    assert_eq!(hedge.slow(), slow, "one observation a request");
}

#[test]
fn an_answer_that_was_late_but_seen_before_the_delay_was_is_slow() {
    let mut hedge = Hedge::new(&Settings::fixed(Duration::from_millis(2)).unwrap());
    let primary = hedge.begin(0);
    hedge.answered(primary, 2 * MILLI);
    assert_eq!(hedge.slow(), 0.0);
    let primary = hedge.begin(0);
    hedge.answered(primary, 2 * MILLI + 1);
    assert!(hedge.slow() > 0.0);
}

#[test]
fn a_clock_that_steps_back_or_ends_breaks_nothing() {
    let mut hedge = tracked(0.95);
    for _ in 0..1000 {
        let primary = hedge.begin(100);
        hedge.answered(primary, 50);
    }
    assert!(hedge.delay() <= 50 * MILLI);
    let mut primary = hedge.begin(u64::MAX);
    assert_eq!(hedge.next(&primary), Some(u64::MAX));
    assert!(!matches!(hedge.due(&mut primary, u64::MAX, false), Due::Early(_)));
    for _ in 0..1000 {
        let mut primary = hedge.begin(0);
        hedge.due(&mut primary, u64::MAX, false);
    }
    assert!(hedge.delay() > 0);
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    let some = Duration::from_millis(1);
    let fields = [
        Settings::fixed(Duration::ZERO),
        Settings::tracked(1.0, some),
        Settings::tracked(f64::NAN, some),
        Settings::tracked(0.9, Duration::ZERO),
        Settings::fixed(some).unwrap().with_budget(2.0, 1),
        Settings::fixed(some).unwrap().with_budget(0.1, 0),
        Settings::tracked(0.9, some).unwrap().with_tail(0.05),
        Settings::fixed(some).unwrap().with_tail(1.5),
        Settings::fixed(some).unwrap().with_most(0),
    ];
    let fields = fields.map(|settings| settings.unwrap_err().field());
    let expected = ["delay", "percentile", "percentile", "first", "share", "cap", "tail", "tail", "most"];
    assert_eq!(fields, expected);
}

#[test]
fn other_settings_bring_no_hedge_back_and_keep_what_is_known_of_a_delay_that_is_as_before() {
    let settings = Settings::tracked(0.9, Duration::from_millis(50)).unwrap().with_budget(0.0, 10).unwrap();
    let mut hedge = Hedge::new(&settings);
    for n in 0..200 {
        let primary = hedge.begin(0);
        hedge.answered(primary, n % 10 * MILLI);
    }
    let known = hedge.delay();
    assert!(known < 20 * MILLI, "{known}");
    let mut before = hedge.begin(0);
    for _ in 0..7 {
        let mut slow = hedge.begin(0);
        assert_eq!(hedge.due(&mut slow, 50 * MILLI, false), Due::Hedge);
    }
    let (known, slow) = (hedge.delay(), hedge.slow());
    let more = settings.clone().with_budget(1.0, 20).unwrap().with_most(2).unwrap().with_tail(1.0).unwrap();
    hedge.apply(&more);
    assert_eq!((hedge.budget(), hedge.delay(), hedge.slow()), (3, known, slow));
    assert_eq!((before.most(), hedge.begin(0).most(), hedge.budget()), (1, 2, 4), "by the new share");
    assert_eq!(hedge.due(&mut before, 50 * MILLI, false), Due::Hedge);
    assert_eq!(before.next(), None, "one, as when it began");

    let other = Settings::fixed(Duration::from_millis(7)).unwrap().with_budget(1.0, 2).unwrap();
    hedge.apply(&other);
    assert_eq!((hedge.delay(), hedge.budget(), hedge.slow().to_bits()), (7 * MILLI, 2, 0));
}

#[test]
fn who_begins_by_the_terms_is_who_begins_at_the_machine() {
    let settings = Settings::tracked(0.9, Duration::from_millis(5)).unwrap().with_budget(0.5, 3).unwrap();
    let (mut at_it, mut by_terms) = (Hedge::new(&settings), Hedge::new(&settings));
    for round in 0..300 {
        // Three begin, two of which are slow; who counts them says so before the first is due.
        let mut ones = [0, 1, 2].map(|_| at_it.begin(round));
        let mut others = [0, 1, 2].map(|_| by_terms.terms().begin(round));
        assert_eq!(ones, others);
        by_terms.begun(3);
        for place in [0, 2] {
            let at = round + 9 * MILLI;
            let due = at_it.due(&mut ones[place], at, false);
            assert_eq!(by_terms.due(&mut others[place], at, false), due);
        }
        let ([_, one, _], [_, other, _]) = (ones, others);
        at_it.answered(one, round + 7);
        by_terms.answered(other, round + 7);
        assert_eq!((at_it.budget(), at_it.terms()), (by_terms.budget(), by_terms.terms()));
    }
}
