//! Publishing by one at a time: who was replaced can't any more.
//!
//! What was given up may still be there: a task that hangs and comes to later, a thread that nobody can stop. It must not write over
//! what its successor has done. So whoever works has a [`Token`], with the number of its generation, and publishes by that alone;
//! whether it still may is found out in the same step. A [`Fence`] gives tokens out, one generation after the other.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc as Plain;
use std::task::Poll;

use sluicegate_core::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wake::Wakers;

/// Who may publish now, and what was committed last: a position of type `P`, from which the next generation goes on. Clones are
/// the same fence.
///
/// ```
/// use sluicegate::fence::Fence;
///
/// let fence = Fence::new();
/// let first = fence.try_admit().unwrap();
/// first.commit(7).unwrap();
///
/// let second = fence.try_admit().unwrap();
/// assert_eq!(first.commit(8).unwrap_err().into_inner(), 8, "it was replaced");
/// assert_eq!(fence.last(), Some(7));
/// second.commit(9).unwrap();
///
/// // Anything else is published under the same rule.
/// let mut sent = Vec::new();
/// assert!(second.publish(|| sent.push("a")).is_ok());
/// assert!(first.publish(|| sent.push("b")).is_err());
/// assert_eq!(sent, ["a"]);
/// ```
pub struct Fence<P> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    state: Mutex<State<P>>,
    /// Who waits for publications to end.
    ended: Wakers,
}

struct State<P> {
    /// Of the last token that was given out.
    generation: u64,
    open: bool,
    /// Publications that have begun and not ended, of whatever generation.
    publishing: usize,
    /// Behind a pointer, so that it can be copied under no lock.
    last: Option<Plain<P>>,
}

impl<P> Shared<P> {
    /// Never held while foreign code runs, and no panic can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Fence<P> {
    /// A closed one, with nothing committed.
    #[must_use]
    pub fn new() -> Self {
        let state = State { generation: 0, open: false, publishing: 0, last: None };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), ended: Wakers::default() }) }
    }

    /// Whoever has a token begins no publication from now on. One that has begun goes on: see [`is_free`](Self::is_free).
    pub fn close(&self) {
        self.shared.state().open = false;
    }

    /// Whether nothing is being published: neither by a token that is good, nor by one that was when it began.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.shared.state().publishing == 0
    }

    /// Closes the fence for all tokens there are, and makes the next. None while a publication is under way; then it is closed all the
    /// same.
    #[must_use]
    pub fn try_admit(&self) -> Option<Token<P>> {
        let mut state = self.shared.state();
        state.open = state.publishing == 0;
        if !state.open {
            return None;
        }
        state.generation += 1;
        let generation = state.generation;
        drop(state);
        Some(Token { shared: Arc::clone(&self.shared), generation })
    }

    /// The same, once no publication is under way. Cancel-safe: dropped, the fence stays closed if it was not free.
    pub async fn admit(&self) -> Token<P> {
        let mut place = self.shared.ended.enter();
        poll_fn(|context| {
            place.set(context.waker());
            self.try_admit().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The generation that may publish, or was the last that might; zero before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.state().generation
    }

    /// What was committed last.
    #[must_use]
    pub fn last(&self) -> Option<P>
    where
        P: Clone,
    {
        let last = self.shared.state().last.clone();
        last.as_deref().cloned()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn ended(&self) -> &Wakers {
        &self.shared.ended
    }
}

impl<P> Default for Fence<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Clone for Fence<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The right to publish, until the [fence](Fence) is closed or the next is admitted. Clones are the same right.
pub struct Token<P> {
    shared: Arc<Shared<P>>,
    generation: u64,
}

impl<P> Token<P> {
    /// The number of the generation. It may go with what is written to a store that keeps a number beside each value and refuses smaller
    /// ones: only there can a write be stopped that is already on its way.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is good at this moment, to stop early; to publish, that says nothing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.may(&self.shared.state())
    }

    fn may(&self, state: &State<P>) -> bool {
        state.open && state.generation == self.generation
    }

    /// Makes `position` what was committed last.
    ///
    /// # Errors
    /// The position, if the token is good no more. Nothing has changed.
    pub fn commit(&self, position: P) -> Result<(), Fenced<P>> {
        let mut state = self.shared.state();
        if !self.may(&state) {
            drop(state);
            return Err(Fenced(position));
        }
        let old = state.last.replace(Plain::new(position));
        drop(state);
        // Its drop is foreign code, so it runs under no lock.
        drop(old);
        Ok(())
    }

    /// Publishes something by `act`, which is called only if the token is good. Until it has returned, no other generation begins; so it
    /// should do one short thing, such as to send into a channel that has room. Where it blocks for ever, nobody will ever take its place.
    ///
    /// # Errors
    /// If the token is good no more.
    pub fn publish<R>(&self, act: impl FnOnce() -> R) -> Result<R, Fenced<()>> {
        let mut state = self.shared.state();
        if !self.may(&state) {
            return Err(Fenced(()));
        }
        state.publishing += 1;
        drop(state);
        let _publication = Publication(&self.shared);
        Ok(act())
    }
}

impl<P> Clone for Token<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), generation: self.generation }
    }
}

/// One that has begun; over when it is dropped, after a panic too.
struct Publication<'s, P>(&'s Shared<P>);

impl<P> Drop for Publication<'_, P> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.publishing -= 1;
        let was_last = state.publishing == 0;
        drop(state);
        if was_last {
            self.0.ended.wake();
        }
    }
}

/// Nothing was published: the token is of a generation that was replaced, or is to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fenced<P>(P);

impl<P> Fenced<P> {
    /// What was not committed.
    pub fn into_inner(self) -> P {
        self.0
    }
}

impl<P> fmt::Display for Fenced<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("replaced by another generation: it may not publish any more")
    }
}

impl<P> fmt::Debug for Fenced<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fenced")
    }
}

impl<P> std::error::Error for Fenced<P> {}

impl<P> fmt::Debug for Fence<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { generation, open, publishing, .. } = &*self.shared.state();
        let mut fence = f.debug_struct("Fence");
        fence.field("generation", generation).field("open", open).field("publishing", publishing);
        fence.finish_non_exhaustive()
    }
}

impl<P> fmt::Debug for Token<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("generation", &self.generation).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(sluicegate_loom)))]
mod tests {
    use std::future::Future;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_publication_that_has_begun_keeps_the_next_generation_out() {
        let fence = Fence::<u64>::new();
        let first = fence.try_admit().unwrap();
        let published = first.publish(|| {
            assert!(fence.try_admit().is_none());
            assert!(!fence.is_free() && !first.is_good(), "closed all the same");
            assert_eq!(first.commit(1).unwrap_err().into_inner(), 1);
            assert!(first.clone().publish(|| ()).is_err());
            7
        });
        assert_eq!((published, fence.is_free()), (Ok(7), true));
        let second = fence.try_admit().unwrap();
        assert_eq!((second.generation(), fence.generation(), fence.last()), (2, 2, None));
    }

    #[test]
    fn a_panic_in_a_publication_ends_it() {
        let fence = Fence::<()>::new();
        let token = fence.try_admit().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| token.publish(|| panic!("on purpose")))).is_err());
        assert!(fence.is_free());
    }

    #[test]
    fn who_waits_to_be_admitted_is_woken_by_the_last_publication() {
        let fence = Fence::<()>::new();
        let token = fence.try_admit().unwrap();
        let mut next = pin!(fence.admit());
        token
            .publish(|| {
                assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            })
            .unwrap();
        assert!(next.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(!token.is_good());
    }

    #[test]
    fn what_was_committed_is_copied_and_dropped_under_no_lock() {
        struct Looks(Fence<Self>);
        impl Clone for Looks {
            fn clone(&self) -> Self {
                assert!(self.0.is_free());
                Self(self.0.clone())
            }
        }
        impl Drop for Looks {
            fn drop(&mut self) {
                assert!(self.0.is_free());
            }
        }
        let fence = Fence::new();
        let token = fence.try_admit().unwrap();
        token.commit(Looks(fence.clone())).unwrap();
        token.commit(Looks(fence.clone())).unwrap();
        assert!(fence.last().is_some());
        fence.close();
        assert!(token.commit(Looks(fence.clone())).is_err());
        // A fence that holds itself would never be dropped.
        let last = fence.shared.state().last.take();
        drop(last);
    }
}
