//! H4: what is left of a service's work when it turns most away, and when several calls must succeed together.

use sluicegate_testkit::lab::overload::door::{Door, Gate, Open};
use sluicegate_testkit::lab::overload::tasks::{COSTS, HAND, Outcome, codel, ours, run};

fn play(name: &str, mut door: impl Door, calls: usize, load: f64, cost: f64, seed: u64) -> Outcome {
    // The more comes, the sooner it is seen.
    let outcome = run(&mut door, calls, load, cost, seed, if load > 2.0 { 4 } else { 6 });
    let Outcome { good, load, of_best, tasks, p99 } = outcome;
    println!(
        "{calls} calls, cost {cost}, load {load:.3}, {name}: goodput {good:.3}, {of_best:.4} of the best; {tasks:.3} of tasks, \
         p99 {p99:.0} ms"
    );
    outcome
}

#[test]
fn h4_what_is_left_is_nearly_all_that_can_be() {
    for (calls, load) in [1, 2].into_iter().flat_map(|calls| [1.0, 2.0, 10.0].map(|load| (calls, load))) {
        let outcome = play("ours", ours(), calls, load, COSTS[1], 1);
        assert!(outcome.of_best >= 0.97, "{calls} calls, load {load}: {outcome:?}");
    }
}

/// Half as many again was published for tasks of two calls.
#[test]
fn h4_of_tasks_of_two_calls_more_succeed_than_with_controlled_delay_alone() {
    for load in [2.0, 4.0] {
        let (ours, codel) =
            (play("ours", ours(), 2, load, 0.01, 2).tasks, play("codel", codel(), 2, load, 0.01, 2).tasks);
        assert!(ours > 1.2 * codel && (load < 4.0 || ours > 1.5 * codel), "{load}: {ours} {codel}");
        let hand = play("by hand", Gate::by_hand(HAND), 2, load, 0.01, 2).tasks;
        assert!(ours > 1.2 * hand, "{load}: {ours} {hand}");
    }
}

#[test]
fn h4_without_a_door_nothing_is_left() {
    let outcome = play("none", Open, 1, 2.0, 0.01, 1);
    assert!(outcome.of_best < 0.1, "{outcome:?}");
}
