//! Whole lives of wards that fail, hang and can't be stopped, audited.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy as Values, any, prop, proptest};

use super::*;

proptest! {
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
    // Who was done, without anybody having asked it to end.
    let mut done = vec![false; storm.wards.len()];
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
                let when = storm.wards[ward].0;
                assert!(when != When::Never || generation == 1, "never again");
                assert!(when != When::OnFailure || !done[ward], "once it is done, it stays so");
                assert!(!steward.is_over(ward));
                there[ward] = There::Runs;
                if generation > 1 && !(storm.all && restarts.last() == Some(&world.now)) {
                    restarts.push(world.now);
                }
                let habit = habit(ward, generation);
                let exit = if habit.well { Exit::Done } else { Exit::Failed };
                world.plan(habit.lives, Event::Ends(ward, generation, exit));
                continue;
            }
            Step::Ask { ward, until } => {
                assert_eq!(there[ward], There::Runs);
                assert!((world.now..=world.now + 100).contains(&until));
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
                done[ward] |= generation == steward.generation(ward)
                    && there[ward] == There::Runs
                    && exit == Exit::Done;
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
        assert!(world.now <= since + 100 + 10, "it took {}", world.now - since);
    }
    assert!(world.now < SECOND);
}

/// Restarts in the span that ends at `now`, or a pause before.
fn near(restarts: &[u64], now: u64) -> usize {
    restarts.iter().filter(|then| now - **then < WITHIN + 40).count()
}
