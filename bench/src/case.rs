//! Who does what in turns: ours, and others that do the same beside it.

use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// What is done in a case, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// What all of a case do.
    pub(crate) case: String,
    /// None for ours.
    peer: Option<&'static str>,
    goal: Option<Goal>,
}

impl Part {
    /// Ours.
    pub(crate) fn ours(case: &str) -> Self {
        Self { case: case.into(), peer: None, goal: None }
    }

    /// A peer's, and what ours has to be beside it.
    pub(crate) fn of(self, peer: &'static str, goal: Option<Goal>) -> Self {
        Self { peer: Some(peer), goal, ..self }
    }

    /// The fault of a turn, unless all of its operations came out right.
    pub(crate) fn fault(&self, right: u64, all: u64) -> Option<String> {
        let (case, who, wrong) = (&self.case, self.peer.unwrap_or("ours"), all - right);
        (wrong > 0).then(|| format!("{case}, {who}: {wrong} of {all} came out wrong"))
    }
}

/// Ours beside each peer of its case, from the nanoseconds of each round. The first round warms up.
pub(crate) fn rows<'p>(turns: impl IntoIterator<Item = (&'p Part, Vec<f64>)>) -> Vec<Row> {
    let measured: Vec<_> =
        turns.into_iter().map(|(part, turns)| (part, Summary::of(turns.into_iter().skip(1)))).collect();
    let ours = |case: &str| {
        let own = measured.iter().find(|(part, _)| part.case == case && part.peer.is_none());
        own.and_then(|(_, summary)| *summary)
    };
    let rows = measured.iter().filter_map(|(part, theirs)| {
        Some(Row::new((&part.case, "ns"), ours(&part.case), (part.peer?, *theirs), part.goal))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stands_beside_each_peer_of_its_case_without_the_first_round() {
        let goal = Some(Goal::AtMost(1.0));
        let parts = [
            Part::ours("a"),
            Part::ours("a").of("theirs", goal),
            Part::ours("b"),
            Part::ours("b").of("others", None),
        ];
        let turns = [[9.0, 1.0], [9.0, 2.0], [0.0, 3.0], [0.0, 2.0]];
        let rows = rows(parts.iter().zip(turns.map(Vec::from)));
        let read = |row: &Row| (row.case.clone(), row.peer.clone(), row.ratio, row.met);
        let (a, b) = (("a".into(), "theirs".into()), ("b".into(), "others".into()));
        assert_eq!(
            rows.iter().map(read).collect::<Vec<_>>(),
            [(a.0, a.1, Some(0.5), Some(true)), (b.0, b.1, Some(1.5), None)]
        );
    }

    #[test]
    fn what_came_out_wrong_is_told_and_by_whom() {
        let part = Part::ours("a").of("theirs", None);
        assert_eq!(part.fault(10, 10), None);
        assert_eq!(part.fault(8, 10).as_deref(), Some("a, theirs: 2 of 10 came out wrong"));
    }
}
