//! Who waits for tokens that somebody may put.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::timer::Timer;
use crate::wake::wake_each;

/// Who is woken when tokens come to a key.
///
/// Whoever waits [enters](Self::enter) before it looks at the bucket, and whoever puts changes the bucket before it
/// [wakes](Self::wake). If both do so under one lock, or otherwise in one order, nothing is missed.
///
/// ```
/// use sluicegate::store::parts::{Seen, Watchers};
/// use sluicegate::timer::ManualTime;
/// # use std::sync::atomic::{AtomicU64, Ordering};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (tokens, time) = (AtomicU64::new(0), ManualTime::new());
/// let watchers = Watchers::<&str>::default();
/// let mut place = watchers.enter("ann");
/// let look = || match tokens.load(Ordering::Acquire) {
///     // Nobody knows when.
///     0 => Ok::<_, ()>(Seen::Later(None)),
///     some => Ok(Seen::Answer(some)),
/// };
/// let put = async {
///     tokens.store(3, Ordering::Release);
///     watchers.wake("ann");
/// };
/// let (seen, ()) = tokio::join!(place.until(&time, look), put);
/// assert_eq!(seen, Ok(3));
/// # }
/// ```
pub struct Watchers<K> {
    /// How many there are, so that a put without any costs a load.
    count: AtomicUsize,
    list: Mutex<List<K>>,
}

struct List<K> {
    keys: HashMap<K, BTreeMap<u64, Waiting>>,
    came: u64,
}

#[derive(Default)]
struct Waiting {
    is_woken: bool,
    waker: Option<Waker>,
}

impl Waiting {
    fn wake(&mut self) -> Option<Waker> {
        self.is_woken = true;
        self.waker.take()
    }
}

/// What a look at a bucket has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<R> {
    /// There is no more to wait for.
    Answer(R),
    /// Worth another look once woken, and at this instant of the timer's, in nanoseconds, if there is one.
    Later(Option<u64>),
}

impl<K> Watchers<K> {
    /// No panic can leave the list half changed.
    fn list(&self) -> MutexGuard<'_, List<K>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Watchers<K> {
    /// A place for one more who waits for this key.
    pub fn enter(&self, key: K) -> Watching<'_, K>
    where
        K: Clone,
    {
        let mut list = self.list();
        list.came += 1;
        let place = list.came;
        list.keys.entry(key.clone()).or_default().insert(place, Waiting::default());
        self.count.fetch_add(1, Ordering::Release);
        Watching { watchers: self, key, place }
    }

    /// Wakes who waits for this key.
    pub fn wake<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.wake_those(|list| match list.keys.get_mut(key) {
            Some(waiting) => waiting.values_mut().filter_map(Waiting::wake).collect(),
            None => Vec::new(),
        });
    }

    /// Wakes everybody: tokens have come to keys that are not known, or it may have been missed.
    pub fn wake_all(&self) {
        self.wake_those(|list| {
            list.keys.values_mut().flat_map(BTreeMap::values_mut).filter_map(Waiting::wake).collect()
        });
    }

    fn wake_those(&self, those: impl FnOnce(&mut List<K>) -> Vec<Waker>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let wakers = those(&mut self.list());
        // Woken outside the lock: waking may run foreign code.
        wake_each(wakers);
    }

    /// Whether anybody waits for this key.
    #[must_use]
    pub fn has<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.list().keys.contains_key(key)
    }

    /// All keys that somebody waits for, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<K>
    where
        K: Clone,
    {
        self.list().keys.keys().cloned().collect()
    }
}

impl<K> Default for Watchers<K> {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), list: Mutex::new(List { keys: HashMap::new(), came: 0 }) }
    }
}

impl<K> fmt::Debug for Watchers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A place among them; left when dropped.
#[must_use = "dropped, it is left"]
#[derive(Debug)]
pub struct Watching<'w, K: Eq + Hash> {
    watchers: &'w Watchers<K>,
    key: K,
    place: u64,
}

impl<K: Eq + Hash> Watching<'_, K> {
    /// Ready if it was woken since it was entered, or since this was last ready. If not, who polls is woken when it is.
    pub fn poll_woken(&mut self, context: &Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let mut list = self.watchers.list();
        let Some(waiting) = list.keys.get_mut(&self.key).and_then(|all| all.get_mut(&self.place)) else {
            return Poll::Pending;
        };
        let is_woken = std::mem::take(&mut waiting.is_woken);
        let old = waiting.waker.replace(waker);
        drop(list);
        drop(old);
        if is_woken { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Looks at a bucket until there is an answer: at once, when woken, and at the instants that the looks say.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// The first one of a look's.
    pub async fn until<T, R, E>(
        &mut self,
        timer: &T,
        mut look: impl FnMut() -> Result<Seen<R>, E>,
    ) -> Result<R, E>
    where
        T: Timer,
    {
        let (mut sleep, mut until) = (pin!(None::<T::Sleep>), None);
        poll_fn(|context| {
            // To be woken before the bucket is looked at, so that nothing that comes after is missed. That it was woken
            // is no news to who looks in any case.
            let _ = self.poll_woken(context);
            loop {
                let at = match look()? {
                    Seen::Answer(answer) => return Poll::Ready(Ok(answer)),
                    Seen::Later(None) => return Poll::Pending,
                    Seen::Later(Some(at)) => at,
                };
                if until != Some(at) {
                    sleep.set(Some(timer.sleep_until(at)));
                    until = Some(at);
                }
                let slept = sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(context));
                if slept != Some(Poll::Ready(())) {
                    return Poll::Pending;
                }
                sleep.set(None);
                until = None;
            }
        })
        .await
    }
}

impl<K: Eq + Hash> Drop for Watching<'_, K> {
    fn drop(&mut self) {
        let mut list = self.watchers.list();
        let Some(waiting) = list.keys.get_mut(&self.key) else { return };
        let old = waiting.remove(&self.place);
        // A key that somebody else made drops outside the lock.
        let key = if waiting.is_empty() { list.keys.remove_entry(&self.key) } else { None };
        self.watchers.count.fetch_sub(1, Ordering::Release);
        drop(list);
        drop((old, key));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_for_a_key_is_woken_with_it_and_what_came_before_a_poll_is_not_missed() {
        let watchers = Watchers::<Vec<u8>>::default();
        let woken = [(); 3].map(|()| Arc::new(Woken::default()));
        let wakers = woken.clone().map(Waker::from);
        let mut places = [b"a", b"a", b"b"].map(|key| watchers.enter(key.to_vec()));
        watchers.wake(&b"b"[..]);
        let mut polled = || {
            let each = places.iter_mut().zip(&wakers);
            each.map(|(place, waker)| place.poll_woken(&Context::from_waker(waker)).is_ready())
                .collect::<Vec<_>>()
        };
        assert_eq!(polled(), [false, false, true]);
        assert_eq!(polled(), [false; 3]);
        watchers.wake(&b"a"[..]);
        watchers.wake(&b"a"[..]);
        watchers.wake(&b"nobody"[..]);
        let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        assert_eq!(counts(), [1, 1, 0], "once, until it has looked");
        assert_eq!(polled(), [true, true, false]);
        watchers.wake_all();
        assert_eq!(counts(), [2, 2, 1]);
        assert_eq!(polled(), [true; 3]);
        let [first, second, other] = places;
        drop((first, other));
        assert_eq!(watchers.keys(), [b"a"]);
        drop(second);
        assert!(watchers.keys().is_empty() && !watchers.has(&b"a"[..]));
        assert_eq!(watchers.count.load(Ordering::Relaxed), 0);
    }
}
