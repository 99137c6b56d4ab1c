//! A well-formed error: facts and an ID.
//!
//! What a person at night needs of an error ("Concurrency in Go", chapter 5): what happened, when and where, what was
//! known at each level on the way, a line that can be shown to a user, and how to find the rest.
//!
//! * A module says by type that it has a [`Boundary`]; its functions return a [`FailureOf`] it. A foreign error becomes one
//!   only by a [choice](OrFailure): a known case, or a bug. `?` on it does not compile.
//! * A failure of another module is taken in with [`through`](FailureOf::through), as it is, or
//!   [told anew](FailureOf::retold). Either adds the place; time, origin and log ID stay.
//! * At the door it is rendered, once: [a line](Failure::friendly) for the user, [all of it](Failure::record) for the log.
//!
//! With the feature `tracing` it logs itself, field by field: `Failure::log`.

mod boundary;
mod chain;
mod choice;
mod fingerprint;
#[cfg(feature = "tracing")]
mod log;
mod overdue;
pub(crate) mod panic;
mod process;
mod render;
#[cfg(test)]
mod tests;
mod text;

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use sluicegate_core::clock::Utc;
use uuid::Uuid;

pub use boundary::{Boundary, Crossing, FailureOf};
pub use choice::{Boxed, Choice, OrFailure, Plain};
pub use fingerprint::Fingerprint;
pub use panic::panic_message;
pub use process::{Backtraces, Process, identify};
pub use render::Terminal;

/// What kind of failure this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One that was foreseen. The code is stable and for machines: a short name such as `upstream-unreachable`.
    Known(&'static str),
    /// One that nobody foresaw: it is shown as an unexpected issue, and somebody should look at its record.
    Bug,
}

impl Kind {
    /// Its code; of a bug, `bug`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Known(code) => code,
            Self::Bug => "bug",
        }
    }
}

/// Whether it makes sense to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lasting {
    /// It should pass by itself, nobody knows when.
    Transitory,
    /// It should have passed after this time.
    For(Duration),
    /// The same request will fail again.
    Permanent,
}

impl Lasting {
    /// Transitory, for so long if that is known.
    #[must_use]
    pub const fn passing(wait: Option<Duration>) -> Self {
        match wait {
            Some(wait) => Self::For(wait),
            None => Self::Transitory,
        }
    }
}

/// A place in the source on a failure's way, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The module: its [`Boundary::NAME`].
    pub module: &'static str,
    /// File, line and column.
    pub location: &'static Location<'static>,
}

/// What it means to a module.
#[derive(Debug)]
struct Meaning {
    kind: Kind,
    lasting: Lasting,
    /// For the user; of a bug, for nobody but the log.
    line: Cow<'static, str>,
    /// For the log, where the line does not say it.
    what: Option<Cow<'static, str>>,
}

impl Meaning {
    fn what(&self) -> &Cow<'static, str> {
        self.what.as_ref().unwrap_or(&self.line)
    }
}

/// A well-formed error, whosever it is: what is rendered at a door, and found among the causes of others.
///
/// One is made as a [`FailureOf`] some module, and read through it. `Display` is what happened, for a log;
/// [`friendly`](Self::friendly) is one line to show to a user; [`record`](Self::record) is all of it, and so is `Debug`.
/// `source` leads to the cause.
///
/// ```
/// use sluicegate::failure::{Boundary, FailureOf, Kind, Lasting};
///
/// struct Proxy;
/// impl Boundary for Proxy {
///     const NAME: &'static str = "proxy";
/// }
///
/// fn connect() -> Result<(), FailureOf<Proxy>> {
///     let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
///     Err(FailureOf::known("upstream-unreachable", Lasting::Transitory, "The service can't be reached.")
///         .with("upstream", "127.0.0.1:9000")
///         .because(refused))
/// }
///
/// let failure = connect().unwrap_err();
/// assert_eq!(failure.kind(), Kind::Known("upstream-unreachable"));
/// let id = failure.id();
/// assert_eq!(
///     failure.friendly(),
///     format!("The service can't be reached. Please try again later. (log ID {id})")
/// );
/// assert!(failure.record().contains("because connection refused"));
/// ```
pub struct Failure {
    /// Behind a pointer: a result with this error stays small.
    facts: Box<Facts>,
}

struct Facts {
    /// As the module sees it that it has reached.
    meaning: Meaning,
    /// As modules below have seen it, innermost first.
    former: Vec<(&'static str, Meaning)>,
    context: Vec<(&'static str, String)>,
    born: Utc,
    id: Uuid,
    process: Option<&'static Process>,
    origin: Place,
    /// Where it has come into other modules, innermost first.
    taken_in: Vec<Place>,
    backtrace: Option<Backtrace>,
    causes: Vec<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Known case or bug.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.facts.meaning.kind
    }

    /// Whether to try again.
    #[must_use]
    pub fn lasting(&self) -> Lasting {
        self.facts.meaning.lasting
    }

    /// When to try again, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.lasting() {
            Lasting::For(wait) => Some(wait),
            Lasting::Transitory | Lasting::Permanent => None,
        }
    }

    /// What finds the record in the log: a UUID of version 7, unique, ordered by time. Where a failure was a foreign
    /// error's cause, and that error this one's, it is the first one's.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.facts.id
    }

    /// When it was made: the first of its causes that is a failure, if there is one.
    #[must_use]
    pub fn born_at(&self) -> Utc {
        self.facts.born
    }

    /// Where it was made, in the same sense.
    #[must_use]
    pub fn origin(&self) -> Place {
        self.facts.origin
    }

    /// Where it was made, and where it has come into other modules, innermost first.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        [self.facts.origin].into_iter().chain(self.facts.taken_in.iter().copied())
    }

    /// The facts that were added, in order. Those of the process stand [apart](Self::process).
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.facts.context
    }

    /// The process it was made in, if that has [said](identify) who it is.
    #[must_use]
    pub fn process(&self) -> Option<&'static Process> {
        self.facts.process
    }

    /// The stack, as it was at the origin, if it [was asked for](Backtraces).
    #[must_use]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        let within = || self.causes().filter_map(|cause| cause.downcast_ref::<Self>());
        self.facts.backtrace.as_ref().or_else(|| within().find_map(|inner| inner.facts.backtrace.as_ref()))
    }

    /// All its causes, the nearest first, and each with what is behind it. Other than by `source` alone, an error within an
    /// [`std::io::Error`] is among them: that hides it from those who look for it. Behind one there are not more than 63,
    /// whatever `source` says.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        self.facts.causes.iter().flat_map(|cause| chain::of(&**cause))
    }

    /// The nearest cause of this type.
    ///
    /// ```
    /// # use sluicegate::failure::{Boundary, FailureOf};
    /// # struct Disk;
    /// # impl Boundary for Disk { const NAME: &'static str = "disk"; }
    /// use std::io::{Error, ErrorKind};
    ///
    /// let failure = FailureOf::<Disk>::bug("can't write").because(Error::from(ErrorKind::StorageFull));
    /// assert_eq!(failure.cause::<Error>().unwrap().kind(), ErrorKind::StorageFull);
    /// ```
    #[must_use]
    pub fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.causes().find_map(|cause| cause.downcast_ref())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts.meaning.what())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_record(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.facts.causes.first()?;
        Some(&**cause)
    }
}
