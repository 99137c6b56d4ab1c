//! What an error from elsewhere means here: somebody has to say it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;

use super::{Boundary, Failure, FailureOf, Kind, Lasting, Meaning, Place};

/// A known case, or a bug.
#[derive(Debug)]
#[must_use = "a choice is for `FailureOf::new`, `retold` or `or_choose`"]
pub struct Choice {
    pub(super) meaning: Meaning,
    pub(super) context: Vec<(&'static str, String)>,
}

impl Choice {
    /// A known case, as in [`FailureOf::known`].
    pub fn known(code: &'static str, lasting: Lasting, line: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Known(code), lasting, line.into())
    }

    /// A bug, as in [`FailureOf::bug`].
    pub fn bug(what: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Bug, Lasting::Permanent, what.into())
    }

    fn of(kind: Kind, lasting: Lasting, line: Cow<'static, str>) -> Self {
        Self { meaning: Meaning { kind, lasting, line, what: None }, context: Vec::new() }
    }

    /// Says more exactly what has happened, for the log.
    pub fn noted(mut self, what: impl Into<Cow<'static, str>>) -> Self {
        self.meaning.what = Some(what.into());
        self
    }

    /// Adds a fact. Nothing secret: it goes to the log, though never to the user.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key, value.to_string()));
        self
    }
}

/// What makes an error from elsewhere one of this module's: a foreign one, which becomes the cause, or another module's
/// failure, which is [told anew](FailureOf::retold). The place is that of the call.
///
/// ```
/// use std::io::ErrorKind;
/// use sluicegate::failure::{Boundary, Choice, FailureOf, Kind, Lasting, OrFailure};
///
/// struct Profiles;
/// impl Boundary for Profiles {
///     const NAME: &'static str = "profiles";
/// }
///
/// fn load(path: &str) -> Result<String, FailureOf<Profiles>> {
///     std::fs::read_to_string(path).or_choose(|error| match error.kind() {
///         ErrorKind::NotFound => Choice::known("no-profile", Lasting::Permanent, "There is no such profile."),
///         _ => Choice::bug("can't read the profile").with("path", path),
///     })
/// }
///
/// assert_eq!(load("/none/such").unwrap_err().kind(), Kind::Known("no-profile"));
/// assert_eq!(load("/").unwrap_err().kind(), Kind::Bug);
/// ```
///
/// A boxed error is one too, and stays in reach by its own type:
///
/// ```
/// use std::error::Error;
/// use sluicegate::failure::{Boundary, Choice, FailureOf, Lasting, OrFailure};
///
/// struct Jobs;
/// impl Boundary for Jobs {
///     const NAME: &'static str = "jobs";
/// }
///
/// fn number(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
///     Ok(text.parse()?)
/// }
///
/// let failure = number("7b").or_choose::<Jobs>(|error| match error.downcast_ref::<std::num::ParseIntError>() {
///     Some(_) => Choice::known("no-number", Lasting::Permanent, "That is no number."),
///     None => Choice::bug("can't tell the job's number"),
/// });
/// assert!(failure.unwrap_err().cause::<std::num::ParseIntError>().is_some());
/// ```
///
/// Which kind of error it is, plain or [boxed](Boxed), the compiler finds out: `M` is for it alone.
pub trait OrFailure<T, M = Plain>: Sized {
    /// The error from elsewhere.
    type Error;

    /// An error is this known case, whichever it is.
    ///
    /// # Errors
    /// If it was one.
    #[track_caller]
    fn or_known<B: Boundary>(
        self,
        code: &'static str,
        lasting: Lasting,
        line: impl Into<Cow<'static, str>>,
    ) -> Result<T, FailureOf<B>>;

    /// An error is a bug, whichever it is.
    ///
    /// # Errors
    /// If it was one.
    #[track_caller]
    fn or_bug<B: Boundary>(self, what: impl Into<Cow<'static, str>>) -> Result<T, FailureOf<B>>;

    /// What an error is shows when one looks at it.
    ///
    /// # Errors
    /// If it was one.
    #[track_caller]
    fn or_choose<B: Boundary>(self, choose: impl FnOnce(&Self::Error) -> Choice) -> Result<T, FailureOf<B>>;
}

impl<T, M, E: Elsewhere<M>> OrFailure<T, M> for Result<T, E> {
    type Error = E;

    #[track_caller]
    fn or_known<B: Boundary>(
        self,
        code: &'static str,
        lasting: Lasting,
        line: impl Into<Cow<'static, str>>,
    ) -> Result<T, FailureOf<B>> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.become_of(Choice::known(code, lasting, line), Location::caller())),
        }
    }

    #[track_caller]
    fn or_bug<B: Boundary>(self, what: impl Into<Cow<'static, str>>) -> Result<T, FailureOf<B>> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.become_of(Choice::bug(what), Location::caller())),
        }
    }

    #[track_caller]
    fn or_choose<B: Boundary>(self, choose: impl FnOnce(&E) -> Choice) -> Result<T, FailureOf<B>> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => {
                let choice = choose(&error);
                Err(error.become_of(choice, Location::caller()))
            }
        }
    }
}

/// An error that has its own type: a foreign one, or another module's failure.
#[derive(Clone, Copy, Debug)]
pub enum Plain {}

/// A `Box<dyn Error + Send + Sync>`. That is no [`Error`] itself, but might become one for all that the compiler knows; so it is told apart by
/// this.
#[derive(Clone, Copy, Debug)]
pub enum Boxed {}

/// Foreign errors, and failures of other modules.
pub trait Elsewhere<M> {
    /// Becomes this module's.
    fn become_of<B: Boundary>(self, choice: Choice, at: &'static Location<'static>) -> FailureOf<B>;
}

impl<E: Error + Send + Sync + 'static> Elsewhere<Plain> for E {
    fn become_of<B: Boundary>(self, choice: Choice, at: &'static Location<'static>) -> FailureOf<B> {
        let error: Box<dyn Error + Send + Sync> = Box::new(self);
        error.become_of(choice, at)
    }
}

impl Elsewhere<Boxed> for Box<dyn Error + Send + Sync> {
    fn become_of<B: Boundary>(self, choice: Choice, at: &'static Location<'static>) -> FailureOf<B> {
        match self.downcast::<Failure>() {
            // Nothing has wrapped it, so neither do we.
            Ok(failure) => FailureOf::back(*failure, choice, Place { module: B::NAME, location: at }),
            Err(error) => FailureOf::born(choice, Some(error), at),
        }
    }
}

impl<A: Boundary> Elsewhere<Plain> for FailureOf<A> {
    fn become_of<B: Boundary>(self, choice: Choice, at: &'static Location<'static>) -> FailureOf<B> {
        self.taken_in(Place { module: B::NAME, location: at }, Some(choice))
    }
}
