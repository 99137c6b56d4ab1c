//! What comes instead of an answer.

use std::io;
use std::time::Duration;

use http::Request;

use super::super::body::RequestBody;

/// Why the service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It can't be reached.
    #[error("can't connect to the upstream: {0}")]
    Connect(#[source] io::Error),
    /// Connecting takes too long.
    #[error("connecting to the upstream takes longer than {0:?}")]
    ConnectTimeout(Duration),
    /// It was reached and did not answer well.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// It changes protocols without having been asked to, or does not do so well.
    #[error("the upstream switches to another protocol that nobody asked for")]
    Switched,
    /// It answered with a body in a coding that can't be passed on.
    #[error("the upstream's answer is in a transfer coding other than chunked")]
    Coding,
    /// An attempt took longer than it may.
    #[error("the upstream takes longer than {0:?}")]
    Slow(Duration),
    /// An attempt took as long as it may, and what was waited for then was the client's body.
    #[error("the client has not sent all of its body within {0:?}")]
    ClientSlow(Duration),
    /// The client's body broke off while it was passed on.
    #[error("the client's body broke off: {0}")]
    ClientBody(#[source] hyper::Error),
}

/// A request that has no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Why.
    pub error: UpstreamError,
    /// The request, where nothing of it was sent: another upstream may have it.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl From<UpstreamError> for Unanswered {
    fn from(error: UpstreamError) -> Self {
        Self { error, unsent: None }
    }
}
