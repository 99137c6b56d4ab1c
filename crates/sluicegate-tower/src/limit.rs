//! What a [`RateLimit`](crate::rate_limit::RateLimit) asks: a limit, and the charge it makes. One that has to ask somebody itself is
//! an [`AsyncLimit`], for an [`AsyncRateLimit`](crate::async_rate_limit::AsyncRateLimit).

use std::future::Future;

/// A limit on requests: it charges one, or refuses it. Clones of a layer share one limit.
///
/// It decides at once and never waits. What it needs of the request, it reads from it; so one decision can be made over
/// several limits, and its own error can carry where they stand.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use sluicegate_tower::limit::{Charge, Limit};
///
/// /// So many bytes, ever; whoever fails has them back.
/// struct Volume(AtomicU64);
/// struct Bytes<'a>(&'a Volume, u64);
///
/// impl<'a, Res> Limit<&'a [u8], Res, String> for &'a Volume {
///     type Charge = Bytes<'a>;
///     fn charge(&self, request: &&'a [u8]) -> Result<Bytes<'a>, String> {
///         let n = request.len() as u64;
///         let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n));
///         left.map(|_| Bytes(self, n)).map_err(|left| format!("{left} bytes left, {n} asked for"))
///     }
/// }
/// impl<Res> Charge<Res, String> for Bytes<'_> {
///     fn spend(mut self) {
///         self.1 = 0;
///     }
/// }
/// impl Drop for Bytes<'_> {
///     fn drop(&mut self) {
///         self.0.0.fetch_add(self.1, Ordering::Relaxed);
///     }
/// }
///
/// let volume = Volume(AtomicU64::new(5));
/// let charge = Limit::<_, (), _>::charge(&&volume, &b"four".as_slice());
/// drop(charge);
/// assert_eq!(volume.0.into_inner(), 5);
/// ```
pub trait Limit<Req, Res, E> {
    /// What a request holds between the decision and its outcome.
    type Charge: Charge<Res, E>;

    /// Charges a request, or says why not, in which case nothing is taken.
    ///
    /// # Errors
    /// The refusal, as the layer's error.
    fn charge(&self, request: &Req) -> Result<Self::Charge, E>;
}

/// What a request was charged. It ends in one of four ways: dropped, its tokens go back; the others are methods.
pub trait Charge<Res, E>: Sized {
    /// The request was served and nobody waits for its outcome: the tokens are spent.
    fn spend(self);

    /// The request is answered: the tokens are spent. The answer may be told where the limit stands.
    fn answered(self, response: &mut Res) {
        let _ = response;
        self.spend();
    }

    /// The request has failed: the tokens are spent if it was `admitted`, else they go back. The error may be told where
    /// the limit stands.
    fn failed(self, error: &mut E, admitted: bool) {
        let _ = error;
        if admitted {
            self.spend();
        }
    }
}

/// A limit that has to ask somebody before it knows: a store across a network. [`InStore`](crate::in_store::InStore) is one over any
/// store.
///
/// What it needs of the request it takes from it before the future begins, since the request waits elsewhere meanwhile. The
/// charge is the same as a [`Limit`]'s.
pub trait AsyncLimit<Req, Res, E> {
    /// What a request holds between the decision and its outcome.
    type Charge: Charge<Res, E>;
    /// Decides. Cancel-safe: dropped before it is ready, it leaves nothing taken. Its error is the refusal, as the layer's error;
    /// then nothing is taken.
    type Deciding: Future<Output = Result<Self::Charge, E>>;

    /// Begins to charge a request.
    fn charge(&self, request: &Req) -> Self::Deciding;
}
