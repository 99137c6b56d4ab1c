//! Intensity against a plain list, and whole lives of wards that fail, hang and can't be stopped, audited.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::{Strategy as Values, any, prop, prop_assert, prop_assert_eq, proptest};

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
    assert_eq!(steward.step(10), Step::Ask { ward: 1 });
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
    assert_eq!(steward.step(10), Step::Ask { ward: 3 });
    assert_eq!(steward.step(10), Step::Wait { until: Some(60) }, "half of the grace time, for two");
    assert_eq!(steward.ended(3, 1, Exit::Done, 20, 0), Verdict::Expected);
    assert_eq!(steward.step(20), Step::Abort { ward: 3 });
    steward.gone(3, 1);
    assert_eq!(steward.step(20), Step::Ask { ward: 0 });
    assert_eq!(steward.step(20), Step::Wait { until: Some(110) }, "all that is left");
    assert_eq!(steward.step(110), Step::Abort { ward: 0 });
    steward.gone(0, 1);
    for ward in [0, 1, 3] {
        assert_eq!(steward.step(110), Step::Start { ward, generation: 2 }, "what was done stays so");
    }
    assert_eq!(fails(&mut steward, 0, 209), Verdict::Escalate, "a second one in 100");
}

#[test]
fn a_shutdown_goes_backwards_within_its_grace_and_leaves_out_what_leaks() {
    let mut steward = started(settings(3, 1000), &[When::Always; 4]);
    // One is between two lives.
    assert_eq!(steward.ended(1, 1, Exit::Failed, 5, 0), Verdict::Restart { at: 5 });
    assert_eq!(steward.step(5), Step::Abort { ward: 1 });
    steward.shut_down(10);
    steward.shut_down(11);
    assert_eq!(steward.step(10), Step::Ask { ward: 3 });
    assert_eq!(steward.ended(0, 1, Exit::Failed, 11, 0), Verdict::Expected, "nobody is started any more");
    assert_eq!(steward.step(11), Step::Abort { ward: 0 }, "at once, whose turn ever it is");
    assert_eq!(steward.step(43), Step::Abort { ward: 3 }, "a third of the time");
    assert_eq!(steward.step(53), Step::Leak { ward: 3 });
    assert_eq!(steward.step(53), Step::Ask { ward: 2 });
    assert_eq!(steward.step(110), Step::Abort { ward: 2 }, "all that is left");
    steward.gone(2, 1);
    assert_eq!(steward.step(110), Step::Leak { ward: 1 });
    assert_eq!(steward.step(110), Step::Leak { ward: 0 });
    assert_eq!(steward.step(110), Step::Over(Outcome::ShutDown));
    assert_eq!(steward.add(When::Always), 4);
    assert_eq!(steward.step(111), Step::Over(Outcome::ShutDown));
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

    #[test]
    fn a_storm_is_kept_within_bounds(storm in storm()) {
        audit(&storm);
    }
}

/// What generations of a ward do: after so long they end, well or not; told to stop, they do after so long; cut off, after so long.
/// None: never.
#[derive(Clone, Copy, Debug)]
struct Habit {
    lives: Option<u64>,
    well: bool,
    stops: Option<u64>,
    dies: Option<u64>,
}

#[derive(Clone, Debug)]
struct Storm {
    all: bool,
    most: u32,
    wards: Vec<(When, Vec<Habit>)>,
    shut_down: u64,
    seed: u64,
}

fn storm() -> impl Values<Value = Storm> {
    let some = |most: u64| prop::option::weighted(0.8, 0..most);
    let habit = (some(300), any::<bool>(), some(80), some(20)).prop_map(|(lives, well, stops, dies)| Habit {
        lives,
        well,
        stops,
        dies,
    });
    let when = prop::sample::select(vec![When::Always, When::Always, When::OnFailure, When::Never]);
    let ward = (when, prop::collection::vec(habit, 1..4));
    (any::<bool>(), 0_u32..6, prop::collection::vec(ward, 1..5), 0_u64..3000, any::<u64>())
        .prop_map(|(all, most, wards, shut_down, seed)| Storm { all, most, wards, shut_down, seed })
}

const WITHIN: u64 = 500;

/// What will happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ends(usize, u64, Exit),
    Gone(usize, u64),
    ShutDown,
}

struct World {
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    came: u64,
}

impl World {
    fn plan(&mut self, after: Option<u64>, event: Event) {
        if let Some(after) = after {
            self.came += 1;
            self.events.insert((self.now + after, self.came), event);
        }
    }
}

/// What is known of a ward from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Not,
    Runs,
    Asked,
    Aborted,
    Leaked,
}

/// Plays a storm to its end, and holds all that is promised against it.
fn audit(storm: &Storm) {
    let strategy = if storm.all { Strategy::OneForAll } else { Strategy::OneForOne };
    let backoff = Backoff::new(Duration::from_nanos(2), Duration::from_nanos(40)).unwrap();
    let mut steward =
        Steward::new(settings(storm.most, WITHIN).with_backoff(backoff).with_strategy(strategy));
    let mut world = World { now: 0, events: BTreeMap::new(), came: 0 };
    world.plan(Some(storm.shut_down), Event::ShutDown);
    let mut there = vec![There::Not; storm.wards.len()];
    for (when, _) in &storm.wards {
        steward.add(*when);
    }
    let mut random = storm.seed | 1;
    // Instants of restarts; of all together one each instant.
    let mut restarts = Vec::new();
    let mut closing = None;
    let outcome = loop {
        let habit = |ward: usize, generation: u64| {
            let habits = &storm.wards[ward].1;
            habits[usize::try_from(generation - 1).unwrap() % habits.len()]
        };
        let until = match steward.step(world.now) {
            Step::Start { ward, generation } => {
                assert_eq!(there[ward], There::Not, "two generations at one time");
                assert_eq!(generation, steward.generation(ward));
                assert_eq!(closing, None, "nobody is started any more");
                there[ward] = There::Runs;
                if generation > 1 && !(storm.all && restarts.last() == Some(&world.now)) {
                    restarts.push(world.now);
                }
                let habit = habit(ward, generation);
                let exit = if habit.well { Exit::Done } else { Exit::Failed };
                world.plan(habit.lives, Event::Ends(ward, generation, exit));
                continue;
            }
            Step::Ask { ward } => {
                assert_eq!(there[ward], There::Runs);
                let later = &there[ward + 1..];
                assert!(
                    later.iter().all(|it| matches!(it, There::Not | There::Leaked)),
                    "out of order: {there:?}"
                );
                there[ward] = There::Asked;
                let generation = steward.generation(ward);
                world.plan(habit(ward, generation).stops, Event::Ends(ward, generation, Exit::Done));
                continue;
            }
            Step::Abort { ward } => {
                assert!(matches!(there[ward], There::Runs | There::Asked));
                there[ward] = There::Aborted;
                let generation = steward.generation(ward);
                world.plan(habit(ward, generation).dies, Event::Gone(ward, generation));
                continue;
            }
            Step::Leak { ward } => {
                assert_eq!(there[ward], There::Aborted);
                there[ward] = There::Leaked;
                // It is fenced off some time later.
                let generation = steward.generation(ward);
                world.plan(Some(random % 3), Event::Gone(ward, generation));
                continue;
            }
            Step::Wait { until } => until,
            Step::Over(outcome) => break outcome,
        };
        let next = world.events.keys().next().copied();
        let at = [until, next.map(|(at, _)| at)].into_iter().flatten().min();
        world.now = at.expect("everything stands still").max(world.now);
        let Some((&key, &event)) = world.events.iter().next().filter(|((at, _), _)| *at <= world.now) else {
            continue;
        };
        world.events.remove(&key);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        match event {
            Event::ShutDown => {
                steward.shut_down(world.now);
                closing.get_or_insert(world.now);
            }
            Event::Ends(ward, generation, exit) => {
                if steward.ended(ward, generation, exit, world.now, random) == Verdict::Escalate {
                    // Where it was allowed, it would have been one too many.
                    assert!(near(&restarts, world.now + 40) >= usize::try_from(storm.most).unwrap());
                    closing.get_or_insert(world.now);
                }
            }
            Event::Gone(ward, generation) => {
                if generation == steward.generation(ward)
                    && matches!(there[ward], There::Aborted | There::Leaked)
                {
                    there[ward] = There::Not;
                }
                steward.gone(ward, generation);
            }
        }
    };
    assert!(there.iter().all(|it| matches!(it, There::Not | There::Leaked)), "{there:?}");
    for first in &restarts {
        let near = restarts.iter().filter(|then| (*first..*first + WITHIN).contains(*then)).count();
        assert!(near <= usize::try_from(storm.most).unwrap(), "{near} of {}: {restarts:?}", storm.most);
    }
    match outcome {
        Outcome::Escalated { .. } => assert!(storm.most < 6),
        Outcome::ShutDown => {}
        Outcome::Done => assert!(storm.wards.iter().all(|(when, _)| *when != When::Always)),
    }
    if let Some(since) = closing {
        let wards = storm.wards.len() as u64;
        assert!(world.now <= since + 100 + (wards + 1) * 13, "it took {}", world.now - since);
    }
    assert!(world.now < SECOND);
}

/// Restarts in the span that ends at `now`, or a pause before.
fn near(restarts: &[u64], now: u64) -> usize {
    restarts.iter().filter(|then| now - **then < WITHIN + 40).count()
}
