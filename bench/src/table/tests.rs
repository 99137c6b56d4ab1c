use serde_json::{Value, json};

use super::*;

fn flat(value: f64) -> Option<Summary> {
    Summary::of([value])
}

#[test]
fn a_goal_is_judged_by_the_ratio_of_medians() {
    let row =
        |ours| Row::new(("requests", "1/s"), flat(ours), ("nginx", flat(100.0)), Some(Goal::AtLeast(0.9)));
    assert_eq!((row(90.0).ratio, row(90.0).met), (Some(0.9), Some(true)));
    assert_eq!(row(89.0).met, Some(false));
    let time =
        |ours| Row::new(("decision", "ns"), flat(ours), ("floor", flat(100.0)), Some(Goal::AtMost(1.15)));
    assert_eq!((time(115.0).met, time(116.0).met), (Some(true), Some(false)));
    let rate =
        |ours| Row::new(("rate", "MB/s"), flat(ours), ("asked", flat(100.0)), Some(Goal::Within(0.01)));
    assert_eq!([98.9, 99.1, 100.9, 101.1].map(|ours| rate(ours).met.unwrap()), [false, true, true, false]);
}

#[test]
fn no_verdict_without_both_numbers() {
    let goal = Some(Goal::AtLeast(0.9));
    assert_eq!(Row::new(("requests", "1/s"), None, ("nginx", flat(1.0)), goal).met, None);
    assert_eq!(Row::new(("requests", "1/s"), flat(1.0), ("nginx", flat(0.0)), goal).met, None);
    assert_eq!(Row::new(("p50", "ms"), flat(1.0), ("nginx", flat(1.0)), None).met, None);
}

#[test]
fn json_has_these_fields_and_no_others() {
    let row = Row::new(("requests", "1/s"), flat(50.0), ("nginx", flat(100.0)), Some(Goal::AtLeast(0.9)));
    let number = |value: f64| json!({ "median": value, "min": value, "max": value });
    let expected = json!({
        "case": "requests", "ours": number(50.0), "peer": "nginx", "theirs": number(100.0), "unit": "1/s",
        "ratio": 0.5, "goal": ">= 0.9", "met": false,
    });
    assert_eq!(serde_json::to_value(row).unwrap(), expected);
    let only_theirs =
        serde_json::to_value(Row::new(("p50", "ms"), None, ("nginx", flat(1.0)), None)).unwrap();
    assert_eq!(only_theirs["ours"], Value::Null);
    assert_eq!(only_theirs["met"], Value::Null);
}

#[test]
fn a_reader_sees_numbers_verdicts_and_faults() {
    let theirs = Summary::of([51_000.0, 52_000.0, 50_000.0]);
    let row = Row::new(("requests", "1/s"), flat(40_000.0), ("nginx", theirs), Some(Goal::AtLeast(0.9)));
    let report =
        Report { conditions: vec!["2 cores".into()], rows: vec![row], faults: vec!["it fell over".into()] };
    let text = report.to_string();
    for part in ["2 cores", "51000 [50000..52000]", "0.784", ">= 0.9", "NO", "FAULT: it fell over"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(report.missed(), 1);
}
