//! Nothing that a peer answers is skipped: each value in the committed file is made wrong, one after the other, and the
//! replay must say so.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluicegate_testkit::replay::{self, CaseReport, Deviations, Facts, Verdict};

use crate::{path, replayed};

/// What becomes of the last of these cases, which all bear one name; none if it is no longer one.
fn last(cases: &[Value], list: &Deviations) -> Option<CaseReport> {
    let facts = json!({"schema": {"schema_version": 1}, "cases": cases}).to_string();
    replay::run(&Facts::parse(&facts).ok()?, list).ok()?.cases.pop()
}

/// Another value of the same kind, too far off for any tolerance.
fn falsified(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap() * 2.0 + 1.0),
        Value::Number(number) => json!(number.as_i64().unwrap() / 2 + 4_000_000_000_000_000_000),
        _ => json!("something else"),
    }
}

/// The committed cases; of the sweep over 142 857 rates, the first 143.
fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(path()).unwrap();
    let mut facts: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(mut cases) = facts["cases"].take() else { panic!("cases are a list") };
    for case in &mut cases {
        if let Some(to) = case.pointer_mut("/setup/rate_sweep/to_exclusive") {
            *to = json!(1000);
            *case.pointer_mut("/steps/0/expect/count").unwrap() = json!(143);
        }
    }
    cases
}

#[test]
fn every_expectation_that_is_falsified_is_noticed() {
    let (cases, list) = (cases(), Deviations::committed().unwrap());
    let (mut falsifications, mut unnoticed) = (0, BTreeMap::new());
    for (index, case) in cases.iter().enumerate() {
        let is_namesake =
            |other: &&Value| (&other["source"], &other["test"]) == (&case["source"], &case["test"]);
        let mut namesakes: Vec<_> = cases[..=index].iter().filter(is_namesake).cloned().collect();
        let right = last(&namesakes, &list).unwrap();
        assert_ne!(right.verdict(), Verdict::Mismatch, "{right}");
        for step in 0..right.replayed {
            let Some(expect) = case["steps"][step]["expect"].as_object() else { continue };
            for (field, value) in expect {
                let last_case = namesakes.last_mut().unwrap();
                last_case["steps"][step]["expect"][field] = falsified(value);
                falsifications += 1;
                if last(&namesakes, &list).is_some_and(|case| case.verdict() != Verdict::Mismatch) {
                    *unnoticed.entry(field.as_str()).or_insert(0) += 1;
                }
                namesakes.last_mut().unwrap()["steps"][step]["expect"][field] = value.clone();
            }
        }
    }
    assert!(falsifications > 440, "{falsifications}");
    // All that is not compared, with the reason.
    let not_compared = [
        // Widened, a tolerance lets the same values through.
        ("rel_tol", 34),
        ("tol_ns", 24),
        ("within_ns", 1),
        // How the peer approximates a rate; ours has no quantum.
        ("ref_quantum", 18),
        ("ref_fill_interval_ns", 18),
        // Beside `expected_ns_float`, from which upstream's test and this one measure ...
        ("wait_ns", 12),
        // ... but where ours is too far from it anyway, and listed.
        ("expected_ns_float", 6),
        // What a real clock is allowed, beside the exact delay.
        ("delay_max_ns", 1),
    ];
    assert_eq!(unnoticed, BTreeMap::from(not_compared));
}

#[test]
fn a_mismatch_names_the_step_and_both_values() {
    let allow = |ok: bool| format!(r#"{{"op": "allow", "at_ns": 0, "n": 1, "expect": {{"ok": {ok}}}}}"#);
    let case = replayed(&[allow(true), allow(true), allow(true)].join(","), "");
    assert_eq!(case.to_string(), "MISMATCH peer: test, 3 of 3 steps; step 3: ok: expected true, got false");
}
