//! Where we answer otherwise than a peer, on purpose: a committed list, which a replay holds to be exact.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::case::{CaseId, Departure};
use super::check::{Check, Value};
use super::error::ReplayError;

/// The list, in TOML.
///
/// ```
/// use sluicegate_testkit::replay::Deviations;
///
/// let list = Deviations::parse(r#"
///     [[deviation]]
///     reason = "More than the capacity is never granted."
///     [[deviation.at]]
///     source = "a peer"
///     test = "its test"
///     step = 3
///     peer = { ok = true, delay_ns = 5 }
///     ours = { ok = "never", delay_ns = 0 }
/// "#)?;
/// assert_eq!(list.deviations[0].at[0].nth, 1);
/// # Ok::<(), sluicegate_testkit::replay::ReplayError>(())
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviations {
    /// One decision of ours each.
    #[serde(default, rename = "deviation")]
    pub deviations: Vec<Deviation>,
}

impl Deviations {
    /// Reads the text of a list.
    ///
    /// # Errors
    /// If it isn't TOML, or has a field that isn't known here, or lacks one.
    pub fn parse(text: &str) -> Result<Self, ReplayError> {
        toml::from_str(text).map_err(ReplayError::Deviations)
    }

    /// The list that is committed, for the facts that are.
    ///
    /// # Errors
    /// If somebody broke it.
    pub fn committed() -> Result<Self, ReplayError> {
        Self::parse(include_str!("../../facts/deviations.toml"))
    }

    /// Where this case is listed.
    pub(crate) fn of<'a>(&'a self, id: &'a CaseId) -> impl Iterator<Item = Listed<'a>> {
        self.places().filter(|listed| listed.place.is_in(id))
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = Listed<'_>> {
        self.deviations.iter().flat_map(|deviation| {
            deviation.at.iter().map(|place| Listed { place, reason: &deviation.reason })
        })
    }
}

/// One decision of ours.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Why, in a sentence.
    pub reason: String,
    /// Where it shows.
    pub at: Vec<Place>,
}

/// A step, the peer's answer and ours.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The case's source.
    pub source: String,
    /// The case's test.
    pub test: String,
    /// Which of the cases of that name, in the file's order, from 1.
    #[serde(default = "first")]
    pub nth: usize,
    /// Counted from 1; 0 is the making of the limiter.
    pub step: usize,
    /// The fields that disagree, as the peer has them.
    pub peer: BTreeMap<String, Value>,
    /// The same fields, as we have them.
    pub ours: BTreeMap<String, Value>,
}

const fn first() -> usize {
    1
}

impl Place {
    pub(crate) fn is_in(&self, id: &CaseId) -> bool {
        (&self.source, &self.test, self.nth) == (&id.source, &id.test, id.nth)
    }

    /// Whether this is how the step departs: these fields and no others, with these values.
    pub(crate) fn describes(&self, departure: &Departure) -> bool {
        let fields = |value: fn(&Check) -> &Value| -> BTreeMap<String, Value> {
            departure.checks.iter().map(|check| (check.field.to_owned(), value(check).clone())).collect()
        };
        self.peer == fields(|check| &check.peer) && self.ours == fields(|check| &check.ours)
    }
}

/// The values of both sides.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |fields: &BTreeMap<String, Value>| {
            fields.iter().map(|(field, value)| format!("{field} {value}")).collect::<Vec<_>>().join(", ")
        };
        write!(f, "peer: {}, ours: {}", list(&self.peer), list(&self.ours))
    }
}

/// A place with its reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) place: &'a Place,
    pub(crate) reason: &'a str,
}
