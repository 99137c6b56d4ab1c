//! From turns to rows.

use std::fmt;

use super::subject::Subject;
use super::turn::Turn;
use super::{Case, STEP};
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// Of what the upstream can do.
const GOODPUT: f64 = 0.95;
/// How long what is admitted may take at the 99th percentile, in services: 45 ms where one takes 10.
const ADMITTED: f64 = 4.5;
/// How long a refusal may take, in milliseconds.
const REFUSED: f64 = 5.0;

/// The turns of one subject in one case.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) subject: Subject,
    pub(super) turns: Vec<Turn>,
    /// What the machines predict, where they can.
    pub(super) lab: Vec<Turn>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(times) => write!(f, "{times} x"),
            Self::Slower => write!(f, "{STEP} x, 3 times slower"),
            Self::Quicker => write!(f, "{STEP} x, quick again"),
        }
    }
}

impl Case {
    /// Whether there are goals for it.
    fn counts(self) -> bool {
        !matches!(self, Self::Load(times) if times != STEP)
    }
}

/// What is compared.
struct Kind {
    name: &'static str,
    unit: &'static str,
    read: fn(&Turn) -> Option<f64>,
    /// What stands beside ours, and what ours should be to it.
    mark: fn(Case) -> Option<(&'static str, f64, Goal)>,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "good answers",
        unit: "1/s",
        read: |turn| Some(turn.goodput),
        mark: |case| Some(("capacity", case.capacity(), Goal::AtLeast(GOODPUT))),
    },
    Kind { name: "admitted, p50", unit: "ms", read: |turn| turn.p50, mark: |_| None },
    Kind {
        name: "admitted, p99",
        unit: "ms",
        read: |turn| turn.p99,
        mark: |case| Some(("at most", ADMITTED * 1e3 / case.capacity(), Goal::AtMost(1.0))),
    },
    Kind {
        name: "refused, p99",
        unit: "ms",
        read: |turn| turn.refused,
        mark: |_| Some(("at most", REFUSED, Goal::AtMost(1.0))),
    },
    Kind { name: "work in vain", unit: "share", read: |turn| turn.vain, mark: |_| None },
];

/// For each case and kind a row with its goal, and a row a peer; what only peers have done stands there too.
pub(super) fn rows(measured: &[Measured]) -> Vec<Row> {
    let mut cases: Vec<Case> = measured.iter().map(|it| it.case).collect();
    cases.dedup();
    let mut rows = Vec::new();
    for case in cases {
        for kind in &KINDS {
            let name = format!("{case}: {}", kind.name);
            let of = |it: &Measured| Summary::of(it.turns.iter().filter_map(kind.read));
            let here = || measured.iter().filter(|it| it.case == case);
            let ours = here().find(|it| it.subject == Subject::Sluicegate).and_then(of);
            if let Some((mark, value, goal)) = (kind.mark)(case) {
                let goal = case.counts().then_some(goal);
                rows.push(Row::new((&name, kind.unit), ours, (mark, Summary::of([value])), goal));
            }
            for peer in here().filter(|it| it.subject != Subject::Sluicegate) {
                rows.push(Row::new((&name, kind.unit), ours, (&peer.subject.to_string(), of(peer)), None));
            }
        }
    }
    rows.extend(measured.iter().flat_map(beside_lab));
    rows.retain(|row| row.ours.is_some() || row.theirs.is_some());
    rows
}

/// What was measured of one subject beside what was predicted.
fn beside_lab(it: &Measured) -> Vec<Row> {
    let row = |kind: &Kind| {
        let of = |turns: &[Turn]| Summary::of(turns.iter().filter_map(kind.read));
        let (live, lab) = (of(&it.turns)?, of(&it.lab)?);
        let differs = (live.median / lab.median - 1.0) * 100.0;
        let lab_is = if differs.is_finite() { format!("lab ({differs:+.1} %)") } else { "lab".into() };
        let name = format!("{}: {}, {} live", it.case, kind.name, it.subject);
        Some(Row::new((&name, kind.unit), Some(live), (&lab_is, Some(lab)), None))
    };
    KINDS.iter().filter_map(row).collect()
}

/// What makes numbers doubtful.
pub(super) fn faults(measured: &[Measured]) -> Vec<String> {
    let of = |it: &Measured| {
        let (case, subject) = (it.case, it.subject);
        let all = it.turns.iter().flat_map(|turn| turn.faults.clone());
        all.map(move |fault| format!("{case}, {subject}: {fault}")).collect::<Vec<_>>()
    };
    measured.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(case: Case, subject: Subject, goodput: f64, p99: f64) -> Measured {
        let turn = Turn {
            goodput,
            p50: Some(20.0),
            p99: Some(p99),
            refused: None,
            vain: Some(0.0),
            faults: vec!["late".into()],
        };
        Measured { case, subject, turns: vec![turn; 5], lab: Vec::new() }
    }

    #[test]
    fn goals_are_those_of_ten_times_and_of_the_steps() {
        let all = [
            measured(Case::Load(2), Subject::Sluicegate, 90.0, 60.0),
            measured(Case::Load(10), Subject::Sluicegate, 96.0, 45.0),
            measured(Case::Load(10), Subject::Nginx, 101.0, 42.0),
            measured(Case::Slower, Subject::Sluicegate, 31.0, 134.0),
        ];
        let rows = rows(&all);
        let row = |case: &str, peer: &str| {
            let row = rows.iter().find(|row| row.case == case && row.peer == peer).unwrap();
            (row.goal.is_some(), row.met)
        };
        assert_eq!(row("2 x: good answers", "capacity"), (false, None));
        assert_eq!(row("10 x: good answers", "capacity"), (true, Some(true)));
        assert_eq!(row("10 x: admitted, p99", "at most"), (true, Some(true)));
        assert_eq!(row("10 x: good answers", "nginx limit_conn"), (false, None));
        // 31 of 33.3; within 135 ms.
        assert_eq!(row("10 x, 3 times slower: good answers", "capacity"), (true, Some(false)));
        assert_eq!(row("10 x, 3 times slower: admitted, p99", "at most"), (true, Some(true)));
        assert!(rows.iter().all(|row| !row.peer.starts_with("lab")));
        assert_eq!(faults(&all).len(), 20);
        assert_eq!(faults(&all)[0], "2 x, sluicegate: late");
    }

    #[test]
    fn life_stands_beside_the_lab_with_the_difference() {
        let mut live = measured(Case::Load(10), Subject::Sluicegate, 99.0, 36.0);
        live.lab = measured(Case::Load(10), Subject::Sluicegate, 100.0, 35.2).turns;
        let rows = rows(&[live]);
        let peer = |case: &str| rows.iter().find(|row| row.case == case).unwrap().peer.clone();
        assert_eq!(peer("10 x: good answers, sluicegate live"), "lab (-1.0 %)");
        assert_eq!(peer("10 x: admitted, p99, sluicegate live"), "lab (+2.3 %)");
        assert_eq!(peer("10 x: work in vain, sluicegate live"), "lab", "of nothing there are no parts");
    }
}
