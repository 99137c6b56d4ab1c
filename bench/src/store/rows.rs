//! From turns to rows.

use super::subject::Turn;
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// A lone decision, of a bare script's time; and of its processor time, for which nothing was decided.
const LONE: Goal = Goal::AtMost(1.15);

/// Decisions of many tasks, of one script a decision.
const MANY: Goal = Goal::AtLeast(3.0);

/// Leased decisions, of one script a decision.
const LEASED: Goal = Goal::AtLeast(100.0);

/// A case and everybody's turns, ours first.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) case: String,
    pub(super) turns: Vec<(&'static str, Vec<Turn>)>,
}

impl Measured {
    fn of(&self, place: usize, read: fn(&Turn) -> f64) -> Option<Summary> {
        Summary::of(self.turns.get(place)?.1.iter().map(read))
    }

    /// Ours beside each peer, with a goal beside the first.
    fn rows(&self, what: &str, unit: &'static str, read: fn(&Turn) -> f64, goal: Option<Goal>) -> Vec<Row> {
        let peers = self.turns.iter().enumerate().skip(1);
        let row = |(place, (peer, _)): (usize, &(&'static str, Vec<Turn>))| {
            let goal = goal.filter(|_| place == 1);
            Row::new(
                (&format!("{}{what}", self.case), unit),
                self.of(0, read),
                (peer, self.of(place, read)),
                goal,
            )
        };
        peers.map(row).collect()
    }
}

fn micros(turn: &Turn) -> f64 {
    turn.micros
}

fn cpu(turn: &Turn) -> f64 {
    turn.cpu
}

fn rate(turn: &Turn) -> f64 {
    1e6 / turn.micros
}

pub(super) fn lone(measured: &Measured, published: f64) -> Vec<Row> {
    let mut rows = measured.rows("", "us", micros, Some(LONE));
    let elsewhere = ("published", Summary::of([published]));
    rows.push(Row::new((&measured.case, "us"), measured.of(0, micros), elsewhere, None));
    rows.extend(measured.rows(": CPU", "us", cpu, None));
    rows
}

pub(super) fn many(measured: &Measured) -> Vec<Row> {
    let mut rows = measured.rows("", "/s", rate, Some(MANY));
    rows.extend(measured.rows(": CPU", "us", cpu, None));
    rows
}

pub(super) fn leased(measured: &Measured) -> Vec<Row> {
    let mut rows = measured.rows("", "/s", rate, Some(LEASED));
    rows.extend(measured.rows(": CPU", "us", cpu, None));
    rows
}

pub(super) fn disk(measured: &Measured) -> Vec<Row> {
    measured.rows("", "us", micros, None)
}

/// Ours beside ours with the fewest keys.
pub(super) fn grown(measured: &Measured, first: &Measured) -> Vec<Row> {
    let mut rows = vec![Row::new(
        (&measured.case, "us"),
        measured.of(0, micros),
        ("the fewest", first.of(0, micros)),
        None,
    )];
    if measured.case.starts_with("redis") {
        let case = format!("{}: CPU", measured.case);
        rows.push(Row::new((&case, "us"), measured.of(0, cpu), ("the fewest", first.of(0, cpu)), None));
    }
    rows
}
