//! Bursts and pauses: what was found out in one burst holds in the next.

use sluicegate_testkit::lab::overload::SECOND;
use sluicegate_testkit::lab::overload::rounds::{ROUNDS, ours, run};

/// Within how many services 99 of 100 are to be answered: one worker of 10 ms, 45 ms.
const SOON: f64 = 4.5;

#[test]
fn a_pause_between_bursts_changes_nothing_and_a_service_that_becomes_slower_is_found_out() {
    for (pause, between) in [(1, 0.0), (2, 0.0), (5, 0.0), (3, 0.5)] {
        let rounds = run(&mut ours(), pause * SECOND, between, pause);
        for (at, round) in (0..).zip(&rounds) {
            println!("pauses of {pause} s at {between}, burst {at}: {round:.3?}");
            assert!(round.goodput >= 0.95, "{pause} {between}, burst {at}: {round:?}");
            assert!(round.p99 <= SOON, "{pause} {between}, burst {at}: {round:?}");
            // In the first it has to be found out, and so it has in the last, when the service has become slower.
            let is_known = (1..ROUNDS).contains(&at) && between == 0.0;
            assert!(!is_known || round.whole <= SOON, "{pause} {between}, burst {at}: {round:?}");
        }
    }
}
