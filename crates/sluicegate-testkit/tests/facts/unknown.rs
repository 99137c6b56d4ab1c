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
    contradicts(sweep, "step 1: `check_rate_sweep`");

    let reserve = r#"{"op": "reserve", "at_ns": 0, "n": 1, "as": "r",
        "expect": {"ok": true, "act_at_ns": 0, "tol_ns": 0, "ref_act_at_ns": 0}}"#;
    let cancel = r#"{"op": "cancel", "at_ns": 0, "ref": "r", "expect": {"ref_tokens_restored": 1.0}}"#;
    contradicts(cancel, "step 1: ref `r`: expected what a step before reserved");
    contradicts(
        &[reserve, cancel, cancel].join(","),
        "step 3: ref `r`: expected what a step before reserved",
    );
    contradicts(&[reserve, reserve].join(","), "step 2: as `r`: expected a name that no step before gave");

    let start = r#"{"op": "wait_start", "at_ns": 0, "n": 1, "as": "w", "expect": {"pending": false}}"#;
    let stop = r#"{"op": "wait_drop", "at_ns": 0, "ref": "w"}"#;
    contradicts(stop, "step 1: ref `w`: expected who began to wait");
    contradicts(&[start, stop, stop].join(","), "step 3: ref `w`: expected who began to wait");
    contradicts(&[start, start].join(","), "step 2: as `w`: expected a name that no step before gave");
}

/// Asserts that a case of these steps is refused with an error that begins so.
fn contradicts(steps: &str, why: &str) {
    refused(&one_case(steps), why);
}

fn refused(text: &str, why: &str) {
    let error = replay::run(&Facts::parse(text).unwrap(), &Deviations::default()).unwrap_err().to_string();
    let begin = format!("peer: test: {why}");
    assert!(error.starts_with(&begin), "{error}: expected {begin}");
}

#[test]
fn a_line_that_is_not_first_come_first_served_is_an_error() {
    let gcra = r#""limiter": "gcra", "emission_interval_ns": 100, "burst": 2"#;
    let unfair = r#""limiter": "interval_bucket", "refill": 1, "interval_ns": 100, "initial": 1, "max": 2, "fair": false"#;
    let text = one_case(ALLOW).replace(gcra, unfair);
    refused(&text, "fair `false`: expected true");
    let fair = text.replace("false", "true");
    assert!(replay::run(&Facts::parse(&fair).unwrap(), &Deviations::default()).is_ok());
}

#[test]
fn nobody_cannot_wait() {
    let shared = r#"{"op": "wait_shared", "at_ns": 0, "n": 1, "callers": 1, "total": 1, "expect": {"total_delay_ns": 0}}"#;
    refuses(&one_case(shared), r#""callers": 1"#, r#""callers": 0"#, "expected a nonzero usize");
}

#[test]
fn an_unknown_field_in_the_list_is_an_error() {
    assert!(Deviations::parse("[[deviation]]\nreason = \"\"\nat = []").is_ok());
    assert!(Deviations::parse("[[deviation]]\nreason = \"\"\nat = []\nnew = 2").is_err());
    assert!(Deviations::parse("[[deviations]]").is_err());
}
