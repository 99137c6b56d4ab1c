//! From seeds to rows.

use sluicegate_testkit::lab::tail::Outcome;

use super::{After, Busy, How, Keys, OF_KEYS, OF_REQUESTS, Seed, kinds};
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// Milliseconds that reading all keys may take at the 99.9th percentile, with a hedge after 10 ms.
const TAIL: f64 = 90.0;
/// Requests over keys.
const REQUESTS: f64 = 1.025;
/// As good as no worse: p99s of a few thousand requests are told apart to a hundredth.
const NOT_WORSE: f64 = 1.01;

const PUBLISHED: &str = "published";

/// All of them.
pub(super) fn rows(seeds: &[Seed]) -> Vec<Row> {
    let mut rows = keys(seeds);
    rows.extend(kinds().flat_map(|(kind, utilisation)| {
        let p99 = move |how| {
            let busy = Busy { kind, utilisation, how };
            Summary::of(
                seeds.iter().filter_map(|seed| Some(seed.servers.iter().find(|(of, _)| *of == busy)?.1)),
            )
        };
        let case = move |after: After, told: &str| {
            format!("H1 {kind:?} servers, {utilisation} busy, p99, {}{told}", text(after))
        };
        let told = After::all(OF_REQUESTS).map(move |after| {
            let ours = p99(How::Ours(after, true));
            let goal = Some(Goal::AtMost(NOT_WORSE));
            Row::new((&case(after, ", told"), "ms"), ours, ("not hedged", p99(How::Plain)), goal)
        });
        let tracked = After::Tracked(OF_REQUESTS);
        let beside = [(", told", true), ("", false)].map(|(text, told)| {
            let ours = p99(How::Ours(tracked, told));
            let case = case(tracked, text);
            p99(How::Tower).map(|theirs| Row::new((&case, "ms"), ours, ("tower's hedge", Some(theirs)), None))
        });
        told.chain(beside.into_iter().flatten()).collect::<Vec<_>>()
    }));
    rows.extend(tree(seeds));
    rows
}

fn keys(seeds: &[Seed]) -> Vec<Row> {
    let of = |how: Keys, number: fn(&Outcome) -> f64| {
        Summary::of(seeds.iter().filter_map(|seed| {
            let (_, outcome) = seed.keys.iter().find(|(of, _)| *of == how)?;
            Some(number(outcome))
        }))
    };
    let tail = |outcome: &Outcome| outcome.tail;
    let requests = |outcome: &Outcome| outcome.requests;
    let published = After::Fixed(10);
    let mut rows = Vec::new();
    let mut row = |case: &str, unit, ours, peer, theirs, goal| {
        rows.push(Row::new((&format!("H1 1000 keys, {case}"), unit), ours, (peer, theirs), goal));
    };
    row("p99.9, not hedged", "ms", of(Keys::Plain, tail), PUBLISHED, told(1800.0), None);
    for after in After::all(OF_KEYS) {
        let case = format!("p99.9, {}", text(after));
        let (ours, count) = (of(Keys::Ours(after), tail), of(Keys::Ours(after), requests));
        row(&case, "ms", ours, "not hedged", of(Keys::Plain, tail), Some(Goal::AtMost(1.0)));
        let more = format!("requests, {}", text(after));
        if after == published {
            row(&case, "ms", ours, PUBLISHED, told(74.0), None);
            row(&case, "ms", ours, "at most", told(TAIL), Some(Goal::AtMost(1.0)));
            row(&more, "times", count, PUBLISHED, told(1.02), None);
            row(&more, "times", count, "at most", told(REQUESTS), Some(Goal::AtMost(1.0)));
        }
        if matches!(after, After::Tracked(_)) || after == published {
            row(&case, "ms", ours, "tower's hedge", of(Keys::Tower, tail), None);
            row(&more, "times", count, "tower's hedge", of(Keys::Tower, requests), None);
        }
    }
    rows.retain(|row| row.theirs.is_some());
    rows
}

fn tree(seeds: &[Seed]) -> Vec<Row> {
    let mut rows = Vec::new();
    let percentiles = ["p50", "p95", "p99"].into_iter().enumerate();
    for (place, name) in percentiles {
        let [all, part] = [
            Summary::of(seeds.iter().map(|seed| seed.tree.whole[place])),
            Summary::of(seeds.iter().map(|seed| seed.tree.part[place])),
        ];
        let [published_all, published_part] =
            [[40.0, 87.0, 140.0], [12.0, 32.0, 70.0]].map(|of| told(of[place]));
        let mut row = |what: &str, ours, peer, theirs, goal| {
            rows.push(Row::new((&format!("H3 tree, {name}, {what}"), "ms"), ours, (peer, theirs), goal));
        };
        row("all leaves", all, PUBLISHED, published_all, None);
        row("part", part, PUBLISHED, published_part, None);
        row("part", part, "all leaves", all, (name == "p99").then_some(Goal::AtMost(0.5)));
    }
    rows
}

/// A number that somebody has told.
fn told(number: f64) -> Option<Summary> {
    Summary::of([number])
}

fn text(after: After) -> String {
    match after {
        After::Fixed(millis) => format!("hedged after {millis} ms"),
        After::Tracked(percentile) => format!("hedged after the {} % that are quickest", percentile * 100.0),
    }
}
