//! From turns to rows, and what makes a turn count for nothing.

use super::subjects::{Ask, Case, Subject, Who};
use super::turn::Turn;
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// A subject and its turns.
pub(crate) type Measured = (Subject, Vec<Turn>);

/// Of governor's time with the same clock.
const OF_GOVERNOR: f64 = 0.95;

/// Of the floor's time.
const OF_FLOOR: f64 = 1.15;

/// Of governor's decisions a second on several threads, by the bucket for threads that contend.
const STRIPED_OF_GOVERNOR: f64 = 3.0;

/// For each case a row a peer.
pub(crate) fn rows(measured: &[Measured]) -> Vec<Row> {
    let summary = |case: Case, turns: &[Turn]| {
        let read = if case.threads == 1 { Turn::nanos } else { Turn::millions };
        Summary::of(turns.iter().map(read))
    };
    let ours = |case: Case| {
        let own = measured.iter().find(|(subject, _)| subject.case == case && subject.who == Who::Ours)?;
        summary(case, &own.1)
    };
    let peers = measured.iter().filter(|(subject, _)| subject.who != Who::Ours);
    let row = |(subject, turns): &Measured| {
        let case = subject.case;
        // Half the time is twice the decisions.
        let goal = |most: f64| {
            if case.threads == 1 { Goal::AtMost(most) } else { Goal::AtLeast((100.0 / most).round() / 100.0) }
        };
        let contends = case.threads > 1 && case.ask == Ask::GrantedStriped;
        let (peer, goal) = match subject.who {
            Who::Governor if contends => ("governor", Some(Goal::AtLeast(STRIPED_OF_GOVERNOR))),
            Who::Governor if case.ask.is_striped() => ("governor", None),
            Who::Floor if case.ask.is_striped() => ("floor", None),
            Who::Plain => ("our plain bucket", None),
            Who::Governor => ("governor", Some(goal(OF_GOVERNOR))),
            Who::Floor => ("floor", Some(goal(OF_FLOOR))),
            _ => ("leaky-bucket", None),
        };
        let unit = if case.threads == 1 { "ns" } else { "M/s" };
        Row::new((&case.to_string(), unit), ours(case), (peer, summary(case, turns)), goal)
    };
    peers.map(row).collect()
}

/// Turns in which not every answer was what the case is about.
pub(crate) fn faults(measured: &[Measured]) -> Vec<String> {
    let wrong = |(subject, turns): &Measured| {
        let expected = |turn: &Turn| if subject.case.ask.grants() { turn.decisions } else { 0 };
        let turn = turns.iter().find(|turn| turn.granted != expected(turn))?;
        let (who, case) = (subject.who, subject.case);
        Some(format!("{who:?}, {case}: {} were granted in a turn, not {}", turn.granted, expected(turn)))
    };
    measured.iter().filter_map(wrong).collect()
}
