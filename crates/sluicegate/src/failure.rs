//! A well-formed error: facts and an ID.
//!
//! What a person at night needs of an error ("Concurrency in Go", chapter 5): what happened, when and where, what was
//! known at each level on the way, a line that can be shown to a user, and how to find the rest. A [`Failure`] is made
//! once, where it happens; each module it leaves adds where it did ([`through`](Failure::through)); it is rendered
//! once, at the door.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;

use sluicegate_core::clock::Utc;
use uuid::Uuid;

/// What kind of failure this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One that was foreseen. The code is stable and for machines: a short name such as `upstream-unreachable`.
    Known(&'static str),
    /// One that nobody foresaw: it is shown as an unexpected issue, and somebody should look at its record.
    Bug,
}

/// Whether it makes sense to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lasting {
    /// It should pass by itself.
    Transitory,
    /// The same request will fail again.
    Permanent,
}

/// A place in the source on a failure's way, with the module that it left there.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The module, as it calls itself.
    pub module: &'static str,
    /// File, line and column.
    pub location: &'static Location<'static>,
}

/// A well-formed error. Time, place and log ID are fixed where it is made.
///
/// `Display` is what happened, for a log; [`friendly`](Self::friendly) is one line to show to a user;
/// [`record`](Self::record) is all of it. `source` leads to the cause.
///
/// ```
/// use sluicegate::failure::{Failure, Kind, Lasting};
///
/// fn connect() -> Result<(), Failure> {
///     let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
///     Err(Failure::known("upstream-unreachable", Lasting::Transitory, "can't connect to the upstream")
///         .showing("The service behind this one can't be reached.")
///         .with("upstream", "127.0.0.1:9000")
///         .because(refused))
/// }
///
/// let failure = connect().map_err(|failure| failure.through("proxy")).unwrap_err();
/// assert_eq!(failure.kind(), Kind::Known("upstream-unreachable"));
/// assert!(failure.friendly().starts_with("The service behind this one can't be reached. Please try again"));
/// assert!(failure.friendly().ends_with(&format!("(log ID {})", failure.id())));
/// assert!(failure.record().contains("connection refused"));
/// ```
pub struct Failure {
    /// Behind a pointer: a result with this error stays small.
    facts: Box<Facts>,
}

struct Facts {
    kind: Kind,
    lasting: Lasting,
    what: Cow<'static, str>,
    friendly: Option<Cow<'static, str>>,
    context: Vec<(&'static str, String)>,
    born: Utc,
    id: Uuid,
    origin: &'static Location<'static>,
    /// Module boundaries, innermost first.
    places: Vec<Place>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that was foreseen: `code` is for machines, `what` for the log.
    #[track_caller]
    #[must_use]
    pub fn known(code: &'static str, lasting: Lasting, what: impl Into<Cow<'static, str>>) -> Self {
        Self::born(Kind::Known(code), lasting, what.into())
    }

    /// A failure that nobody foresaw.
    #[track_caller]
    #[must_use]
    pub fn bug(what: impl Into<Cow<'static, str>>) -> Self {
        Self::born(Kind::Bug, Lasting::Permanent, what.into())
    }

    #[track_caller]
    fn born(kind: Kind, lasting: Lasting, what: Cow<'static, str>) -> Self {
        let (context, places) = (Vec::new(), Vec::new());
        let (born, id, origin) = (Utc::now(), Uuid::now_v7(), Location::caller());
        let facts =
            Facts { kind, lasting, what, friendly: None, context, born, id, origin, places, cause: None };
        Self { facts: Box::new(facts) }
    }

    /// What a user is told of it, a sentence; whether to try again and the log ID are added. A bug is told the same
    /// way whatever it is, so this has no effect on one.
    #[must_use]
    pub fn showing(mut self, sentence: impl Into<Cow<'static, str>>) -> Self {
        self.facts.friendly = Some(sentence.into());
        self
    }

    /// Adds a fact. Nothing secret: it goes to the log.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.facts.context.push((key, value.to_string()));
        self
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.facts.cause = Some(cause.into());
        self
    }

    /// Adds that it leaves `module` here: called at the module's boundary.
    #[track_caller]
    #[must_use]
    pub fn through(mut self, module: &'static str) -> Self {
        self.facts.places.push(Place { module, location: Location::caller() });
        self
    }

    /// Known case or bug.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.facts.kind
    }

    /// Whether to try again.
    #[must_use]
    pub fn lasting(&self) -> Lasting {
        self.facts.lasting
    }

    /// What finds the record in the log: a UUID of version 7, unique, ordered by time.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.facts.id
    }

    /// When it was made.
    #[must_use]
    pub fn born_at(&self) -> Utc {
        self.facts.born
    }

    /// Where it was made.
    #[must_use]
    pub fn origin(&self) -> &'static Location<'static> {
        self.facts.origin
    }

    /// The module boundaries it has crossed, innermost first.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.facts.places
    }

    /// The facts that were added, in order.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.facts.context
    }

    /// One line for a user: what it means, whether to try again, and the log ID. A bug shows nothing of its inside.
    #[must_use]
    pub fn friendly(&self) -> String {
        let Facts { kind, lasting, what, friendly, id, .. } = &*self.facts;
        let sentence = match kind {
            Kind::Bug => "There was an unexpected issue; please report it.",
            Kind::Known(_) => friendly.as_ref().unwrap_or(what),
        };
        let stop = if sentence.ends_with(['.', '!', '?']) { "" } else { "." };
        let advice = match (kind, lasting) {
            (Kind::Bug, _) => "",
            (_, Lasting::Transitory) => " Please try again later.",
            (_, Lasting::Permanent) => " Trying again will not help.",
        };
        format!("{}{stop}{advice} (log ID {id})", one_line(sentence))
    }

    /// All of it, over several lines, for a log: ID, instant, kind, what, context, places, causes.
    #[must_use]
    pub fn record(&self) -> String {
        self.to_string_with(|f| self.write_record(f))
    }

    fn to_string_with(&self, write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> String {
        fmt::from_fn(write).to_string()
    }

    fn write_record(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &*self.facts;
        let kind = match facts.kind {
            Kind::Known(code) => code,
            Kind::Bug => "bug",
        };
        write!(f, "{} {} [{kind}] {}", facts.id, rfc3339(facts.born), one_line(&facts.what))?;
        for (key, value) in &facts.context {
            write!(f, "\n  {key}: {}", one_line(value))?;
        }
        write!(f, "\n  at {}", facts.origin)?;
        for place in &facts.places {
            write!(f, "\n  left {} at {}", place.module, place.location)?;
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\n  because {}", one_line(&error.to_string()))?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Text from elsewhere with its control characters escaped, so that it can't forge a line of the log.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// The instant in the form of RFC 3339, UTC.
fn rfc3339(instant: Utc) -> String {
    // Nanoseconds in a u64 end in the year 2554, well within what a timestamp holds.
    jiff::Timestamp::from_nanosecond(i128::from(instant.as_nanos()))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.facts.what)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_record(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.facts.cause.as_ref()?;
        Some(&**cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low() -> Failure {
        Failure::bug("index 7 of 5")
            .because(std::io::Error::other("disk\nfull"))
            .with("path", "a\nforged line")
    }

    #[test]
    fn facts_are_fixed_at_the_origin_and_each_boundary_adds_its_place() {
        let failure = low();
        let (id, born, origin) = (failure.id(), failure.born_at(), failure.origin());
        let line = line!() + 1;
        let failure = failure.through("store").through("gateway");
        assert_eq!((failure.id(), failure.born_at(), failure.origin().line()), (id, born, origin.line()));
        let places: Vec<_> = failure.places().iter().map(|p| (p.module, p.location.line())).collect();
        assert_eq!(places, [("store", line), ("gateway", line)]);
        assert!(origin.file().ends_with("failure.rs"));
        assert_eq!(id.get_version_num(), 7);
    }

    #[test]
    fn ids_differ() {
        assert_ne!(low().id(), low().id());
    }

    #[test]
    fn a_bug_shows_nothing_of_its_inside_and_the_record_shows_all() {
        let failure = low().showing("secret details");
        let friendly = failure.friendly();
        assert_eq!(
            friendly,
            format!("There was an unexpected issue; please report it. (log ID {})", failure.id())
        );
        let record = failure.record();
        for part in ["[bug] index 7 of 5", "path: a\\nforged line", "because disk", &failure.id().to_string()]
        {
            assert!(record.contains(part), "{part} in {record}");
        }
    }

    #[test]
    fn the_friendly_line_says_whether_it_passes() {
        let known = |lasting| Failure::known("gone", lasting, "no such thing").friendly();
        assert!(known(Lasting::Permanent).starts_with("no such thing. Trying again will not help. (log ID "));
        let forged = Failure::known("gone", Lasting::Permanent, "a\nb");
        assert!(!forged.friendly().contains('\n') && forged.record().lines().count() == 2);
        assert!(known(Lasting::Transitory).starts_with("no such thing. Please try again later. (log ID "));
    }

    #[test]
    fn the_cause_can_be_reached_as_what_it_is() {
        let failure = low();
        let cause = failure.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
        assert_eq!(cause.unwrap().to_string(), "disk\nfull");
    }

    #[test]
    fn an_instant_reads_as_rfc_3339() {
        assert_eq!(rfc3339(Utc::from_nanos(1_500_000_000)), "1970-01-01T00:00:01.5Z");
    }
}
