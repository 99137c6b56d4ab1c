//! Bursts of far more than can be done, pauses between them, and a limit that is found out meanwhile: what was found out in one burst is to
//! hold in the next.

use sluicegate_core::concurrency::{Knee, Settings as Limits};
use sluicegate_core::queue::Settings;

use super::clients::Crowd;
use super::door::{Door, Gate};
use super::play::play;
use super::service::{Servers, Work};
use super::{MILLI, SECOND};
use crate::lab::numbers::quantile;

/// What one server needs for a request, in nanoseconds, always.
pub const SERVICE: u64 = 10 * MILLI;
/// What comes in a burst, times what can be done.
pub const LOAD: f64 = 10.0;
/// How many bursts there are before the one in which the service becomes slower.
pub const ROUNDS: u64 = 10;
/// How long each is, in nanoseconds.
pub const BURST: u64 = 7 * SECOND;
/// From when on it is looked at, from the beginning of a burst or from when the service has become slower, in nanoseconds.
pub const SETTLED: u64 = 5 * SECOND;
/// How many times as slow it becomes, in the middle of the last burst, which is three times as long.
pub const SLOWER: f64 = 3.0;

/// Clients leave after so long, in nanoseconds.
const PATIENCE: u64 = SECOND;
/// How long the line in front is at the most, in services, as in the gateway.
const LINE: f64 = 1.5;

/// What is shipped: a limit that is found out, and the gateway's line in front of it.
#[must_use]
pub fn ours() -> Gate {
    let line = Settings::new(100).with_wait_of(LINE).unwrap();
    Gate::new(&line, Limits::default(), Knee::default())
}

/// What was seen in the last two seconds of a burst.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Answers in time, of what can be done.
    pub goodput: f64,
    /// Within how many services 99 of 100 who were answered were.
    pub p99: f64,
    /// The same of all of the burst, its first second included.
    pub whole: f64,
    /// The limit, on the average.
    pub limit: f64,
}

/// [`ROUNDS`] bursts with pauses of so many nanoseconds, in which a part `between` of what can be done comes; and one in which the
/// service becomes [slower](SLOWER) after [`BURST`], of which the rest is looked at.
pub fn run(door: &mut dyn Door, pause: u64, between: f64, seed: u64) -> Vec<Round> {
    let can = SECOND as f64 / SERVICE as f64;
    let begins = |round: u64| round * (BURST + pause);
    let mut crowd = Crowd::new(seed, LOAD * can, Work::Always(SERVICE)).patient(PATIENCE);
    for round in 1..=ROUNDS {
        let quiet = (between * can).max(1e-3);
        crowd = crowd.then(begins(round) - pause, quiet).then(begins(round), LOAD * can);
    }
    let slower = begins(ROUNDS) + BURST;
    let servers = Servers { slower: vec![(slower, SLOWER)], ..Servers::new(1) };
    let log = play(servers, &mut crowd, door, slower + 2 * BURST);
    let see = |from: u64, to: u64, times: f64| {
        let service = SERVICE as f64 * times;
        let p99 = |from| quantile(&mut log.took(from, to), 0.99) / service;
        Round {
            goodput: log.goodput(from + SETTLED, to) * service / SECOND as f64,
            p99: p99(from + SETTLED),
            whole: p99(from),
            limit: log.limit(from + SETTLED, to).unwrap_or(f64::INFINITY),
        }
    };
    let mut rounds: Vec<_> = (0..ROUNDS).map(|at| see(begins(at), begins(at) + BURST, 1.0)).collect();
    rounds.push(see(slower, slower + 2 * BURST, SLOWER));
    rounds
}
