//! How an attempt fails.

use super::Answer;
use crate::config::attempts::On;
use crate::gateway::refusal::Refusal;
use crate::gateway::upstream::UpstreamError;

/// An attempt without an answer to be content with.
#[derive(Debug)]
pub(super) enum Fail {
    /// An answer with a status that another attempt may better.
    Answer(Box<Answer>),
    /// An answer to a second attempt that says that an earlier one is still worked on.
    Runs(Box<Answer>),
    /// None. Whether nothing was sent.
    Error(Refusal, bool),
    /// There was nothing to send, or nobody to send it to.
    Idle,
}

impl Fail {
    /// Nobody wants it.
    pub(super) fn discard(self) {
        if let Self::Answer(answer) | Self::Runs(answer) = self {
            answer.1.discard();
        }
    }
}

/// Of two failures the one to go on with, and the other: an answer rather than none, what an upstream did rather than that nobody was
/// reached, and that rather than what became of the body (which may only be that one reader of it was too slow), the later rather than
/// the earlier.
pub(super) fn last_of_two(earlier: Option<Fail>, later: Option<Fail>) -> (Option<Fail>, Option<Fail>) {
    let rank = |fail: &Fail| match fail {
        Fail::Idle => 0,
        Fail::Error(refusal, _) if is_of_body(refusal) => 1,
        Fail::Error(_, true) => 2,
        Fail::Runs(_) => 3,
        Fail::Error(_, false) => 4,
        Fail::Answer(_) => 5,
    };
    match (earlier, later) {
        (Some(earlier), Some(later)) if rank(&later) < rank(&earlier) => (Some(earlier), Some(later)),
        (earlier, Some(later)) => (Some(later), earlier),
        (earlier, None) => (earlier, None),
    }
}

/// Whether it is because of the client's body, which says nothing of the upstream.
pub(super) const fn is_of_body(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Upstream(UpstreamError::ClientSlow(_) | UpstreamError::ClientBody(_)))
}

/// What a failure is called in a configuration.
pub(super) const fn on(error: &UpstreamError) -> Option<On> {
    match error {
        UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_) => Some(On::Connect),
        UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Coding => Some(On::Broken),
        UpstreamError::Slow(_) => Some(On::Timeout),
        UpstreamError::ClientSlow(_) | UpstreamError::ClientBody(_) => None,
    }
}
