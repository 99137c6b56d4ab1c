//! From turns to rows.

use super::subjects::{FAST, Limit, Subject};
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// Of a bare copy's time.
const OF_BARE: f64 = 1.05;

/// How far from the asked rate.
const OF_RATE: f64 = 0.01;

/// A row for all that is not bare.
pub(crate) fn rows(measured: &[(Subject, Vec<u64>)], copied: u64) -> Vec<Row> {
    let throttled = measured.iter().filter(|(subject, _)| subject.limit != Limit::Bare);
    throttled.map(|(subject, turns)| row(subject, turns, measured, copied)).collect()
}

fn row(subject: &Subject, turns: &[u64], measured: &[(Subject, Vec<u64>)], copied: u64) -> Row {
    if let Limit::Rate(rate) = subject.limit {
        let reached = turns.iter().map(|nanos| as_f64(subject.len(copied)) * 1e3 / as_f64(*nanos));
        let asked = Summary::of([as_f64(rate) / 1e6]);
        let goal = Some(Goal::Within(OF_RATE));
        return Row::new((&subject.to_string(), "MB/s"), Summary::of(reached), ("asked", asked), goal);
    }
    let bare = Subject { limit: Limit::Bare, ..*subject };
    let theirs = measured.iter().find(|(other, _)| *other == bare).map_or(&[][..], |(_, turns)| turns);
    // No copy can be faster than its quota.
    let least =
        if subject.limit == Limit::Empty { as_f64(copied) * 1e3 / as_f64(FAST / 1_000_000) } else { 0.0 };
    let millis = |nanos: &u64| as_f64(*nanos).max(least) / 1e6;
    let (ours, theirs) = (Summary::of(turns.iter().map(millis)), Summary::of(theirs.iter().map(millis)));
    Row::new((&subject.to_string(), "ms"), ours, ("bare", theirs), Some(Goal::AtMost(OF_BARE)))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
