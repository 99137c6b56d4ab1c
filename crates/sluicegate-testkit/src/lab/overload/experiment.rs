//! What an experiment tells of itself, and what it answers.

use std::fmt;

use super::door::Door;

/// How our own subject is called in readings; variants begin with it.
pub const OURS: &str = "ours";

/// One of the published results, run with one seed at a time.
pub trait Experiment: Sync {
    /// What it is about.
    fn about(&self) -> About;

    /// What it measures, in the order of the table.
    fn measures(&self) -> Vec<Measure>;

    /// All subjects, peers included, with one seed.
    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading>;
}

/// What a reader must know of an experiment.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Such as `H6`.
    pub name: &'static str,
    /// A few words for the heads of tables and charts.
    pub title: &'static str,
    /// What was published, by whom, in one sentence.
    pub published: &'static str,
    /// What is run: servers, times, load, how long it is looked at, and what subjects are tuned to.
    pub model: &'static str,
}

/// One number of an experiment, for each subject and each place on an axis.
#[derive(Clone, Debug)]
pub struct Measure {
    /// What it is, such as `p99 of the wait`. Readings refer to it.
    pub name: &'static str,
    /// Such as `ms`.
    pub unit: &'static str,
    /// Over what it is drawn.
    pub axis: Axis,
    /// How it is shown.
    pub shape: Shape,
    /// What ours has to keep to, if anything.
    pub goal: Option<Bound>,
    /// What others have told.
    pub published: Vec<Published>,
    /// Whether it is drawn on a logarithmic scale.
    pub logarithmic: bool,
}

impl Measure {
    /// In the table and the chart, without a goal.
    #[must_use]
    pub const fn new(name: &'static str, unit: &'static str, axis: Axis) -> Self {
        Self { name, unit, axis, shape: Shape::Table, goal: None, published: Vec::new(), logarithmic: false }
    }

    /// What ours has to keep to.
    #[must_use]
    pub fn goal(self, goal: Bound) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// What others have told for a place on the axis.
    #[must_use]
    pub fn published(mut self, x: f64, value: f64) -> Self {
        self.published.push(Published { x, value });
        self
    }

    /// How it is shown.
    #[must_use]
    pub fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// Drawn on a logarithmic scale.
    #[must_use]
    pub fn logarithmic(self) -> Self {
        Self { logarithmic: true, ..self }
    }
}

/// A number somebody has published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Where on the axis.
    pub x: f64,
    /// The number.
    pub value: f64,
}

/// Over what a measure is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Such as `load`.
    pub name: &'static str,
    /// Such as `times capacity`.
    pub unit: &'static str,
}

/// How a measure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// In the table and in the chart.
    Table,
    /// Only in the table.
    OnlyTable,
    /// Only in the chart: it goes over time, with too many places for a table.
    OnlyChart,
}

/// What a number of ours has to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// The median of the seeds is no more than that.
    AtMost(f64),
    /// The median of the seeds is no less than that.
    AtLeast(f64),
    /// The median of the seeds is no farther from 1 than that.
    Within(f64),
    /// No seed has more than that.
    NoneAbove(f64),
    /// No seed has less than that.
    NoneBelow(f64),
}

/// One number of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The [name](Measure::name) of its measure.
    pub measure: &'static str,
    /// Who was measured: `none`, `static limit`, a peer's name, or [`OURS`] and what begins with it.
    pub subject: String,
    /// Where on the axis.
    pub x: f64,
    /// The number.
    pub value: f64,
}

impl Reading {
    /// One number of one run.
    pub fn new(measure: &'static str, subject: impl Into<String>, x: f64, value: f64) -> Self {
        Self { measure, subject: subject.into(), x, value }
    }
}

/// What somebody has tuned by hand, for doors that don't find it out.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    /// How many may be in the service.
    pub limit: u32,
    /// How many may wait before it.
    pub queue: usize,
}

/// A door from outside.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// As in readings.
    pub name: &'static str,
    /// Builds it, nobody inside.
    pub door: &'a (dyn Fn(Hand) -> Box<dyn Door> + Sync),
}

impl fmt::Debug for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}
