//! H3: a request that asks all leaves of a tree waits for the slowest; what it is worth to do without the slowest twentieth.

use sluicegate_testkit::lab::fan_out::{Outcome, run};
use sluicegate_testkit::lab::numbers::median;

#[test]
fn h3_an_answer_without_the_slowest_twentieth_halves_the_tail() {
    let (mut ratios, mut tails) = (Vec::new(), Vec::new());
    for seed in 1..=3 {
        let Outcome { whole, part } = run(seed);
        println!("p50, p95 and p99: all {whole:.0?} ms, 95 % {part:.0?} ms");
        let [whole, part] = [whole[2], part[2]];
        tails.push(whole);
        ratios.push(part / whole);
    }
    let (tail, ratio) = (median(&mut tails).0, median(&mut ratios).0);
    assert!((110.0..180.0).contains(&tail), "the model is the published one: {tail}");
    assert!(ratio <= 0.5, "{ratio}");
}
