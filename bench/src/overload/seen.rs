//! What all seeds have read, by measure, subject and place.

use sluicegate_testkit::lab::overload::{About, Bound, Experiment, Measure, OURS, Reading};

use crate::rounds::Summary;

/// An experiment, and what came of it.
pub(super) struct Seen {
    pub(super) about: About,
    pub(super) measures: Vec<Measure>,
    spots: Vec<Spot>,
}

/// One number of a subject at one place.
struct Spot {
    measure: &'static str,
    subject: String,
    x: f64,
    values: Vec<f64>,
}

impl Seen {
    pub(super) fn of(experiment: &dyn Experiment, readings: Vec<Reading>) -> Self {
        let mut spots: Vec<Spot> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for Reading { measure, subject, x, value } in readings {
            let place = places.entry((measure, subject.clone(), x.to_bits())).or_insert_with(|| {
                spots.push(Spot { measure, subject, x, values: Vec::new() });
                spots.len() - 1
            });
            spots[*place].values.push(value);
        }
        Self { about: experiment.about(), measures: experiment.measures(), spots }
    }

    /// Who was measured, in the order of the readings.
    pub(super) fn subjects(&self, measure: &Measure) -> Vec<&str> {
        let mut subjects: Vec<&str> = Vec::new();
        for spot in self.spots.iter().filter(|spot| spot.measure == measure.name) {
            if !subjects.contains(&&*spot.subject) {
                subjects.push(&spot.subject);
            }
        }
        subjects
    }

    /// The places of a measure, from left to right.
    pub(super) fn places(&self, measure: &Measure) -> Vec<f64> {
        let mut places: Vec<f64> =
            self.spots.iter().filter(|it| it.measure == measure.name).map(|it| it.x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        places
    }

    /// Of all seeds.
    pub(super) fn at(&self, measure: &Measure, subject: &str, x: f64) -> Option<Summary> {
        let same =
            |it: &&Spot| it.measure == measure.name && it.subject == subject && it.x.to_bits() == x.to_bits();
        Summary::of(self.spots.iter().find(same)?.values.iter().copied())
    }
}

/// Whether it is ours.
pub(super) fn is_ours(subject: &str) -> bool {
    subject.starts_with(OURS)
}

/// Whether a number keeps to what was asked of it.
pub(super) fn met(bound: Bound, ours: Summary) -> bool {
    match bound {
        Bound::AtMost(most) => ours.median <= most,
        Bound::AtLeast(least) => ours.median >= least,
        Bound::Within(part) => (ours.median - 1.0).abs() <= part,
        Bound::NoneAbove(most) => ours.max <= most,
        Bound::NoneBelow(least) => ours.min >= least,
    }
}

/// What the published numbers say of a place.
pub(super) fn published(measure: &Measure, x: f64) -> Option<f64> {
    measure.published.iter().find(|it| it.x.to_bits() == x.to_bits()).map(|it| it.value)
}
