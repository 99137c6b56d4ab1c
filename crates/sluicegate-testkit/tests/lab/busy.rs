//! H1, its other half: a hedge is work too. Servers with a line each, from hardly busy to nearly overloaded, hedged after delays that are
//! right for some of them and far too short for others.

use std::time::Duration;

use sluicegate_core::hedge::{Hedge, Settings};
use sluicegate_testkit::lab::busy::{Lab, REQUESTS, Servers, UTILISATIONS};
use sluicegate_testkit::lab::numbers::median;

const SEEDS: u64 = 3;

fn p99(kind: Servers, seed: u64, utilisation: f64, hedge: Option<Hedge>, told: bool) -> f64 {
    let mut lab = Lab::new(kind, seed, utilisation, hedge, told);
    lab.run();
    assert!(lab.hedges() <= 50 + REQUESTS / 20, "the budget: {}", lab.hedges());
    lab.p99()
}

/// Without hedges, at each utilisation and for each seed.
fn plain(kind: Servers) -> Vec<Vec<f64>> {
    let seeds = |utilisation| (1..=SEEDS).map(|seed| p99(kind, seed, utilisation, None, false)).collect();
    UTILISATIONS.into_iter().map(seeds).collect()
}

/// What a hedge makes of the p99 at each utilisation, in the middle of the seeds.
fn ratios(kind: Servers, plain: &[Vec<f64>], settings: &Settings, told: bool) -> Vec<f64> {
    let at = UTILISATIONS.into_iter().zip(plain);
    let ratios: Vec<_> = at
        .map(|(utilisation, plain)| {
            let of = |(seed, plain): (u64, &f64)| {
                p99(kind, seed, utilisation, Some(Hedge::new(settings)), told) / plain
            };
            median(&mut (1..).zip(plain).map(of).collect::<Vec<_>>()).0
        })
        .collect();
    println!("{kind:?}, told {told}: {ratios:.2?} of the p99 at {UTILISATIONS:?}; {settings:?}");
    ratios
}

fn fixed(delay: u64) -> Settings {
    Settings::fixed(Duration::from_millis(delay)).unwrap()
}

fn tracked() -> Settings {
    Settings::tracked(0.95, Duration::from_millis(20)).unwrap()
}

fn worst(ratios: &[f64]) -> f64 {
    ratios.iter().copied().fold(0.0, f64::max)
}

/// To a hundredth: a few thousand requests tell no more.
const NOT_WORSE: f64 = 1.01;

#[test]
fn h1_hedging_never_worsens_the_tail_however_busy_servers_are() {
    for kind in [Servers::Stalling, Servers::Heedless] {
        let plain = plain(kind);
        let mut best = f64::INFINITY;
        for settings in [fixed(5), fixed(20), fixed(50), tracked()] {
            let ratios = ratios(kind, &plain, &settings, true);
            assert!(worst(&ratios) <= NOT_WORSE, "{kind:?}: {ratios:?}");
            best = ratios.into_iter().fold(best, f64::min);
        }
        assert!(best < 0.95, "and where it is right, it helps: {best}");
    }
}

/// The machine alone sees when more are slow than a tail is.
#[test]
fn h1_nor_does_it_where_nobody_knows_of_a_line_and_losers_leave_it() {
    let plain = plain(Servers::Stalling);
    for settings in [fixed(5), fixed(20), fixed(50), tracked()] {
        let ratios = ratios(Servers::Stalling, &plain, &settings, false);
        assert!(worst(&ratios) <= NOT_WORSE, "{ratios:?}");
    }
}

/// What it costs to say nothing of an overload to who hedges: a twentieth more work, on servers that have hardly any time left.
#[test]
fn h1_where_nobody_knows_of_a_line_and_losers_stay_in_it_the_budget_bounds_the_harm() {
    let plain = plain(Servers::Heedless);
    for settings in [fixed(5), fixed(20), fixed(50), tracked()] {
        let ratios = ratios(Servers::Heedless, &plain, &settings, false);
        assert!(worst(&ratios) <= 1.25, "{ratios:?}");
    }
    let mut reckless = Lab::new(Servers::Heedless, 1, 0.8, Some(Hedge::new(&reckless())), false);
    reckless.run();
    let ratio = reckless.p99() / plain[3][0];
    assert!(ratio > 3.0, "without budget and tail it would be so many times the p99: {ratio}");
}

fn reckless() -> Settings {
    fixed(5).with_budget(1.0, 100_000).unwrap().with_tail(1.0).unwrap()
}
