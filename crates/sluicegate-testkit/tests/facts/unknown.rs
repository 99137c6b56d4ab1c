//! What the replay does not know is an error, never skipped.

use sluicegate_testkit::replay::{self, Deviations, Facts};

use crate::one_case;

const ALLOW: &str = r#"{"op": "allow", "at_ns": 0, "n": 1, "expect": {"ok": true}}"#;

/// Asserts that this text is understood, and that with `from` replaced by `to` it is refused with an error that says
/// `why`.
fn refuses(text: &str, from: &str, to: &str, why: &str) {
    assert!(Facts::parse(text).is_ok());
    let wrong = text.replacen(from, to, 1);
    assert_ne!(wrong, text);
    let error = Facts::parse(&wrong).unwrap_err().to_string();
    assert!(error.contains(why), "{to}: {error}");
}

#[test]
fn an_unknown_operation_is_an_error() {
    refuses(&one_case(ALLOW), r#""op": "allow""#, r#""op": "borrow""#, "unknown variant `borrow`");
}

#[test]
fn an_unknown_limiter_is_an_error() {
    refuses(&one_case(ALLOW), r#""limiter": "gcra""#, r#""limiter": "sieve""#, "unknown variant `sieve`");
}

#[test]
fn an_unknown_field_is_an_error_wherever_it_stands() {
    let text = one_case(ALLOW);
    for (from, to) in [
        (r#""schema_version": 1"#, r#""schema_version": 1, "new": 2"#),
        (r#""cases""#, r#""new": 2, "cases""#),
        (r#""source""#, r#""new": 2, "source""#),
        (r#""burst""#, r#""new": 2, "burst""#),
        (r#""at_ns""#, r#""new": 2, "at_ns""#),
        (r#""ok""#, r#""new": 2, "ok""#),
    ] {
        refuses(&text, from, to, "unknown field `new`");
    }
}

#[test]
fn a_field_of_another_operation_is_an_error() {
    refuses(&one_case(ALLOW), r#""ok""#, r#""wait_ns": 0, "ok""#, "unknown field `wait_ns`");
    refuses(&one_case(ALLOW), r#""n": 1"#, r#""n": 1, "max_wait_ns": 0"#, "unknown field `max_wait_ns`");
}

#[test]
fn a_missing_field_is_an_error() {
    refuses(&one_case(ALLOW), r#", "n": 1"#, "", "missing field `n`");
}

#[test]
fn another_version_is_an_error() {
    refuses(&one_case(ALLOW), r#""schema_version": 1"#, r#""schema_version": 2"#, "`2`: expected 1");
}

#[test]
fn a_step_that_contradicts_its_case_is_an_error() {
    let sweep = r#"{"op": "check_rate_sweep", "at_ns": 0,
        "expect": {"rel_tol": 0.01, "all_pass": true, "count": 1}}"#;
    let facts = Facts::parse(&one_case(sweep)).unwrap();
    let error = replay::run(&facts, &Deviations::default()).unwrap_err().to_string();
    assert!(error.starts_with("peer: test: step 1: `check_rate_sweep`"), "{error}");
}

#[test]
fn an_unknown_field_in_the_list_is_an_error() {
    assert!(Deviations::parse("[[deviation]]\nreason = \"\"\nat = []").is_ok());
    assert!(Deviations::parse("[[deviation]]\nreason = \"\"\nat = []\nnew = 2").is_err());
    assert!(Deviations::parse("[[deviations]]").is_err());
}
