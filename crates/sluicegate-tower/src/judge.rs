//! Whether an outcome is what was asked for, or a failure that another attempt may mend.

use sluicegate::retry::Failed;

use crate::refused::Refused;

/// Looks at what a service has answered. A function of the outcome is one.
///
/// ```
/// use sluicegate::retry::Failed;
/// use sluicegate_tower::judge::Judge;
/// use sluicegate_tower::refused::BoxError;
///
/// let judge = |outcome: Result<&u32, &BoxError>| match outcome {
///     Ok(0) | Err(_) => Some(Failed::Perhaps),
///     Ok(_) => None,
/// };
/// assert_eq!(judge.judge(Ok(&0)), Some(Failed::Perhaps));
/// ```
pub trait Judge<Res, E> {
    /// What kind of failure it is; none if it is an answer to hand on. What is a failure [for good](Failed::ForGood) is handed on
    /// too, and so is any other when there is no other attempt.
    fn judge(&self, outcome: Result<&Res, &E>) -> Option<Failed>;

    /// Whether this says that another attempt of the same request, which the other side knows by its
    /// [key](crate::again::Again::has_key), is still worked on; and when to ask again. It is asked where another one was sent and has no
    /// answer: it is under way, or has ended with an error. Such an outcome is no answer: it does not win while another attempt is
    /// under way, and is tried again; to the end, the error is handed on rather than this. Unless you say otherwise, nothing says so.
    fn still_runs(&self, outcome: Result<&Res, &E>) -> Option<Failed> {
        let _ = outcome;
        None
    }
}

impl<Res, E, F> Judge<Res, E> for F
where
    F: Fn(Result<&Res, &E>) -> Option<Failed>,
{
    fn judge(&self, outcome: Result<&Res, &E>) -> Option<Failed> {
        self(outcome)
    }
}

/// Every response is an answer, and every error may be mended by another attempt; with a [`Refused`] as
/// [`of_refusal`] has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors;

impl<Res, E: 'static> Judge<Res, E> for Errors {
    fn judge(&self, outcome: Result<&Res, &E>) -> Option<Failed> {
        outcome.err().map(|error| Refused::found_in(error).map_or(Failed::Perhaps, of_refusal))
    }
}

/// What a refusal by a layer below means for another attempt: not before its time where it names one; and what is never granted is
/// asked once.
#[must_use]
pub fn of_refusal(refused: &Refused) -> Failed {
    match (refused, refused.retry_after()) {
        (_, Some(wait)) => Failed::after(wait),
        // Never, or when somebody puts; and what is refused so that nothing is sent.
        (Refused::Quota(_) | Refused::Throttled { .. } | Refused::Malformed, None) => Failed::ForGood,
        _ => Failed::Perhaps,
    }
}
