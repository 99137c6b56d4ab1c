//! What a steward says to each, and its intensity against a plain list.
//!
//! Longer than other files: each test is one short story, and all use the same few helpers.

mod storm;

use std::time::Duration;

use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn settings(most: u32, within: u64) -> Settings {
    Settings::default()
        .with_intensity(most, Duration::from_nanos(within))
        .unwrap()
        .with_backoff(Backoff::NONE)
        .with_grace(Duration::from_nanos(100))
        .with_patience(Duration::from_nanos(10))
}

/// A steward of so many wards, all started at zero.
fn started(settings: Settings, wards: &[When]) -> Steward {
    let mut steward = Steward::new(settings);
    for when in wards {
        steward.add(*when);
    }
    for ward in 0..wards.len() {
        assert_eq!(steward.step(0), Step::Start { ward, generation: 1 }, "in the order they were added");
    }
    steward
}

/// The ward has failed and is gone at once.
fn fails(steward: &mut Steward, ward: usize, now: u64) -> Verdict {
    let generation = steward.generation(ward);
    let verdict = steward.ended(ward, generation, Exit::Failed, now, 0);
    assert_eq!(steward.step(now), Step::Abort { ward });
    steward.gone(ward, generation);
    verdict
}

#[test]
fn three_restarts_in_a_span_and_not_a_fourth() {
    let mut steward = started(settings(3, 100), &[When::Always]);
    for (now, generation) in [(10, 2), (20, 3), (30, 4)] {
        assert_eq!(fails(&mut steward, 0, now), Verdict::Restart { at: now });
        assert_eq!(steward.step(now), Step::Start { ward: 0, generation });
    }
    let mut at_the_edge = steward.clone();
    assert_eq!(fails(&mut steward, 0, 109), Verdict::Escalate);
    assert_eq!(steward.step(109), Step::Over(Outcome::Escalated { ward: 0 }));
    assert_eq!(
        fails(&mut at_the_edge, 0, 110),
        Verdict::Restart { at: 110 },
        "the first is no more in the span"
    );
}

#[test]
fn with_no_restarts_allowed_the_first_failure_is_the_last() {
    let mut steward = started(settings(0, 1), &[When::Always, When::Always]);
    assert_eq!(fails(&mut steward, 0, 10), Verdict::Escalate);
    assert_eq!(steward.step(10), Step::Ask { ward: 1, until: 110 });
}

#[test]
fn the_pause_doubles_and_begins_anew_after_a_long_life() {
    let backoff = Backoff::new(Duration::from_nanos(10), Duration::from_nanos(35)).unwrap();
    let mut steward = started(settings(100, 1000).with_backoff(backoff), &[When::Always]);
    let mut now = 0;
    for pause in [10, 20, 35, 35, 10] {
        now += if pause == 10 { 1000 } else { 999 };
        let generation = steward.generation(0);
        let at = now + pause;
        assert_eq!(steward.ended(0, generation, Exit::Failed, now, u64::MAX), Verdict::Restart { at });
        assert_eq!(steward.step(now), Step::Abort { ward: 0 });
        steward.gone(0, generation);
        assert_eq!(steward.step(at - 1), Step::Wait { until: Some(at) });
        now = at;
        assert!(matches!(steward.step(now), Step::Start { .. }));
    }
}

#[test]
fn a_good_end_comes_too_early_unless_it_is_allowed() {
    for (when, verdict) in [
        (When::Always, Verdict::Restart { at: 5 }),
        (When::OnFailure, Verdict::Over),
        (When::Never, Verdict::Over),
    ] {
        let mut steward = started(settings(3, 100), &[when]);
        assert_eq!(steward.ended(0, 1, Exit::Done, 5, 0), verdict);
        assert_eq!(steward.step(5), Step::Abort { ward: 0 }, "nothing of it publishes any more");
        steward.gone(0, 1);
        if verdict == Verdict::Over {
            assert_eq!(steward.step(5), Step::Over(Outcome::Done));
        }
    }
    let mut steward = started(settings(3, 100), &[When::Never]);
    assert_eq!(fails(&mut steward, 0, 5), Verdict::Over);
}

/// What is left of it may still run: a second one beside it would be two.
#[test]
fn nobody_is_started_before_the_last_generation_is_gone() {
    let mut steward = started(settings(3, 100), &[When::Always]);
    assert_eq!(steward.ended(0, 1, Exit::Failed, 5, 0), Verdict::Restart { at: 5 });
    assert_eq!(steward.step(5), Step::Abort { ward: 0 });
    assert_eq!(steward.step(5), Step::Wait { until: Some(15) });
    assert_eq!(steward.step(14), Step::Wait { until: Some(15) });
    assert_eq!(steward.step(15), Step::Leak { ward: 0 }, "its patience is over");
    assert_eq!(steward.step(1000), Step::Wait { until: None }, "it can still publish");
    steward.gone(0, 2);
    steward.gone(7, 1);
    assert_eq!(steward.step(1000), Step::Wait { until: None }, "of no generation that there was");
    steward.gone(0, 1);
    assert_eq!(steward.step(1000), Step::Start { ward: 0, generation: 2 });
    steward.gone(0, 1);
    assert_eq!(
        steward.ended(0, 1, Exit::Failed, 1000, 0),
        Verdict::Expected,
        "of a generation that is no more"
    );
    assert_eq!(steward.step(1000), Step::Wait { until: None });
}

#[test]
fn all_for_one_stops_in_reverse_and_is_one_restart() {
    let all = settings(1, 100).with_strategy(Strategy::OneForAll);
    let mut steward = started(all, &[When::Always, When::Always, When::OnFailure, When::Always]);
    assert_eq!(steward.ended(2, 1, Exit::Done, 1, 0), Verdict::Over);
    assert_eq!(steward.step(1), Step::Abort { ward: 2 });
    steward.gone(2, 1);

    assert_eq!(fails(&mut steward, 1, 10), Verdict::Restart { at: 10 });
    assert_eq!(steward.step(10), Step::Ask { ward: 3, until: 60 });
    assert_eq!(steward.step(10), Step::Wait { until: Some(60) }, "half of the grace time, for two");
    assert_eq!(steward.ended(3, 1, Exit::Done, 20, 0), Verdict::Expected);
    assert_eq!(steward.step(20), Step::Abort { ward: 3 });
    steward.gone(3, 1);
    assert_eq!(steward.step(20), Step::Ask { ward: 0, until: 110 });
    assert_eq!(steward.step(20), Step::Wait { until: Some(110) }, "all that is left");
    assert_eq!(steward.step(110), Step::Abort { ward: 0 });
    steward.gone(0, 1);
    for ward in [0, 1, 3] {
        assert_eq!(steward.step(110), Step::Start { ward, generation: 2 }, "what was done stays so");
    }
    assert_eq!(fails(&mut steward, 0, 209), Verdict::Escalate, "a second one in 100");
}

/// Erlang's temporary children: one is stopped with its siblings, and not started with them.
#[test]
fn all_for_one_starts_nobody_again_who_never_is() {
    let all = settings(1, 100).with_strategy(Strategy::OneForAll);
    let mut steward = started(all, &[When::Never, When::Always, When::Never, When::Never]);
    assert_eq!(fails(&mut steward, 1, 10), Verdict::Restart { at: 10 });
    // One ends as it was to, one by itself, and one not before it is cut off.
    assert!(matches!(steward.step(10), Step::Ask { ward: 3, .. }));
    assert_eq!(steward.ended(3, 1, Exit::Done, 10, 0), Verdict::Over);
    assert_eq!(steward.ended(2, 1, Exit::Failed, 10, 0), Verdict::Over);
    for ward in [2, 3] {
        assert_eq!(steward.step(10), Step::Abort { ward });
        steward.gone(ward, 1);
        assert!(steward.is_over(ward));
    }
    assert!(matches!(steward.step(10), Step::Ask { ward: 0, .. }));
    assert_eq!(steward.step(110), Step::Abort { ward: 0 });
    assert_eq!(steward.step(120), Step::Leak { ward: 0 });
    assert!(!steward.is_over(0));
    assert_eq!(
        steward.step(120),
        Step::Start { ward: 1, generation: 2 },
        "nobody comes in the place of what is left running"
    );
    assert_eq!(steward.step(120), Step::Wait { until: None });
    steward.gone(0, 1);
    assert!(steward.is_over(0) && !steward.is_over(1) && !steward.is_over(7));
}

#[test]
fn who_was_not_started_yet_is_so_when_all_start_anew() {
    let all = settings(1, 100).with_strategy(Strategy::OneForAll);
    let mut steward = started(all, &[When::Always]);
    let late = steward.add(When::Never);
    assert_eq!(fails(&mut steward, 0, 10), Verdict::Restart { at: 10 });
    assert_eq!(steward.step(10), Step::Start { ward: 0, generation: 2 });
    assert_eq!(steward.step(10), Step::Start { ward: late, generation: 1 });
}

/// Who has ended well before anybody asked it to is done. What an end means that was asked for, nobody knows.
#[test]
fn all_for_one_runs_nobody_again_who_was_done_by_itself() {
    let all = settings(1, 100).with_strategy(Strategy::OneForAll);
    let mut steward = started(all, &[When::OnFailure, When::OnFailure, When::OnFailure, When::Always]);
    assert_eq!(steward.ended(3, 1, Exit::Failed, 10, 0), Verdict::Restart { at: 10 });
    assert_eq!(steward.ended(0, 1, Exit::Done, 10, 0), Verdict::Over, "by itself");
    assert_eq!(steward.ended(1, 1, Exit::Failed, 10, 0), Verdict::Expected);
    for ward in [0, 1, 3] {
        assert_eq!(steward.step(10), Step::Abort { ward });
        steward.gone(ward, 1);
    }
    assert!(matches!(steward.step(10), Step::Ask { ward: 2, .. }));
    assert_eq!(steward.ended(2, 1, Exit::Done, 10, 0), Verdict::Expected, "as it was to");
    assert_eq!(steward.step(10), Step::Abort { ward: 2 });
    steward.gone(2, 1);
    for ward in [1, 2, 3] {
        assert_eq!(steward.step(10), Step::Start { ward, generation: 2 });
    }
    assert_eq!(steward.step(10), Step::Wait { until: None });
}

/// One grace and one patience, however many are stuck; and each has a part of both.
#[test]
fn a_shutdown_of_many_who_are_stuck_takes_one_grace_and_one_patience() {
    for (grace, patience, wards) in
        [(100, 10, 1), (100, 10, 2), (100, 50, 5), (7, 100, 12), (0, 50, 3), (50, 0, 3)]
    {
        let settings = settings(3, 1000)
            .with_grace(Duration::from_nanos(grace))
            .with_patience(Duration::from_nanos(patience));
        let mut steward = started(settings, &vec![When::Always; wards]);
        steward.shut_down(1000);
        let (mut now, mut shares) = (1000, Vec::new());
        loop {
            match steward.step(now) {
                Step::Ask { .. } => shares.push(now),
                Step::Wait { until } => now = until.expect("nobody ever goes"),
                Step::Over(_) => break,
                _ => {}
            }
        }
        assert!(now <= 1000 + grace + patience, "{} for {wards} of {grace} and {patience}", now - 1000);
        let spared = 2 * wards as u64;
        assert!(
            now + spared >= 1000 + grace + patience,
            "{} for {wards}: what there is, they have",
            now - 1000
        );
        for (first, two) in shares.windows(2).enumerate() {
            let share = (1000 + grace + patience - two[0]) / (wards - first) as u64;
            assert!(two[1] - two[0] + 1 >= share, "less than its share of what was left: {shares:?}");
        }
    }
}

#[test]
fn a_shutdown_may_be_hastened_and_never_slowed_down() {
    let mut steward = started(settings(3, 1000), &[When::Always; 2]);
    steward.shut_down(0);
    assert_eq!(steward.step(0), Step::Ask { ward: 1, until: 50 });
    assert_eq!(steward.asked_until(1), Some(50));
    steward.shut_down_by(10, 32);
    assert_eq!([0, 1, 2].map(|ward| steward.asked_until(ward)), [None, Some(20), None]);
    assert_eq!(steward.step(10), Step::Wait { until: Some(20) }, "ten of each eleven are grace");
    steward.shut_down_by(10, 500);
    assert_eq!(steward.step(20), Step::Abort { ward: 1 });
    assert_eq!(steward.step(20), Step::Wait { until: Some(26) });
    assert_eq!(steward.step(26), Step::Leak { ward: 1 });
    assert_eq!(steward.step(26), Step::Ask { ward: 0, until: 31 });
    assert_eq!(steward.step(31), Step::Abort { ward: 0 });
    assert_eq!(steward.step(32), Step::Leak { ward: 0 });
    assert_eq!(steward.step(32), Step::Over(Outcome::ShutDown));
}

/// A machine without time to spare takes nobody for leaked who had no time to go.
#[test]
fn a_look_that_comes_late_is_not_held_against_who_is_to_stop() {
    let mut steward = started(settings(3, 1000), &[When::Always; 2]);
    steward.shut_down(0);
    assert_eq!(steward.step(0), Step::Ask { ward: 1, until: 50 });
    assert_eq!(steward.step(0), Step::Wait { until: Some(50) });
    assert_eq!(steward.step(550), Step::Abort { ward: 1 });
    assert_eq!(steward.step(550), Step::Wait { until: Some(560) }, "it has its patience");
    steward.gone(1, 1);
    assert_eq!(steward.step(555), Step::Ask { ward: 0, until: 605 });
}

/// What was planned before does not count for an end that is set anew.
#[test]
fn a_late_look_that_finds_a_shutdown_does_not_lengthen_it() {
    let all = settings(3, 1000).with_strategy(Strategy::OneForAll);
    let mut steward = started(all, &[When::Always; 3]);
    fails(&mut steward, 2, 10);
    assert_eq!(steward.step(10), Step::Ask { ward: 1, until: 60 });
    assert_eq!(steward.step(10), Step::Wait { until: Some(60) });
    let mut by = steward.clone();

    steward.shut_down(500);
    assert_eq!(steward.step(500), Step::Abort { ward: 1 });
    steward.gone(1, 1);
    assert_eq!(steward.step(500), Step::Ask { ward: 0, until: 600 }, "one grace");

    by.shut_down_by(500, 522);
    assert_eq!(by.step(500), Step::Abort { ward: 1 });
    by.gone(1, 1);
    assert_eq!(by.step(500), Step::Ask { ward: 0, until: 520 }, "ten of each eleven until then");
}

/// Who says it each time it asks says nothing new: what a late look has added stays.
#[test]
fn a_wish_that_is_repeated_changes_nothing() {
    let mut steward = started(settings(3, 1000), &[When::Always; 2]);
    let step = |now: u64, steward: &mut Steward| {
        steward.shut_down_by(now, 66);
        steward.step(now)
    };
    assert_eq!(step(0, &mut steward), Step::Ask { ward: 1, until: 30 });
    assert_eq!(step(0, &mut steward), Step::Wait { until: Some(30) });
    assert_eq!(step(530, &mut steward), Step::Abort { ward: 1 });
    assert_eq!(step(530, &mut steward), Step::Wait { until: Some(540) }, "it has its patience");
    steward.gone(1, 1);
    assert_eq!(step(530, &mut steward), Step::Ask { ward: 0, until: 562 }, "ten of each eleven of 36");
    // An earlier one is new.
    steward.shut_down_by(531, 65);
    assert_eq!(steward.step(531), Step::Abort { ward: 0 });
}

/// They are cut off at one time, so they have one patience together, and whoever is told to stop has the grace.
#[test]
fn all_who_fail_together_have_the_whole_patience() {
    let all = settings(3, 1000).with_patience(Duration::from_nanos(100)).with_strategy(Strategy::OneForAll);
    let mut steward = started(all, &[When::Always; 11]);
    assert_eq!(steward.ended(10, 1, Exit::Failed, 0, 0), Verdict::Restart { at: 0 });
    assert_eq!(steward.step(0), Step::Abort { ward: 10 });
    assert_eq!(steward.step(0), Step::Wait { until: Some(100) }, "however many are to stop after it");
    assert_eq!(steward.ended(9, 1, Exit::Failed, 5, 0), Verdict::Expected);
    assert_eq!(steward.step(5), Step::Abort { ward: 9 });
    steward.gone(10, 1);
    assert_eq!(steward.step(5), Step::Wait { until: Some(100) });
    assert_eq!(steward.step(100), Step::Leak { ward: 9 });
    steward.gone(9, 1);
    assert!(matches!(steward.step(100), Step::Ask { ward: 8, .. }));
}

#[test]
fn what_is_remembered_of_restarts_is_bounded() {
    let mut unbounded = Intensity::new(u32::MAX, Duration::from_secs(60)).unwrap();
    let mut high = Intensity::new(u32::MAX - 1, Duration::from_nanos(10)).unwrap();
    for now in 0..10_000 {
        assert!(unbounded.restart(now) && high.restart(now));
        assert!(unbounded.held() == 0 && high.held() <= 10);
    }
}

#[test]
fn a_shutdown_goes_backwards_within_its_grace_and_leaves_out_what_leaks() {
    let mut steward = started(settings(3, 1000), &[When::Always; 4]);
    // One is between two lives.
    assert_eq!(steward.ended(1, 1, Exit::Failed, 5, 0), Verdict::Restart { at: 5 });
    assert_eq!(steward.step(5), Step::Abort { ward: 1 });
    steward.shut_down(10);
    steward.shut_down(11);
    assert_eq!(steward.step(10), Step::Ask { ward: 3, until: 43 });
    assert_eq!(steward.ended(0, 1, Exit::Failed, 11, 0), Verdict::Expected, "nobody is started any more");
    assert_eq!(steward.step(11), Step::Abort { ward: 0 }, "at once, whose turn ever it is");
    assert_eq!(steward.step(43), Step::Abort { ward: 3 }, "a third of the time");
    assert_eq!(steward.step(53), Step::Leak { ward: 3 });
    assert_eq!(steward.step(53), Step::Ask { ward: 2, until: 113 }, "ten of each eleven that are left");
    assert_eq!(steward.step(113), Step::Abort { ward: 2 });
    steward.gone(2, 1);
    assert_eq!(steward.step(113), Step::Leak { ward: 1 });
    assert_eq!(steward.step(113), Step::Leak { ward: 0 });
    assert_eq!(steward.step(113), Step::Over(Outcome::ShutDown));
    assert_eq!(steward.add(When::Always), 4);
    assert_eq!(steward.step(114), Step::Over(Outcome::ShutDown));
}

#[test]
fn wrong_settings_name_the_field() {
    assert_eq!(Intensity::new(1, Duration::ZERO).unwrap_err().field(), "within");
    let long = Backoff::new(Duration::from_secs(2), Duration::from_secs(1)).unwrap_err();
    assert_eq!(
        (long.field(), long.to_string().as_str()),
        ("longest", "longest `1s`: expected at least as long as the first pause")
    );
}

proptest! {
    /// Exact: what is refused would have been one too many, and what is allowed never is.
    #[test]
    fn intensity_is_exact(most in 0_u32..5, within in 1_u64..50, steps in prop::collection::vec(0_u64..30, 0..60)) {
        let mut intensity = Intensity::new(most, Duration::from_nanos(within)).unwrap();
        let (mut now, mut all) = (0, Vec::new());
        for step in steps {
            now += step;
            let near = all.iter().filter(|then: &&u64| now - **then < within).count();
            let allowed = near < usize::try_from(most).unwrap();
            prop_assert_eq!(intensity.allows(now), allowed);
            prop_assert_eq!(intensity.restart(now), allowed);
            if allowed {
                all.push(now);
            }
        }
    }

    /// A clock that steps back allows no more.
    #[test]
    fn intensity_holds_on_a_clock_that_steps_back(most in 1_u32..4, times in prop::collection::vec(0_u64..100, 0..60)) {
        let mut intensity = Intensity::new(most, Duration::from_nanos(20)).unwrap();
        let (mut latest, mut all) = (0, Vec::new());
        for now in times {
            latest = latest.max(now);
            if intensity.restart(now) {
                all.push(latest);
            }
        }
        for first in &all {
            let near = all.iter().filter(|then| (*first..*first + 20).contains(*then)).count();
            prop_assert!(near <= usize::try_from(most).unwrap());
        }
    }
}
