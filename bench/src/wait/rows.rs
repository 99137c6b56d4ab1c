//! From turns to rows, and what makes a turn count for nothing.

use super::limiters::RATE;
use super::{Case, DECISIONS, LEAVERS, Subject, Who, crowd, leave, several};
use crate::bucket::turn;
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// What a turn said.
#[derive(Clone, Debug)]
pub(crate) enum Sample {
    Crowd(crowd::Turn),
    Leave(leave::Turn),
    Several(turn::Turn),
}

/// A subject and its turns.
pub(crate) type Measured = (Subject, Vec<Sample>);

/// Microseconds of processor time a grant.
const CPU: f64 = 1.5;

/// Milliseconds that 99 of 100 are late at the most.
const LATE: f64 = 5.0;

/// Three limits together, of the time of three checks.
const TOGETHER: f64 = 0.6;

/// A number of a crowd's turn: its name, its unit, how it is read, and what ours is to be.
type Column = (&'static str, &'static str, fn(&crowd::Turn) -> f64, Option<(&'static str, f64, Goal)>);

/// For each case and number a row a peer, and one for what was decided beforehand.
pub(crate) fn rows(measured: &[Measured]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    for (subject, _) in measured {
        if !cases.contains(&subject.case) {
            cases.push(subject.case);
        }
    }
    for case in cases {
        match case {
            Case::Crowd(_) => crowd_rows(measured, case, &mut rows),
            Case::Several(of) => several_rows(measured, of, &mut rows),
            Case::Leave(waiters) => leave_rows(measured, waiters, &mut rows),
        }
    }
    rows
}

fn crowd_rows(measured: &[Measured], case: Case, rows: &mut Vec<Row>) {
    let columns: [Column; 5] = [
        ("rate", "/s", |turn| turn.rate, Some(("quota", f64::from(RATE), Goal::AtLeast(0.99)))),
        ("CPU a grant", "us", |turn| turn.cpu, Some(("bound", CPU, Goal::AtMost(1.0)))),
        ("late, p50", "ms", |turn| turn.late[0], None),
        ("late, p99", "ms", |turn| turn.late[1], Some(("bound", LATE, Goal::AtMost(1.0)))),
        ("in order", "%", |turn| turn.in_order, Some(("all", 100.0, Goal::AtLeast(1.0)))),
    ];
    for (name, unit, read, bound) in columns {
        let of = |who| {
            summary(measured, Subject { case, who }, |sample| match sample {
                Sample::Crowd(turn) => Some(read(turn)),
                _ => None,
            })
        };
        let name = format!("{case}: {name}");
        if let Some((bound, number, goal)) = bound {
            rows.push(Row::new((&name, unit), of(Who::Ours), (bound, Summary::of([number])), Some(goal)));
        }
        for peer in [Who::Governor, Who::Leaky] {
            if let Some(theirs) = of(peer) {
                rows.push(Row::new((&name, unit), of(Who::Ours), (peer.name(), Some(theirs)), None));
            }
        }
    }
}

fn several_rows(measured: &[Measured], of: several::Case, rows: &mut Vec<Row>) {
    let case = Case::Several(of);
    let of = |who| {
        summary(measured, Subject { case, who }, |sample| match sample {
            Sample::Several(turn) => Some(turn.nanos()),
            _ => None,
        })
    };
    let goal = Some(Goal::AtMost(TOGETHER));
    rows.push(Row::new((&case.to_string(), "ns"), of(Who::Ours), ("governor", of(Who::Governor)), goal));
}

fn leave_rows(measured: &[Measured], waiters: usize, rows: &mut Vec<Row>) {
    let of = |who, waiters| {
        summary(measured, Subject { case: Case::Leave(waiters), who }, |sample| match sample {
            Sample::Leave(turn) => Some(turn.nanos),
            _ => None,
        })
    };
    let (name, ours) = (Case::Leave(waiters).to_string(), of(Who::Ours, waiters));
    if let Some(theirs) = of(Who::Leaky, waiters) {
        rows.push(Row::new((&name, "ns"), ours, (Who::Leaky.name(), Some(theirs)), None));
    }
    if waiters != LEAVERS[0] {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let growth = (waiters as f64).ln() / (LEAVERS[0] as f64).ln();
        let few = of(Who::Ours, LEAVERS[0]).map(|few| Summary {
            median: few.median * growth,
            min: few.min * growth,
            max: few.max * growth,
        });
        rows.push(Row::new((&name, "ns"), ours, ("log n", few), Some(Goal::AtMost(1.0))));
    }
}

fn summary(measured: &[Measured], of: Subject, read: impl Fn(&Sample) -> Option<f64>) -> Option<Summary> {
    let (_, samples) =
        measured.iter().find(|(subject, _)| subject.case == of.case && subject.who == of.who)?;
    Summary::of(samples.iter().filter_map(read))
}

/// Turns in which not everything was as the case is about.
pub(crate) fn faults(measured: &[Measured]) -> Vec<String> {
    let wrong = |(subject, samples): &Measured| {
        let (who, case) = (subject.who.name(), subject.case);
        samples.iter().find_map(|sample| match sample {
            Sample::Crowd(turn) if turn.refused > 0 => {
                Some(format!("{who}, {case}: {} were refused in a turn", turn.refused))
            }
            Sample::Leave(turn) if turn.in_line != turn.waiters => {
                Some(format!("{who}, {case}: {} were in line, not {}", turn.in_line, turn.waiters))
            }
            Sample::Several(turn) if turn.granted != expected(subject.case) => {
                Some(format!("{who}, {case}: {} were granted, not {}", turn.granted, expected(subject.case)))
            }
            _ => None,
        })
    };
    measured.iter().filter_map(wrong).collect()
}

fn expected(case: Case) -> u64 {
    match case {
        Case::Several(case) if case.grants => DECISIONS,
        _ => 0,
    }
}
