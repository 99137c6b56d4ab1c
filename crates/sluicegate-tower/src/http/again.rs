//! Which requests may be made more than once, and how: by their method, or by a promise.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};

use super::deadline::DueAt;
use super::replay::{Replay, ReplayBody};
use crate::again::Again;

/// The number of an attempt, from 1 on, among a request's extensions; what comes without is the first. For a service below
/// that sends each attempt somewhere else: no two attempts of a request have the same, through all layers that repeat it
/// [by method](ByMethod), such as a retry and a hedge of each try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(pub usize);

impl Attempt {
    /// The number of the attempt that a request is.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> usize {
        request.extensions().get::<Self>().map_or(0, |attempt| attempt.0)
    }
}

/// How many attempts of a request have begun, in all layers together: the number of the next.
#[derive(Clone, Debug)]
struct Begun(Arc<AtomicUsize>);

/// The caller's promise, among a request's extensions, that it can be made more than once, even at once, whatever its method.
///
/// ```
/// use http::Request;
/// use sluicegate_tower::http::again::Promised;
///
/// let search = Request::post("http://index/search").extension(Promised).body("a long question")?;
/// # let _ = search;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised;

/// Repeats requests that may be made more than once: those whose method is idempotent (RFC 9110, section 9.2.2: GET, HEAD, OPTIONS, TRACE,
/// PUT, DELETE), that have an [`Idempotency-Key`](idempotency_key), or that are [`Promised`].
///
/// **At once**, as a hedge has them, only those that [are safe](is_safe), or promised. A PUT that has lost a race may be written after the
/// caller has had the other's answer, and over what he has put since; and a service that knows requests by their key answers 409 to
/// one whose first attempt it still works on. So these follow one another, after a failure.
///
/// None of them, whatever their method, if it is to change protocols (`CONNECT`, `Upgrade`) or waits for `100 Continue` (`Expect`); nor
/// once its [body](super::replay) can't be read again. Attempts have their number among the extensions ([`Attempt`]), and the
/// deadline is the one found there ([`DueAt`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByMethod;

/// A request's head, and its body to be read again.
pub struct KeptRequest<B> {
    head: Request<()>,
    body: Replay<B>,
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key by which a service knows a request again (draft-ietf-httpapi-idempotency-key-header): exactly one, and not blank. By
/// one that says nothing, or by several, nobody can.
///
/// ```
/// use http::Request;
/// use sluicegate_tower::http::again::idempotency_key;
///
/// let pay = Request::post("/").header("idempotency-key", "\"7f1c\"").body(())?;
/// assert!(idempotency_key(pay.headers()).is_some_and(|key| key == "\"7f1c\""));
/// let blank = Request::post("/").header("idempotency-key", "\"\"").body(())?;
/// assert_eq!(idempotency_key(blank.headers()), None);
/// # Ok::<(), http::Error>(())
/// ```
#[must_use]
pub fn idempotency_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let says = |key: &&HeaderValue| key.as_bytes().iter().any(|byte| !matches!(byte, b' ' | b'\t' | b'"'));
    keys.next().filter(says).filter(|_| keys.next().is_none())
}

/// Whether attempts of such a request may be under way at once: its method is safe (RFC 9110, section 9.2.1: GET, HEAD, OPTIONS, TRACE),
/// so that it asks for no effect, and it has no field `Idempotency-Key`, so that nobody refuses the second because of the first.
#[must_use]
pub fn is_safe(method: &Method, headers: &HeaderMap) -> bool {
    method.is_safe() && !headers.contains_key(IDEMPOTENCY_KEY)
}

/// Whether a request may be made more than once, whatever its body.
///
/// ```
/// use http::Request;
/// use sluicegate_tower::http::again::may_repeat;
///
/// assert!(may_repeat(&Request::put("/").body(())?));
/// assert!(!may_repeat(&Request::post("/").body(())?));
/// assert!(may_repeat(&Request::post("/").header("idempotency-key", "\"7f1c\"").body(())?));
/// assert!(!may_repeat(&Request::get("/").header("upgrade", "websocket").body(())?));
/// # Ok::<(), http::Error>(())
/// ```
#[must_use]
pub fn may_repeat<B>(request: &Request<B>) -> bool {
    let (method, headers) = (request.method(), request.headers());
    let idempotent = [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE];
    let once = *method == Method::CONNECT
        || headers.contains_key(header::UPGRADE)
        || headers.contains_key(header::EXPECT);
    !once
        && (idempotent.contains(method)
            || idempotency_key(headers).is_some()
            || request.extensions().get::<Promised>().is_some())
}

impl<B> Again<Request<ReplayBody<B>>> for ByMethod {
    type Kept = KeptRequest<B>;

    fn keep(&self, request: &Request<ReplayBody<B>>) -> Option<KeptRequest<B>> {
        if !may_repeat(request) {
            return None;
        }
        let body = request.body().keep()?;
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        *head.extensions_mut() = request.extensions().clone();
        Some(KeptRequest { head, body })
    }

    fn at_once(&self, request: &Request<ReplayBody<B>>) -> bool {
        is_safe(request.method(), request.headers()) || request.extensions().get::<Promised>().is_some()
    }

    fn has_key(&self, request: &Request<ReplayBody<B>>) -> bool {
        idempotency_key(request.headers()).is_some()
    }

    fn again(&self, kept: &KeptRequest<B>, attempt: usize) -> Option<Request<ReplayBody<B>>> {
        let body = kept.body.again()?;
        let mut head = kept.head.clone();
        // For whoever does not say that it begins.
        let number = Attempt::of(&head).saturating_add(attempt);
        head.extensions_mut().insert(Attempt(number));
        Some(head.map(|()| body))
    }

    /// Numbers the attempt. One layer's count is not enough: a hedge counts anew in each try of a retry over it.
    fn begins(&self, request: &mut Request<ReplayBody<B>>, attempt: usize) {
        let begun = request.extensions().get::<Begun>().cloned();
        match begun {
            Some(_) if attempt == 0 => {}
            Some(Begun(next)) => {
                let number = next.fetch_add(1, Ordering::Relaxed);
                request.extensions_mut().insert(Attempt(number));
            }
            None if may_repeat(request) => {
                let next = Attempt::of(request).saturating_add(1);
                request.extensions_mut().insert(Begun(Arc::new(AtomicUsize::new(next))));
            }
            None => {}
        }
    }

    fn deadline(&self, request: &Request<ReplayBody<B>>) -> Option<u64> {
        DueAt::of(request)
    }
}

impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest")
            .field("method", self.head.method())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
