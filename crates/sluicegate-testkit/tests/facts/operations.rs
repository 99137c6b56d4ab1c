//! Operations that go on while others come: what becomes of them is compared, and notices who is served too early, too late
//! or not at all.

use sluicegate_testkit::replay::Verdict;

use crate::replayed;

/// Asserts that these steps are answered as said; and with `from` in them replaced by each of `to`, not.
fn answers(steps: &[&str], from: &str, to: &[&str]) {
    let steps = steps.join(",");
    let case = replayed(&steps, "");
    assert_eq!(case.verdict(), Verdict::Same, "{case}");
    for to in to {
        let wrong = steps.replacen(from, to, 1);
        assert_ne!(wrong, steps);
        let case = replayed(&wrong, "");
        assert_eq!(case.verdict(), Verdict::Mismatch, "{to}: {case}");
    }
}

const ALL: &str = r#"{"op": "take", "at_ns": 0, "n": 2, "expect": {"ok": true, "wait_ns": 0}}"#;

#[test]
fn tokens_are_booked_in_the_order_of_the_takes_and_into_debt() {
    let five = r#"{"op": "take", "at_ns": 0, "n": 5, "expect": {"ok": true, "wait_ns": 500}}"#;
    let later = r#"{"op": "take", "at_ns": 199, "n": 1, "expect": {"ok": true, "wait_ns": 401}}"#;
    answers(&[ALL, five, later], "401", &["400", "402"]);
}

#[test]
fn who_would_wait_too_long_has_booked_nothing() {
    let take = |n: u64, max: u64, answer: &str| {
        format!(r#"{{"op": "take", "at_ns": 0, "n": {n}, "max_wait_ns": {max}, "expect": {answer}}}"#)
    };
    let refused = r#"{"ok": false, "wait_ns": 0}"#;
    let (within, beyond) = (take(2, 199, refused), take(5, 499, refused));
    let last = take(1, 100, r#"{"ok": true, "wait_ns": 100}"#);
    answers(&[ALL, &within, &beyond, &last], "499", &["500"]);
    answers(&[ALL, &within, &beyond, &last], "199", &["200"]);
}

#[test]
fn what_is_cancelled_comes_back_until_its_instant_and_not_after() {
    let reserve = r#"{"op": "reserve", "at_ns": 0, "n": 1, "as": "r",
        "expect": {"ok": true, "act_at_ns": 100, "tol_ns": 0, "ref_act_at_ns": 100}}"#;
    let cancel = |at: u64, restored: &str| {
        format!(
            r#"{{"op": "cancel", "at_ns": {at}, "ref": "r", "expect": {{"ref_tokens_restored": {restored}}}}}"#
        )
    };
    answers(&[ALL, reserve, &cancel(99, "1.0")], "restored\": 1.0", &["restored\": 0.0"]);
    answers(&[ALL, reserve, &cancel(100, "1.0")], "restored\": 1.0", &["restored\": 0.0"]);
    answers(&[ALL, reserve, &cancel(101, "0.0")], "restored\": 0.0", &["restored\": 1.0"]);
}

#[test]
fn who_waits_holds_up_those_behind_and_releases_them_when_it_goes_away() {
    let start = |op: &str, n: u64, more: &str| {
        format!(r#"{{"op": "{op}", "at_ns": 0, "n": {n}, {more}, "expect": {{"pending": true}}}}"#)
    };
    let (first, behind) =
        (start("wait_start", 2, r#""as": "w""#), start("wait_start_many", 1, r#""count": 3"#));
    let released = |at: u64, count: u64| {
        format!(
            r#"{{"op": "released_count", "at_ns": {at}, "expect": {{"count": {count}, "within_ns": 1}}}}"#
        )
    };
    let gone = r#"{"op": "wait_drop", "at_ns": 150, "ref": "w"}"#;
    let held_up = released(149, 0);
    // One token has come by then, and the next two are a hundred each.
    let moved_up = [released(150, 1), released(198, 1), released(199, 2), released(300, 3)];
    let steps =
        [ALL, &first, &behind, &held_up, gone, &moved_up[0], &moved_up[1], &moved_up[2], &moved_up[3]];
    answers(&steps, "\"at_ns\": 198", &["\"at_ns\": 199"]);
    answers(&steps, "\"at_ns\": 199", &["\"at_ns\": 198"]);
    answers(&steps, "\"count\": 0", &["\"count\": 1"]);

    // It has what it waited for, and dropping it then changes nothing.
    let late = gone.replace("150", "200");
    answers(&[ALL, &first, &late, &released(200, 1)], "\"count\": 1", &["\"count\": 0"]);
}

#[test]
fn callers_that_wait_at_once_are_served_at_the_rate() {
    let shared = r#"{"op": "wait_shared", "at_ns": 0, "n": 1, "callers": 3, "total": 7,
        "expect": {"total_delay_ns": 500}}"#;
    answers(&[shared], "500", &["400", "600"]);
    let in_turn =
        r#"{"op": "wait_sequential", "at_ns": 0, "n": 2, "count": 3, "expect": {"total_delay_ns": 400}}"#;
    answers(&[in_turn], "400", &["200", "600"]);
}

#[test]
fn a_look_ahead_for_one_leaves_those_who_wait_in_their_places() {
    let wait = r#"{"op": "wait_start", "at_ns": 0, "n": 1, "as": "w", "expect": {"pending": true}}"#;
    let allow = r#"{"op": "allow", "at_ns": 0, "n": 2, "expect": {"ok": false, "ref_retry_after_ns": 300}}"#;
    let none = r#"{"op": "released_count", "at_ns": 98, "expect": {"count": 0, "within_ns": 1}}"#;
    let one = r#"{"op": "released_count", "at_ns": 99, "expect": {"count": 1, "within_ns": 1}}"#;
    answers(&[ALL, wait, allow, none, one], "300", &["200"]);
}
