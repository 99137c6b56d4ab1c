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

/// Of two failures the one to go on with: an answer rather than none, what an upstream did rather than what became of the body (which
/// may only be that one reader of it was too slow), the later rather than the earlier. The other is discarded.
pub(super) fn last_of_two(earlier: Option<Fail>, later: Option<Fail>) -> Option<Fail> {
    let rank = |fail: &Fail| match fail {
        Fail::Idle => 0,
        Fail::Error(Refusal::Upstream(UpstreamError::ClientSlow(_) | UpstreamError::ClientBody(_)), _) => 1,
        Fail::Runs(_) => 2,
        Fail::Error(..) => 3,
        Fail::Answer(_) => 4,
    };
    let (earlier, later) = match (earlier, later) {
        (Some(earlier), Some(later)) => (earlier, later),
        (earlier, later) => return earlier.or(later),
    };
    let (kept, gone) = if rank(&later) >= rank(&earlier) { (later, earlier) } else { (earlier, later) };
    gone.discard();
    Some(kept)
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
