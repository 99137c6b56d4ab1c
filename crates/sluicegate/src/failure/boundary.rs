//! A module's boundary, as a type, and what crosses it.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;

use sluicegate_core::clock::Utc;
use uuid::Uuid;

use super::choice::Choice;
use super::{Facts, Failure, Lasting, Place, chain, process};

/// A module whose errors are its own. Any type will do; its functions then return `Result<T, FailureOf<Store>>`.
///
/// ```
/// use sluicegate::failure::{Boundary, FailureOf, OrFailure};
///
/// struct Store;
///
/// impl Boundary for Store {
///     const NAME: &'static str = "store";
/// }
///
/// fn load(path: &str) -> Result<String, FailureOf<Store>> {
///     std::fs::read_to_string(path).or_bug::<Store>("can't read the profile")
/// }
///
/// assert_eq!(load("/none/such").unwrap_err().origin().module, "store");
/// ```
///
/// A foreign error does not get through by itself:
///
/// ```compile_fail,E0277
/// # use sluicegate::failure::{Boundary, FailureOf};
/// # struct Store;
/// # impl Boundary for Store { const NAME: &'static str = "store"; }
/// fn load(path: &str) -> Result<String, FailureOf<Store>> {
///     Ok(std::fs::read_to_string(path)?)
/// }
/// ```
///
/// Nor does a failure of another module, until it is [taken in](FailureOf::through):
///
/// ```compile_fail,E0277
/// # use sluicegate::failure::{Boundary, FailureOf};
/// # struct Store;
/// # impl Boundary for Store { const NAME: &'static str = "store"; }
/// # struct Gateway;
/// # impl Boundary for Gateway { const NAME: &'static str = "gateway"; }
/// # fn load(path: &str) -> Result<String, FailureOf<Store>> { Ok(path.to_owned()) }
/// fn answer() -> Result<String, FailureOf<Gateway>> {
///     Ok(load("profile")?)
/// }
/// ```
pub trait Boundary: 'static {
    /// What the module is called in records. Stable: [fingerprints](Failure::fingerprint) are made of it.
    const NAME: &'static str;
}

/// A failure that is this module's. All that can be asked of it is asked of the [`Failure`] in it.
///
/// It is no [`Error`] itself, so it can't pass for a foreign one; [`into_failure`](Self::into_failure) is, and it goes into
/// a `Box<dyn Error + Send + Sync>` where a foreign library wants one.
pub struct FailureOf<B> {
    failure: Failure,
    module: PhantomData<fn() -> B>,
}

impl<B: Boundary> FailureOf<B> {
    /// One that was foreseen: `code` is for machines, `line` is a sentence for the user, to which whether to try again and
    /// the log ID are added. Nothing secret in it.
    #[track_caller]
    #[must_use]
    pub fn known(code: &'static str, lasting: Lasting, line: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Choice::known(code, lasting, line))
    }

    /// One that nobody foresaw. What it is goes to the log only.
    #[track_caller]
    #[must_use]
    pub fn bug(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Choice::bug(what))
    }

    /// One that means this. Here and now is where and when it happened.
    #[track_caller]
    #[must_use]
    pub fn new(choice: Choice) -> Self {
        Self::born(choice, None, Location::caller())
    }

    pub(super) fn born(
        choice: Choice,
        cause: Option<Box<dyn Error + Send + Sync>>,
        location: &'static Location<'static>,
    ) -> Self {
        let (kind, process) = (choice.meaning.kind, process::identified());
        let failure = Failure {
            facts: Box::new(Facts {
                meaning: choice.meaning,
                former: Vec::new(),
                context: choice.context,
                born: Utc::now(),
                id: Uuid::now_v7(),
                process,
                origin: Place { module: B::NAME, location },
                taken_in: Vec::new(),
                backtrace: None,
                causes: Vec::new(),
            }),
        };
        let mut failure = Self { failure, module: PhantomData };
        if let Some(cause) = cause {
            failure = failure.because(cause);
        }
        // Last, since a cause may have it.
        if process.is_some_and(|process| process.backtraces().wants(kind)) {
            failure = failure.backtraced();
        }
        failure
    }

    /// Adds a fact. Nothing secret: it goes to the log, though never to the user.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.failure.facts.context.push((key, value.to_string()));
        self
    }

    /// Says more exactly what has happened, for the log.
    #[must_use]
    pub fn noted(mut self, what: impl Into<Cow<'static, str>>) -> Self {
        self.failure.facts.meaning.what = Some(what.into());
        self
    }

    /// Adds the error that caused it. There may be several; `source` leads to the first. If it is a failure, or one is
    /// behind it, then this is the same one, wrapped on its way by somebody who didn't know: it takes over its ID, its time
    /// and its way. Of several, that is the first; the others only stand in the record, with their own IDs.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        let has_taken_over = self.cause::<Failure>().is_some();
        let facts = &mut *self.failure.facts;
        if let Some(inner) = chain::failure(&*cause)
            && !has_taken_over
        {
            let of_inner = &*inner.facts;
            (facts.id, facts.born, facts.process) = (of_inner.id, of_inner.born, of_inner.process);
            let mut way = of_inner.taken_in.clone();
            way.push(facts.origin);
            way.append(&mut facts.taken_in);
            (facts.origin, facts.taken_in) = (of_inner.origin, way);
            if inner.backtrace().is_some() {
                facts.backtrace = None;
            }
        }
        facts.causes.push(cause);
        self
    }

    /// Takes the stack now, if it has not been taken. [`Backtraces`](super::Backtraces) says what that costs, and takes it
    /// always.
    #[must_use]
    pub fn backtraced(mut self) -> Self {
        if self.backtrace().is_none() {
            self.failure.facts.backtrace = Some(Backtrace::force_capture());
        }
        self
    }

    /// Takes it into another module, which sees it as this one does. Adds the place.
    #[track_caller]
    #[must_use]
    pub fn through<C: Boundary>(self) -> FailureOf<C> {
        let place = Place { module: C::NAME, location: Location::caller() };
        self.taken_in(place, None)
    }

    /// Takes it into another module, to which it means something else: a known case there may be a bug here, and the other
    /// way round. Adds the place. What it meant stays in the record.
    ///
    /// ```
    /// # use sluicegate::failure::{Boundary, FailureOf};
    /// # struct Files;
    /// # impl Boundary for Files { const NAME: &'static str = "files"; }
    /// # struct Jobs;
    /// # impl Boundary for Jobs { const NAME: &'static str = "jobs"; }
    /// use sluicegate::failure::{Choice, Lasting};
    ///
    /// let missing = FailureOf::<Files>::known("no-file", Lasting::Permanent, "There is no such file.");
    /// let id = missing.id();
    /// let choice = Choice::known("no-job", Lasting::Permanent, "This job is not installed.").with("job", 1);
    /// let failure = missing.retold::<Jobs>(choice);
    /// assert!(failure.friendly().starts_with("This job is not installed. Trying again will not help."));
    /// assert!(failure.record().contains("was [no-file] There is no such file. (files)"));
    /// assert_eq!(failure.id(), id);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn retold<C: Boundary>(self, choice: Choice) -> FailureOf<C> {
        let place = Place { module: C::NAME, location: Location::caller() };
        self.taken_in(place, Some(choice))
    }

    pub(super) fn taken_in<C>(self, place: Place, choice: Option<Choice>) -> FailureOf<C> {
        let mut failure = self.failure;
        failure.taken_in(place, choice);
        FailureOf { failure, module: PhantomData }
    }

    /// As an error that is no module's: at the door, where it is rendered.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.failure
    }

    /// One that has left its module for some foreign code, and is back.
    pub(super) fn back(mut failure: Failure, choice: Choice, place: Place) -> Self {
        failure.taken_in(place, Some(choice));
        Self { failure, module: PhantomData }
    }
}

impl Failure {
    fn taken_in(&mut self, place: Place, choice: Option<Choice>) {
        let seen_by = self.places().last().unwrap_or(self.facts.origin).module;
        let facts = &mut *self.facts;
        if let Some(Choice { meaning, mut context }) = choice {
            let former = std::mem::replace(&mut facts.meaning, meaning);
            facts.former.push((seen_by, former));
            facts.context.append(&mut context);
        }
        facts.taken_in.push(place);
    }
}

impl<B> Deref for FailureOf<B> {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.failure
    }
}

impl<B> fmt::Display for FailureOf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.failure, f)
    }
}

impl<B> fmt::Debug for FailureOf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.failure, f)
    }
}

/// At the door, where it is no module's any more.
impl<B: Boundary> From<FailureOf<B>> for Failure {
    fn from(failure: FailureOf<B>) -> Self {
        failure.into_failure()
    }
}

/// For foreign code that hands errors on: the [`Failure`] is found in it again.
impl<B> From<FailureOf<B>> for Box<dyn Error + Send + Sync> {
    fn from(failure: FailureOf<B>) -> Self {
        Box::new(failure.failure)
    }
}

/// The same, where the error stays on its thread.
impl<B> From<FailureOf<B>> for Box<dyn Error> {
    fn from(failure: FailureOf<B>) -> Self {
        Box::new(failure.failure)
    }
}

/// The same for results.
pub trait Crossing<T, B>: Sized {
    /// [`FailureOf::through`].
    ///
    /// # Errors
    /// If it was one: the same, of the other module.
    #[track_caller]
    fn through<C: Boundary>(self) -> Result<T, FailureOf<C>>;

    /// [`FailureOf::with`].
    ///
    /// # Errors
    /// If it was one: the same, with a fact more.
    fn with(self, key: &'static str, value: impl fmt::Display) -> Result<T, FailureOf<B>>;
}

impl<T, B: Boundary> Crossing<T, B> for Result<T, FailureOf<B>> {
    #[track_caller]
    fn through<C: Boundary>(self) -> Result<T, FailureOf<C>> {
        // Not `map_err`: the place would be that of the closure.
        match self {
            Ok(value) => Ok(value),
            Err(failure) => Err(failure.through()),
        }
    }

    fn with(self, key: &'static str, value: impl fmt::Display) -> Self {
        self.map_err(|failure| failure.with(key, value))
    }
}
