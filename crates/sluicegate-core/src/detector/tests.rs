//! The formula against the normal distribution and itself, detectors against a plain list of all signs, and watches.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::numbers::Numbers;

const MILLI: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn timeout(millis: u64) -> Rule {
    Rule::timeout(ms(millis)).unwrap()
}

/// Signs each 100 ms, with no more patience than phi asks for.
fn strict() -> Phi {
    Phi::new(ms(100)).unwrap().with_pause(Duration::ZERO).unwrap()
}

/// A named value of the published form: 8 at 231 ms for intervals of 100 ± 25 ms.
#[test]
fn phi_is_8_at_231_ms_for_beats_of_100_and_25() {
    let detector = Detector::new(&Rule::Phi(strict()), 0);
    let due = detector.due();
    assert_eq!((due + MILLI / 2) / MILLI, 231);
    let at = |nanos| detector.phi(nanos).unwrap();
    assert!(at(due) >= 8.0 && at(due - 1000) < 8.0, "{} {}", at(due), at(due - 1000));
    assert!((at(100 * MILLI) - 2_f64.log10()).abs() < 1e-9);
}

/// The formula as it is published, where that does not lose its digits.
#[test]
fn phi_is_the_published_formula() {
    for step in -400..=800 {
        let y = f64::from(step) / 100.0;
        let e = (-y * (1.5976 + 0.070_566 * y * y)).exp();
        let published = -(e / (1.0 + e)).log10();
        assert!((phi(y) - published).abs() <= published.abs() * 1e-9 + 1e-12, "{y}: {} {published}", phi(y));
    }
    assert!(phi(1e6).is_finite() && phi(1e6) > phi(1e5), "and is not infinite where that is");
}

/// How far the approximation is from the distribution that it stands for, at places from a table: near it, and further out
/// ahead of it.
#[test]
fn phi_is_near_the_normal_distribution() {
    for (y, tail) in [(1.0, 0.158_655), (2.0, 0.022_750), (3.0, 0.001_349_9)] {
        let exact = -f64::log10(tail);
        assert!((phi(y) - exact).abs() < 0.06, "{y}: {} {exact}", phi(y));
    }
    assert!(phi(5.0) > -f64::log10(2.866_5e-7) + 0.5);
}

#[test]
fn a_timeout_is_exact() {
    let mut detector = Detector::new(&timeout(5), 7);
    assert!(!detector.is_late(7 + 5 * MILLI - 1) && detector.is_late(7 + 5 * MILLI), "the first too");
    detector.beat(10 * MILLI);
    detector.beat(9 * MILLI);
    assert_eq!(
        (detector.last(), detector.due()),
        (Some(10 * MILLI), 15 * MILLI),
        "an earlier one changes nothing"
    );
    assert!(!detector.is_late(0), "a clock that steps back kills nobody");
    assert_eq!(detector.phi(11), None);
}

#[test]
fn the_first_sign_has_a_patience_of_its_own() {
    let mut detector = Detector::new(&Rule::Phi(strict()), 0).with_startup(5000 * MILLI);
    assert_eq!(detector.due(), 5000 * MILLI);
    detector.beat(4000 * MILLI);
    assert_eq!((detector.due() - 4000 * MILLI + MILLI / 2) / MILLI, 231, "and is no interval");
}

#[test]
fn intervals_are_learnt_and_forgotten() {
    let phi = strict().with_window(10).unwrap().with_least_deviation(ms(1)).unwrap();
    let mut detector = Detector::new(&Rule::Phi(phi), 0);
    let mut now = 0;
    for _ in 0..20 {
        now += 100 * MILLI;
        detector.beat(now);
    }
    let steady = detector.due() - now;
    assert!(steady > 105 * MILLI && steady < 106 * MILLI, "only the least deviation is left: {steady}");
    for _ in 0..20 {
        now += 50 * MILLI;
        detector.beat(now);
    }
    assert_eq!(detector.due() - now, steady - 50 * MILLI, "and nothing of the old intervals");
}

/// One long silence would else make it patient for a thousand intervals.
#[test]
fn a_silence_that_was_suspected_is_not_learnt() {
    let mut detector = Detector::new(&Rule::Phi(strict()), 0);
    for now in 1..=10 {
        detector.beat(now * 100 * MILLI);
    }
    let before = detector.due() - 1000 * MILLI;
    detector.beat(60_000 * MILLI);
    assert_eq!(detector.due() - 60_000 * MILLI, before);
}

#[test]
fn wrong_settings_name_the_field() {
    let field = |wrong: Result<Phi, SettingsError>| wrong.unwrap_err().field();
    assert_eq!(Rule::timeout(Duration::ZERO).unwrap_err().field(), "timeout");
    assert_eq!(field(Phi::new(Duration::ZERO)), "interval");
    for threshold in [f64::NAN, 0.0, -1.0, 301.0, f64::INFINITY] {
        assert_eq!(field(strict().with_threshold(threshold)), "threshold");
    }
    assert_eq!(field(strict().with_least_deviation(Duration::ZERO)), "deviation");
    assert_eq!(field(strict().with_pause(Duration::MAX)), "pause");
    assert_eq!(field(strict().with_window(1)), "window");
    assert_eq!(field(strict().with_window(1001)), "window");
    let said = strict().with_window(1).unwrap_err().to_string();
    assert_eq!(said, "window `1`: expected from 2 to 1000");
}

fn signs(beat: u64, work: Work) -> Signs {
    Signs { beat: Some(beat), work, end: None }
}

/// Fixed timeouts: life after 10, progress after 30.
fn watch() -> Watch {
    let nanos = |nanos| Rule::timeout(Duration::from_nanos(nanos)).unwrap();
    Watch::new(&Watching::new(nanos(10)).with_progress(nanos(30)), 0)
}

#[test]
fn who_beats_without_progress_is_stalled_and_not_dead() {
    let mut watch = watch();
    for now in 1..30 {
        assert_eq!(watch.look(signs(now, Work::Silent), now), Life::Alive);
    }
    assert_eq!(watch.look(signs(29, Work::Silent), 30), Life::Stalled, "the first unit took too long");
    assert_eq!(watch.look(signs(29, Work::At(31)), 31), Life::Alive);
    assert_eq!(watch.look(signs(60, Work::At(31)), 60), Life::Alive);
    assert_eq!(watch.look(signs(60, Work::At(31)), 61), Life::Stalled);
    assert_eq!(watch.look(signs(60, Work::At(31)), 70), Life::Dead);
    assert_eq!(watch.look(signs(70, Work::At(71)), 71), Life::Alive, "it was only silent");
}

#[test]
fn who_rests_makes_no_progress_and_is_not_stalled() {
    let mut watch = watch();
    assert_eq!(watch.look(signs(5, Work::At(5)), 5), Life::Alive);
    assert_eq!(watch.look(signs(100, Work::Resting), 101), Life::Alive);
    assert_eq!(watch.look(signs(500, Work::Resting), 505), Life::Alive);
    assert_eq!(watch.look(signs(600, Work::At(600)), 609), Life::Alive);
    assert_eq!(watch.look(signs(630, Work::At(600)), 630), Life::Stalled, "work has begun again");
    assert_eq!(watch.look(signs(630, Work::Resting), 640), Life::Dead, "resting is no sign of life");
}

#[test]
fn progress_is_a_sign_of_life() {
    let mut watch = watch();
    let works = |at| Signs { beat: None, work: Work::At(at), end: None };
    assert_eq!(watch.look(works(8), 17), Life::Alive);
    assert_eq!(watch.look(works(8), 18), Life::Dead);
}

#[test]
fn an_end_is_told_for_good() {
    for end in [End::Gone, End::Panicked] {
        let mut watch = watch();
        assert_eq!(watch.look(Signs { end: Some(end), ..signs(1, Work::Silent) }, 1), Life::Ended(end));
        assert_eq!(watch.look(signs(2, Work::Silent), 100), Life::Ended(end));
        assert_eq!((watch.due(1), watch.next_look(1)), (None, None), "nobody looks again and again");
    }
}

/// The process stood still, or the machine had no time for either: nobody is restarted for that.
#[test]
fn a_look_that_comes_late_is_not_held_against_who_is_watched() {
    let mut watch = watch();
    assert_eq!(watch.look(signs(1, Work::At(1)), 1), Life::Alive);
    assert_eq!(watch.next_look(1), Some(11));
    assert_eq!(
        watch.look(signs(1, Work::At(1)), 1011),
        Life::Dead,
        "it was due at the look that was planned"
    );
    assert_eq!(watch.next_look(1011), Some(1021), "the dead are looked at too");
    assert_eq!(watch.look(signs(1012, Work::At(1)), 1020), Life::Alive);

    let phi = Rule::Phi(strict());
    let mut watch = Watch::new(&Watching::new(phi), 0);
    assert_eq!(watch.look(signs(MILLI, Work::Silent), MILLI), Life::Alive);
    assert_eq!(watch.next_look(MILLI), Some(51 * MILLI));
    assert_eq!(watch.look(signs(MILLI, Work::Silent), 5051 * MILLI), Life::Alive, "5 s are excused");
    let due = watch.due(5051 * MILLI).unwrap();
    assert_eq!((due + MILLI / 2) / MILLI, 5232);
    assert_eq!(watch.next_look(5051 * MILLI), Some(5101 * MILLI));
    assert_eq!(watch.look(signs(MILLI, Work::Silent), due), Life::Alive, "late again, by as much");
}

const MINUTE: u64 = 60_000 * MILLI;

/// It stands still for a minute, and who looks is the first to go on.
#[test]
fn a_process_that_stood_still_takes_nobody_for_dead_who_is_looked_at_often() {
    for (looks, expected) in [(None, Life::Dead), (Some(ms(250)), Life::Alive)] {
        let watching = Watching::new(timeout(1000));
        let watching = looks.map_or(watching, |every| watching.with_looks_every(every));
        for age in [0, 100, 249] {
            let (mut watch, mut now, mut life) = (Watch::new(&watching, 0), 0, Life::Alive);
            for _ in 0..4 {
                // No sign comes between this look and the minute.
                let last = signs(now, Work::Silent);
                now += age * MILLI;
                assert_eq!(watch.look(last, now), Life::Alive);
                now = watch.next_look(now).unwrap() + MINUTE;
                life = watch.look(last, now);
                if life == Life::Dead {
                    break;
                }
                watch.next_look(now);
                now += MILLI;
            }
            assert_eq!(life, expected, "{looks:?}, {age}");
        }
    }
}

#[test]
fn a_sign_before_the_process_stood_still_does_not_make_that_a_silence() {
    for at in [1, 249, 900] {
        let mut watch = Watch::new(&Watching::new(timeout(1000)), 0);
        assert_eq!(watch.look(signs(0, Work::Silent), 0), Life::Alive);
        let planned = watch.next_look(0).unwrap();
        let now = planned + MINUTE;
        assert_eq!(watch.look(signs(at * MILLI, Work::Silent), now), Life::Alive, "{at}");
        assert_eq!(watch.due(now), Some(at * MILLI + 1000 * MILLI + MINUTE));
        // One that came after it stands for itself.
        let planned = watch.next_look(now).unwrap();
        assert_eq!(watch.look(signs(planned + 5, Work::Silent), planned + 9), Life::Alive);
        assert_eq!(watch.due(planned + 9), Some(planned + 5 + 1000 * MILLI + 4));
    }
}

/// 10⁶ signs of 100 ± 25 ms: none is late, and the silence after them is noticed when the parameters say.
#[test]
fn nobody_is_late_in_a_million_beats() {
    // Two pauses of the scheduler in a thousand, up to 200 ms long, which the rule forgives.
    let forgiving = strict().with_pause(ms(200)).unwrap();
    for (phi, pauses) in [(strict(), 0.0), (forgiving, 0.002)] {
        let mut random = Numbers(1);
        let mut detector = Detector::new(&Rule::Phi(phi), 0);
        let mut now = 0;
        detector.beat(0);
        for _ in 0..500_000 {
            // None is shorter than a millisecond.
            let mut interval = (0.1 + 0.025 * random.normal()).max(0.001);
            if random.even() < pauses {
                interval += random.even() * 0.2;
            }
            now += nanos(Duration::from_secs_f64(interval));
            assert!(!detector.is_late(now), "at {now}");
            detector.beat(now);
        }
        let silence = (detector.due() - now) as f64 / 1e6;
        let predicted = 231.0 + if pauses > 0.0 { 200.0 } else { 0.0 };
        assert!((silence / predicted - 1.0).abs() < 0.1, "{silence} ms instead of {predicted}");
    }
}

proptest! {
    /// What is told to be the instant is the first at which it is so, by the formula itself.
    #[test]
    fn the_instant_told_is_when_phi_is_there(
        intervals in prop::collection::vec(1_u64..10_000 * MILLI, 0..50),
        threshold in 0.5..300.0_f64,
        pause in 0_u64..10_000,
    ) {
        let rule = strict().with_threshold(threshold).unwrap().with_pause(ms(pause)).unwrap();
        let mut detector = Detector::new(&Rule::Phi(rule), 0);
        let mut now = 0;
        for interval in intervals {
            now += interval;
            detector.beat(now);
        }
        let due = detector.due();
        let slack = 1e-6 * threshold;
        prop_assert!(detector.phi(due).unwrap() >= threshold - slack);
        if due - now > 1 {
            let earlier = now + (due - now) - ((due - now) / 1000).max(1);
            prop_assert!(detector.phi(earlier).unwrap() < threshold + slack);
            prop_assert!(!detector.is_late(due - 1) && detector.is_late(due));
        }
    }

    /// A sum that is kept is the sum of what is there.
    #[test]
    fn history_does_not_drift(intervals in prop::collection::vec(0_u64..=u64::MAX, 0..60), window in 2_usize..20) {
        let mut history = phi::History::new(strict().with_window(window).unwrap());
        let mut all = vec![75 * MILLI, 125 * MILLI];
        for interval in intervals {
            history.learn(interval);
            all.push(interval.min(1 << 53));
        }
        let kept: Vec<u64> = all[all.len().saturating_sub(window)..].to_vec();
        let mut fresh = phi::History::new(strict().with_window(kept.len().max(2)).unwrap());
        for interval in &kept {
            fresh.learn(*interval);
        }
        if kept.len() >= 2 {
            prop_assert_eq!(history.patience(), fresh.patience());
        }
    }
}
