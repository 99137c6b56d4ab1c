//! The committed facts of peers' limiters are replayed, and the replay notices whatever is wrong: an expectation, a
//! listed deviation, the file.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod command;
mod falsified;
mod list;
mod unknown;

use std::path::{Path, PathBuf};

use sluicegate_testkit::replay::{self, CaseReport, Deviations, Facts, Totals, Verdict};

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
    let expected = Totals {
        cases: 87,
        same: 51,
        deviate: 27,
        wait: 9,
        mismatch: 0,
        steps: 282,
        replayed: 229,
        deviations: 28,
    };
    assert_eq!(report.totals(), expected, "{report}");
    assert!(report.is_right());
}

#[test]
fn a_caller_that_was_refused_comes_back_when_it_was_told_and_nobody_may_ask_before() {
    let take = |at: u64, wait: u64| {
        format!(r#"{{"op": "take", "at_ns": {at}, "n": 2, "expect": {{"ok": true, "wait_ns": {wait}}}}}"#)
    };
    let case = replayed(&[take(0, 0), take(0, 200), take(200, 200)].join(","), "");
    assert_eq!((case.verdict(), case.replayed), (Verdict::Same, 3), "{case}");

    let case = replayed(&[take(0, 0), take(0, 200), take(199, 401)].join(","), "");
    assert_eq!((case.verdict(), case.replayed), (Verdict::Waits, 2), "{case}");
    assert!(case.to_string().ends_with("2 of 3 steps; from step 3 on waiting for: reserve"), "{case}");
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
