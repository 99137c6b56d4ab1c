//! The list of deviations can't rot.

use sluicegate_testkit::replay::{self, Deviations, Facts, Verdict};

use crate::{one_case, path, replayed};

/// A step at which ours deviates: three of a bucket of two.
const THREE: &str = r#"{"op": "wait", "at_ns": 0, "n": 3, "expect": {"ok": true, "delay_ns": 100}}"#;
/// One at which it does not.
const TWO: &str = r#"{"op": "wait", "at_ns": 0, "n": 2, "expect": {"ok": true, "delay_ns": 0}}"#;

/// A place in the list, as it should be for a case's step that is [`THREE`].
fn place(case: &str, step: usize) -> String {
    format!(
        r#"[[deviation.at]]
           source = "peer"
           {case}
           step = {step}
           peer = {{ ok = true, delay_ns = 100 }}
           ours = {{ ok = "never", delay_ns = 0 }}
        "#
    )
}

fn list(places: &str) -> String {
    format!("[[deviation]]\nreason = \"We differ.\"\n{places}")
}

#[test]
fn a_listed_deviation_is_counted_apart() {
    let case = replayed(&[TWO, THREE].join(","), &list(&place("test = \"test\"", 2)));
    assert_eq!((case.verdict(), case.deviations.len()), (Verdict::Deviates, 1), "{case}");
    assert!(case.deviations[0].ends_with("got 0. We differ."), "{case}");
}

#[test]
fn one_that_is_not_listed_is_a_mismatch() {
    assert_eq!(replayed(THREE, "").verdict(), Verdict::Mismatch);
}

#[test]
fn one_that_no_longer_deviates_is_a_mismatch() {
    let case = replayed(TWO, &list(&place("test = \"test\"", 1)));
    assert_eq!(case.mismatches, ["step 1: listed as a deviation once more than it deviates"]);
}

#[test]
fn one_that_deviates_to_another_value_or_in_another_field_is_a_mismatch() {
    let right = list(&place("test = \"test\"", 1));
    assert_eq!(replayed(THREE, &right).verdict(), Verdict::Deviates);
    for (from, to) in [
        ("\"never\"", "false"),
        ("delay_ns = 0", "delay_ns = 1"),
        ("delay_ns = 100", "delay_ns = 99"),
        (", delay_ns = 0", ""),
        ("delay_ns = 0", "delay_ns = 0, wait_ns = 0"),
    ] {
        let wrong = right.replace(from, to);
        assert_ne!(wrong, right);
        let case = replayed(THREE, &wrong);
        assert_eq!(case.verdict(), Verdict::Mismatch, "{from} became {to}: {case}");
    }
}

#[test]
fn one_for_a_step_that_is_not_there_or_not_reached_is_a_mismatch() {
    let case = replayed(TWO, &list(&place("test = \"test\"", 2)));
    assert_eq!(case.verdict(), Verdict::Mismatch, "{case}");

    // No step is reached where we refuse the limiter.
    let facts = Facts::parse(&one_case(THREE).replace("\"burst\": 2", "\"burst\": 0")).unwrap();
    let refusal = r#"
        [[deviation.at]]
        source = "peer"
        test = "test"
        step = 0
        peer = { limiter = "made" }
        ours = { limiter = "burst `0`: expected at least 1 (for a limit that grants nothing, `ban`)" }
    "#;
    let judged = |places: &str| {
        let report = replay::run(&facts, &Deviations::parse(&list(places)).unwrap()).unwrap();
        (report.cases[0].verdict(), report.cases[0].replayed)
    };
    assert_eq!(judged(refusal), (Verdict::Deviates, 0));
    let unreached = place("test = \"test\"", 1);
    assert_eq!(judged(&format!("{refusal}{unreached}")), (Verdict::Mismatch, 0));
}

#[test]
fn one_that_is_listed_twice_is_a_mismatch() {
    let case = replayed(THREE, &list(&place("test = \"test\"", 1).repeat(2)));
    assert_eq!(case.verdict(), Verdict::Mismatch, "{case}");
}

#[test]
fn one_for_a_case_that_is_not_there_is_a_mismatch() {
    let facts = Facts::parse(&one_case(TWO)).unwrap();
    for case in ["test = \"another\"", "test = \"test\"\nnth = 2", "test = \"test\"\nnth = 0"] {
        let report = replay::run(&facts, &Deviations::parse(&list(&place(case, 1))).unwrap()).unwrap();
        assert_eq!((report.totals().mismatch, report.totals().same), (1, 1), "{report}");
        assert!(!report.is_right() && report.to_string().contains("no such case"), "{report}");
    }
}

#[test]
fn every_place_of_the_committed_list_is_needed() {
    // The sweep takes seconds, and is not listed.
    let text =
        std::fs::read_to_string(path()).unwrap().replace("\"to_exclusive\": 1000000", "\"to_exclusive\": 8");
    let text = text.replace("\"count\": 142857", "\"count\": 1");
    let facts = Facts::parse(&text).unwrap();
    let places =
        |list: &Deviations| list.deviations.iter().map(|deviation| deviation.at.len()).collect::<Vec<_>>();
    let whole = Deviations::committed().unwrap();
    assert!(replay::run(&facts, &whole).unwrap().is_right());
    for (entry, count) in places(&whole).into_iter().enumerate() {
        for place in 0..count {
            let mut list = Deviations::committed().unwrap();
            list.deviations[entry].at.remove(place);
            let totals = replay::run(&facts, &list).unwrap().totals();
            assert_eq!(totals.mismatch, 1, "entry {entry} without its place {place}");
        }
    }
}
