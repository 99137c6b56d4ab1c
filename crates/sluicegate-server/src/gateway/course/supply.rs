//! Where a request's body comes from, for each of its attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http_body::Body;
use sluicegate_tower::http::replay::{Replay, ReplayBody};

use super::super::body::RequestBody;

/// Where a request's body comes from.
#[derive(Debug)]
pub(super) enum Supply {
    /// There is none.
    Empty,
    /// It is sent once; none while it is on its way.
    Once(Mutex<Option<RequestBody>>),
    /// What has passed of it is kept, so that it can be sent again as long as that is all of it. The first time it is what it is read by.
    Again(Mutex<Option<RequestBody>>, Replay<RequestBody>),
}

impl Supply {
    /// Of this body, of which so many bytes may be kept.
    pub(super) fn of(body: RequestBody, keep: usize) -> Self {
        if matches!(body, RequestBody::Empty) {
            return Self::Empty;
        }
        // Of what is known to be larger, or is sent once anyway, nothing is kept.
        if keep == 0 || body.size_hint().lower() > u64::try_from(keep).unwrap_or(u64::MAX) {
            return Self::Once(Mutex::new(Some(body)));
        }
        let body = ReplayBody::new(body, keep);
        let replay = body.keep();
        let body = Mutex::new(Some(RequestBody::Kept(body)));
        match replay {
            Some(replay) => Self::Again(body, replay),
            None => Self::Once(body),
        }
    }

    /// The body for an attempt.
    pub(super) fn next(&self) -> Option<RequestBody> {
        match self {
            Self::Empty => Some(RequestBody::Empty),
            Self::Once(body) => taken(body),
            Self::Again(first, replay) => taken(first).or_else(|| replay.again().map(RequestBody::Kept)),
        }
    }

    /// Whether there is one for another attempt.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(body) => lock(body).is_some(),
            Self::Again(first, replay) => lock(first).is_some() || replay.again().is_some(),
        }
    }

    /// Whether two attempts may have it at once.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Empty | Self::Again(..))
    }

    /// It was not sent.
    pub(super) fn give_back(&self, given: RequestBody) {
        // Of one that is kept there is another.
        if let Self::Once(body) = self {
            *lock(body) = Some(given);
        }
    }
}

fn taken(body: &Mutex<Option<RequestBody>>) -> Option<RequestBody> {
    lock(body).take()
}

/// No panic can leave it half changed.
fn lock(body: &Mutex<Option<RequestBody>>) -> MutexGuard<'_, Option<RequestBody>> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}
