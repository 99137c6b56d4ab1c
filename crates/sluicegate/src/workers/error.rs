//! What a submitter hears where there is no result.

use std::error::Error;
use std::fmt;

use crate::failure::{Boundary, Failure, FailureOf, Lasting};
use crate::queue::Rejected;

/// Why a job that was admitted has no result. Of each job there is one answer: its result, or one of these.
///
/// ```
/// use sluicegate::failure::{Failure, Kind};
/// use sluicegate::workers::JobError;
///
/// let error = JobError::Panicked("index out of bounds".to_owned());
/// assert_eq!(error.to_string(), "the job panicked: index out of bounds");
/// assert_eq!(Failure::from(error).kind(), Kind::Bug);
/// assert_eq!(Failure::from(JobError::Expired).kind(), Kind::Known("deadline-exceeded"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// It never began: while it waited, it came to be late or hopeless, or had to give way. It has done nothing, so it may be tried again.
    Shed(Rejected),
    /// It has failed by itself.
    Failed(Failure),
    /// It panicked, with this message. That is its own end and nobody else's.
    Panicked(String),
    /// It gave no sign of life, or made no progress: it was given up, and its worker replaced. What of it can't be stopped may still run.
    Hung,
    /// Its deadline passed while it ran, and it was stopped.
    Expired,
    /// It was cancelled by its submitter.
    Cancelled,
    /// The workers ended before it was done; it may have begun.
    Gone,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shed(why) => write!(f, "the job was given up before it began: {why}"),
            Self::Failed(failure) => write!(f, "the job failed: {failure}"),
            Self::Panicked(message) => write!(f, "the job panicked: {message}"),
            Self::Hung => f.write_str("the job gave no sign of life, and its worker was replaced"),
            Self::Expired => f.write_str("the deadline passed while the job ran"),
            Self::Cancelled => f.write_str("the job was cancelled"),
            Self::Gone => f.write_str("the workers ended before the job was done"),
        }
    }
}

impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Shed(why) => Some(why),
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// Who runs jobs.
enum Pool {}

impl Boundary for Pool {
    const NAME: &'static str = "workers";
}

/// At the door: a failure of the job's is itself, and a panic or a hang is a bug.
impl From<JobError> for Failure {
    #[track_caller]
    fn from(error: JobError) -> Self {
        let soon = Lasting::Transitory;
        let failure = match error {
            JobError::Failed(failure) => return failure,
            JobError::Panicked(message) => FailureOf::<Pool>::bug("a job panicked").with("panic", message),
            JobError::Hung => FailureOf::bug("a job hung"),
            JobError::Shed(why) => {
                let lasting = Lasting::passing(why.retry_after());
                FailureOf::known("overloaded", lasting, "There is too much to do.").because(why)
            }
            JobError::Expired => FailureOf::known("deadline-exceeded", soon, "This took too long."),
            JobError::Cancelled => FailureOf::known("cancelled", soon, "This was cancelled."),
            JobError::Gone => FailureOf::known("shutting-down", soon, "The service is shutting down."),
        };
        failure.into_failure()
    }
}
