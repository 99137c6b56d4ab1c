//! The committed facts of peers' limiters are replayed, and the replay notices whatever is wrong: an expectation, a
//! listed deviation, the file.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod command;
mod falsified;
mod list;
mod operations;
mod unknown;

use std::path::{Path, PathBuf};

use sluicegate_testkit::replay::{self, CaseReport, Deviations, Facts, Totals};

/// The committed file.
fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("facts/limiters.json")
}

/// Facts with this one case: a bucket of two, one token each 100 ns, and these steps.
fn one_case(steps: &str) -> String {
    format!(
        r#"{{"schema": {{"schema_version": 1}}, "cases": [{{"source": "peer", "test": "test", "origin": "test",
            "setup": {{"limiter": "gcra", "emission_interval_ns": 100, "burst": 2}}, "steps": [{steps}]}}]}}"#
    )
}

/// What [`one_case`] came to.
fn replayed(steps: &str, list: &str) -> CaseReport {
    let report = replay::run(&Facts::parse(&one_case(steps)).unwrap(), &Deviations::parse(list).unwrap());
    report.unwrap().cases.remove(0)
}

#[test]
fn the_committed_facts_hold() {
    let report = replay::file(&path()).unwrap();
    let expected =
        Totals { cases: 87, same: 59, deviate: 28, mismatch: 0, steps: 282, replayed: 253, deviations: 29 };
    assert_eq!(report.totals(), expected, "{report}");
    assert!(report.is_right());
}

#[test]
fn whole_numbers_above_2_to_the_53rd_are_exact() {
    let taken = |taken: u64| {
        let text = format!(
            r#"{{"schema": {{"schema_version": 1}}, "cases": [{{"source": "peer", "test": "test", "origin": "test",
                "setup": {{"limiter": "gcra", "emission_interval_ns": 1, "burst": 4611686018427387904}}, "steps": [
                {{"op": "take_available", "at_ns": 0, "n": 4611686018427387903, "expect": {{"taken": {taken}}}}}]}}]}}"#
        );
        replay::run(&Facts::parse(&text).unwrap(), &Deviations::default()).unwrap().is_right()
    };
    assert!(taken(4_611_686_018_427_387_903));
    assert!(!taken(4_611_686_018_427_387_904), "the same as a double");
}
