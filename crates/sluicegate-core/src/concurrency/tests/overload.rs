//! What the algorithms make of more load than a service can carry. `--nocapture` prints the figures.

use std::time::Duration;

use super::server::{MILLI, Report, SECOND, Times, World, play};
use crate::concurrency::{Aimd, Algorithm, Fixed, Gradient, Knee, Settings, Why};

const SEEDS: u64 = 4;

fn from(first: u32) -> Settings {
    Settings::default().with_first(first).unwrap()
}

/// Its answers a second, as a part of what the service is able to do.
fn part(world: World, report: &Report, seconds: (usize, usize)) -> f64 {
    let (workers, service) = if seconds.0 >= usize::try_from(world.then.0).unwrap() {
        (world.then.1, world.then.2)
    } else {
        (world.workers, world.service)
    };
    report.goodput(seconds.0, seconds.1) * service as f64 / SECOND as f64 / workers as f64
}

#[test]
fn one_worker_under_ten_times_its_load_is_kept_busy_and_nobody_waits_long() {
    // One worker of 10 ms, then of 30. The goal: 0.95 of what it is able to do, 99 of 100 answers within 45 ms (135).
    for first in [1, 10, 40] {
        let mut world = World::of(1, 10 * MILLI, Times::Fixed);
        world.then = (20, 1, 30 * MILLI);
        world.seconds = 45;
        let (report, limits) = play(world, from(first), Knee::default());
        let (before, after) = (part(world, &report, (10, 20)), part(world, &report, (25, 45)));
        let (quick, slow) = (report.within(0.99, 10, 20), report.within(0.99, 25, 45));
        println!("from {first}: {before:.3} within {quick} ms, then {after:.3} within {slow} ms");
        assert!(before > 0.95 && quick <= 45.0, "from {first}: {before} {quick}");
        assert!(after > 0.95 && slow <= 135.0, "from {first}: {after} {slow}");
        assert!((1..=3).contains(&limits.limit()));
        assert!(limits.algorithm().unhindered().is_some_and(|it| (25e6..40e6).contains(&it)));
    }
}

/// The least limit that keeps the service as busy as any would, but for a hundredth.
fn best(world: World) -> f64 {
    let limits = 15..60;
    let good = |limit: &u32| part(world, &play(world, from(*limit), Fixed).0, (2, 8)) >= 0.99;
    f64::from(limits.into_iter().find(good).unwrap())
}

/// The same for work of random length and clients who come at random, without a line: by the chances of how many are in flight.
/// (Exact for exponential times.)
fn best_at_random(workers: u32, load: f64) -> f64 {
    let (mut limit, mut chance, mut all, mut busy) = (0, 1.0, 1.0, 0.0);
    let workers = f64::from(workers);
    while busy / all < 0.99 * workers {
        limit += 1;
        let at_work = f64::from(limit).min(workers);
        chance *= load * workers / at_work;
        all += chance;
        busy += chance * at_work;
    }
    f64::from(limit)
}

#[test]
fn after_the_work_triples_the_limit_is_within_a_tenth_of_the_best() {
    for (times, wire) in [(Times::Fixed, 10), (Times::Exponential, 0), (Times::LogNormal(1.0), 0)] {
        let mut world = World::of(20, 10 * MILLI, times);
        (world.wire, world.load, world.seconds) = (wire * MILLI, 2.0, 8);
        let slower = World { service: 30 * MILLI, load: 6.0, ..world };
        let at_random = (best_at_random(20, world.load), best_at_random(20, slower.load));
        let best = if wire == 0 { at_random } else { (best(world), best(slower)) };
        let mut limits = Vec::new();
        for seed in 0..SEEDS {
            let world = World { then: (15, 20, 30 * MILLI), seconds: 45, seed, ..world };
            let (report, _) = play(world, from(10), Knee::default());
            let (before, after) = (report.limit(5, 15), report.limit(20, 45));
            let parts = (part(world, &report, (5, 15)), part(world, &report, (20, 45)));
            println!(
                "{times:?} wire {wire} ms, best {best:?}: {before:.1} then {after:.1}, goodput {parts:.3?}"
            );
            assert!(parts.0 > 0.9 && parts.1 > 0.93, "{times:?} {seed}: {parts:?}");
            limits.push((before / best.0, after / best.1));
        }
        let mean = |it: fn(&(f64, f64)) -> f64| limits.iter().map(it).sum::<f64>() / SEEDS as f64;
        let (before, after) = (mean(|it| it.0), mean(|it| it.1));
        println!("{times:?} wire {wire} ms: {before:.3} and {after:.3} of the best");
        assert!((0.9..=1.1).contains(&before) && (0.9..=1.1).contains(&after), "{times:?} {limits:?}");
    }
}

#[test]
fn while_the_service_can_carry_the_load_nobody_is_refused_for_a_dip() {
    for seed in 0..SEEDS {
        let mut world = World::of(20, 10 * MILLI, Times::Exponential);
        (world.load, world.seconds, world.queue, world.seed) = (0.8, 30, 100, seed);
        let (report, _) = play(world, from(10), Knee::default());
        assert_eq!(report.refused(0, 30), 0, "{:?}", report.limit);
        // A line before a limit that is too low looks like an overload: only the first seconds may.
        let dips = report.changes.iter().filter(|(at, it)| *at > 5 * SECOND && it.why == Why::Dip).count();
        assert_eq!(dips, 0, "{:?}", report.changes);
    }
}

#[test]
fn a_limit_that_was_far_too_high_while_all_time_out_comes_down_in_a_few_windows() {
    let mut world = World::of(1, 10 * MILLI, Times::Exponential);
    (world.patience, world.seconds) = (SECOND, 60);
    let (report, _) = play(world, from(400), Knee::default());
    println!("limits {:.0?} goodput {:?}", report.limit, report.good);
    assert!(part(world, &report, (30, 60)) > 0.9, "{:?}", report.good);
    let (frozen, _) = play(world, from(400), Fixed);
    assert!(part(world, &frozen, (30, 60)) < 0.2, "it must matter: {:?}", frozen.good);
}

#[test]
fn a_limit_left_from_a_quicker_service_comes_down_though_hardly_more_comes_than_can_be_done() {
    for seed in 0..SEEDS {
        let mut world = World::of(20, 10 * MILLI, Times::Exponential);
        (world.load, world.seconds, world.queue, world.seed) = (1.02, 240, 100, seed);
        let (report, _) = play(world, from(1000), Knee::default());
        let limit = report.limit(120, 240);
        println!("{seed}: limits {:.0?}", report.limit.iter().step_by(20).collect::<Vec<_>>());
        assert!(limit < 60.0, "{seed}: {limit}");
        assert!(part(world, &report, (30, 240)) > 0.95, "{seed}");
    }
}

#[test]
fn from_one_it_finds_hundreds() {
    let mut world = World::of(200, 20 * MILLI, Times::Exponential);
    (world.load, world.seconds) = (2.0, 20);
    let (report, _) = play(world, from(1), Knee::default());
    println!("limits {:.0?}", report.limit);
    assert!(part(world, &report, (10, 20)) > 0.95, "{:?}", report.good);
    assert!((180.0..=220.0).contains(&report.limit(10, 20)), "{:?}", report.limit);
}

#[test]
fn a_gradient_under_sustained_overload_does_not_drift_and_gets_over_a_slower_service() {
    let mut world = World::of(10, 20 * MILLI, Times::Fixed);
    (world.load, world.seconds) = (2.0, 240);
    world.then = (200, 10, 60 * MILLI);
    let (report, limits) = play(world, from(10), Gradient::default());
    let (early, late) = (report.limit(20, 40), report.limit(180, 200));
    println!("{early:.1}, 160 s later {late:.1}, then {:.1}", report.limit(220, 240));
    assert!((late / early - 1.0).abs() < 0.1, "{early} {late}");
    assert!(part(world, &report, (220, 240)) > 0.9);
    assert!(limits.changed().is_some());
}

#[test]
fn what_each_makes_of_more_than_the_service_can_do() {
    fn figures(name: &str, world: World, algorithm: impl Algorithm) -> (f64, f64) {
        let (report, _) = play(world, from(10), algorithm);
        let (good, took) = (part(world, &report, (15, 40)), report.within(0.99, 15, 40));
        let limit = report.limit(15, 40);
        println!("{} workers, {name}: goodput {good:.3}, limit {limit:.1}, p99 {took:.0} ms", world.workers);
        (good, took)
    }
    for (workers, times) in [(1, Times::Fixed), (1, Times::Exponential), (20, Times::LogNormal(1.0))] {
        let mut world = World::of(workers, 10 * MILLI, times);
        (world.load, world.seconds) = (if workers == 1 { 10.0 } else { 3.0 }, 40);
        let knee = figures("knee", world, Knee::default());
        let gradient = figures("gradient", world, Gradient::default());
        let timeout = Duration::from_millis(100);
        let aimd = figures("aimd of 100 ms", world, Aimd::new(timeout).unwrap());
        assert!(knee.0 > 0.93, "{knee:?}");
        assert!(workers > 1 || knee.1 < 0.5 * gradient.1.min(aimd.1), "{knee:?} {gradient:?} {aimd:?}");
    }
}
