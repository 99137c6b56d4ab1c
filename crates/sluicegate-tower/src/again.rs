//! How a request becomes another attempt at it: what a [retry](crate::retry) and a [hedge](crate::hedge) ask.

use std::fmt;

/// Makes further attempts of a request, or says that it goes once.
///
/// Whoever implements it promises for what it repeats that this, done twice, has the same effect as done once: it reads, or it writes
/// the same, or it carries a key by which the other side knows it again. What is done twice [at once](Self::at_once) needs more:
/// an attempt that has lost a race is not called back, and may still write when the answer of the other was long since acted
/// upon. Nobody checks.
///
/// Each layer numbers its attempts from 0 on, and the first is the request as it came. The number is to reach the service below,
/// in the request, where each attempt is to go somewhere else. Where layers stand one over the other, numbers that go on through
/// all of them are given in [`begins`](Self::begins).
pub trait Again<Req> {
    /// What is kept of a request while it may be repeated. It is dropped as soon as no other attempt can follow.
    type Kept;

    /// Keeps of a request what another attempt needs, before the first is made. None: it goes once, and is served all the same.
    fn keep(&self, request: &Req) -> Option<Self::Kept>;

    /// Whether attempts may be under way at once, as a [hedge](crate::hedge) has them; if not, one only follows another that has failed, as
    /// in a [retry](crate::retry). Unless you say otherwise, all that can be repeated may.
    fn at_once(&self, request: &Req) -> bool {
        let _ = request;
        true
    }

    /// Whether the other side knows this request again by a key, so that it may [refuse](crate::judge::Judge::still_runs) one attempt
    /// because another is still worked on. Unless you say otherwise, no.
    fn has_key(&self, request: &Req) -> bool {
        let _ = request;
        false
    }

    /// The attempt of this number, 1 or more, which is made now or soon. None if there can be no other after all, such as when
    /// too much of a body has passed for it to be kept.
    fn again(&self, kept: &Self::Kept, attempt: usize) -> Option<Req>;

    /// The attempt of this number begins: the request as it came, with the number 0, before anything is kept of it, and what
    /// [`again`](Self::again) has made when it is sure that it is sent. Not all that is made is: a budget or a deadline can be
    /// against it.
    fn begins(&self, request: &mut Req, attempt: usize) {
        let _ = (request, attempt);
    }

    /// The instant from which on no other attempt begins: nanoseconds on the clock of the layer's timer; none if there is no
    /// hurry. An attempt that is under way then goes on, until a [deadline](crate::deadline) over the layer drops it.
    fn deadline(&self, request: &Req) -> Option<u64> {
        let _ = request;
        None
    }
}

/// Repeats every request by a copy.
///
/// ```
/// use sluicegate_tower::again::{Again, Copies};
///
/// let copies = Copies::promise();
/// let kept = copies.keep(&"read").expect("each can be repeated");
/// assert_eq!(copies.again(&kept, 1), Some("read"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Copies(());

impl Copies {
    /// Promises that every request can be made more than once, even at once.
    #[must_use]
    pub const fn promise() -> Self {
        Self(())
    }
}

impl<Req: Clone> Again<Req> for Copies {
    type Kept = Req;

    fn keep(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn again(&self, kept: &Req, _: usize) -> Option<Req> {
        Some(kept.clone())
    }
}

/// Repeats requests by a function, which gets the request and the attempt's number.
///
/// It is asked with the number 0 for the copy that is kept, and says none there for what goes once; and then with a number from
/// 1 on for each other attempt.
///
/// ```
/// use sluicegate_tower::again::{Again, Each};
///
/// #[derive(Clone)]
/// struct Request { writes: bool, replica: usize }
///
/// let each = Each::promise(|request: &Request, attempt| {
///     (!request.writes).then(|| Request { replica: attempt, ..request.clone() })
/// });
/// assert!(each.keep(&Request { writes: true, replica: 0 }).is_none());
/// let kept = each.keep(&Request { writes: false, replica: 0 }).expect("it reads");
/// assert_eq!(each.again(&kept, 1).map(|request| request.replica), Some(1));
/// ```
#[derive(Clone, Copy)]
pub struct Each<F>(F);

impl<F> Each<F> {
    /// Promises that what `repeat` makes a copy of can be made more than once, even at once.
    #[must_use]
    pub const fn promise<Req>(repeat: F) -> Self
    where
        F: Fn(&Req, usize) -> Option<Req>,
    {
        Self(repeat)
    }
}

impl<Req, F> Again<Req> for Each<F>
where
    F: Fn(&Req, usize) -> Option<Req>,
{
    type Kept = Req;

    fn keep(&self, request: &Req) -> Option<Req> {
        (self.0)(request, 0)
    }

    fn again(&self, kept: &Req, attempt: usize) -> Option<Req> {
        (self.0)(kept, attempt)
    }
}

impl<F> fmt::Debug for Each<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Each").finish_non_exhaustive()
    }
}

/// The same with a deadline of the request's.
///
/// ```
/// use sluicegate_tower::again::{Again, Copies, Until};
///
/// #[derive(Clone)]
/// struct Request { received: u64 }
///
/// let again = Until::new(Copies::promise(), |request: &Request| Some(request.received + 2_000_000_000));
/// assert_eq!(again.deadline(&Request { received: 7 }), Some(2_000_000_007));
/// ```
#[derive(Clone, Copy)]
pub struct Until<A, F> {
    again: A,
    instant: F,
}

impl<A, F> Until<A, F> {
    /// No other attempt begins at `instant` of the request or later: nanoseconds on the clock of the layer's timer.
    #[must_use]
    pub const fn new<Req>(again: A, instant: F) -> Self
    where
        F: Fn(&Req) -> Option<u64>,
    {
        Self { again, instant }
    }
}

impl<Req, A, F> Again<Req> for Until<A, F>
where
    A: Again<Req>,
    F: Fn(&Req) -> Option<u64>,
{
    type Kept = A::Kept;

    fn keep(&self, request: &Req) -> Option<A::Kept> {
        self.again.keep(request)
    }

    fn again(&self, kept: &A::Kept, attempt: usize) -> Option<Req> {
        self.again.again(kept, attempt)
    }

    fn at_once(&self, request: &Req) -> bool {
        self.again.at_once(request)
    }

    fn has_key(&self, request: &Req) -> bool {
        self.again.has_key(request)
    }

    fn begins(&self, request: &mut Req, attempt: usize) {
        self.again.begins(request, attempt);
    }

    /// The earlier of the two.
    fn deadline(&self, request: &Req) -> Option<u64> {
        let (own, other) = ((self.instant)(request), self.again.deadline(request));
        own.into_iter().chain(other).min()
    }
}

impl<A: fmt::Debug, F> fmt::Debug for Until<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Until").field("again", &self.again).finish_non_exhaustive()
    }
}
