//! The rows for machines: ours beside the pass line, what was published, and everybody else.

use sluicegate_testkit::lab::overload::{Bound, Measure, OURS, Shape};

use super::seen::{Seen, is_ours, met, published};
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// All of an experiment.
pub(super) fn rows(seen: &Seen) -> Vec<Row> {
    let tables = seen.measures.iter().filter(|measure| measure.shape != Shape::OnlyChart);
    tables.flat_map(|measure| seen.places(measure).into_iter().flat_map(|x| at(seen, measure, x))).collect()
}

/// All of one place.
fn at(seen: &Seen, measure: &Measure, x: f64) -> Vec<Row> {
    let case = |subject: &str| {
        let variant = subject.strip_prefix(OURS).unwrap_or_default();
        format!("{} {}, {} {x}{variant}", seen.about.name, measure.name, measure.axis.name)
    };
    let ours = seen.at(measure, OURS, x);
    let mut rows = Vec::new();
    for subject in seen.subjects(measure) {
        let Some(summary) = seen.at(measure, subject, x) else { continue };
        match measure.goal {
            Some(goal) if is_ours(subject) => rows.push(judged(&case(subject), measure.unit, summary, goal)),
            _ if subject == OURS => {}
            // A variant of ours, without a goal, stands beside ours as a peer does.
            _ => rows.push(Row::new((&case(OURS), measure.unit), ours, (subject, Some(summary)), None)),
        }
    }
    if let Some(told) = published(measure, x) {
        rows.push(Row::new((&case(OURS), measure.unit), ours, ("published", Summary::of([told])), None));
    }
    rows
}

/// Beside what it has to keep to. The ratio is of the medians, whatever is judged.
fn judged(case: &str, unit: &'static str, ours: Summary, bound: Bound) -> Row {
    let (peer, line, goal) = match bound {
        Bound::AtMost(most) => ("at most", most, Goal::AtMost(1.0)),
        Bound::AtLeast(least) => ("at least", least, Goal::AtLeast(1.0)),
        Bound::Within(part) => ("as near as can be", 1.0, Goal::Within(part)),
        Bound::NoneAbove(most) => ("at most, each seed", most, Goal::AtMost(1.0)),
        Bound::NoneBelow(least) => ("at least, each seed", least, Goal::AtLeast(1.0)),
    };
    let row = Row::new((case, unit), Some(ours), (peer, Summary::of([line])), Some(goal));
    Row { met: Some(met(bound, ours)), ..row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_zero_is_judged_too_and_each_seed_by_the_worst() {
        let ours = Summary { median: 0.0, min: 0.0, max: 3.0 };
        let row = judged("a", "requests", ours, Bound::NoneAbove(0.0));
        assert_eq!((row.ratio, row.met), (None, Some(false)));
        assert_eq!(judged("a", "requests", ours, Bound::AtMost(0.0)).met, Some(true));
        assert_eq!(judged("a", "times", ours, Bound::Within(0.1)).met, Some(false));
    }
}
