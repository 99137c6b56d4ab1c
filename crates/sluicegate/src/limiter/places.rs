//! A bucket as one of several: asked, taken from and waited for by whoever decides over all of them.
//!
//! What wakes others is handed to the caller, who has a lock of its own: wakers are foreign code, and run under no lock.

use std::task::Waker;

use sluicegate_core::cell::Decided;
use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;
use sluicegate_core::line::{Claim, Ticket};
use sluicegate_core::sync::Arc;

use super::TokenBucket;
use super::attended::{Joined, Wish};
use super::crowd::Wakes;

/// How it is with a place in a member's line.
pub(crate) enum Stand {
    /// Its tokens are there.
    Due {
        /// Nobody had looked after it 100 ms after its instant.
        late: bool,
    },
    /// They will be at this instant, in nanoseconds on the bucket's clock; none where only a `put` can bring them.
    Waits(Option<u64>),
    /// A change of quota has made them impossible, or too late.
    Left,
}

impl<C: Clock> TokenBucket<C> {
    /// Whether this is the same bucket.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &C {
        &self.shared.clock
    }

    /// As [`try_take`](Self::try_take), at a reading of the clock, for a decision that is counted and put in words elsewhere.
    #[inline(always)]
    pub(crate) fn takes(&self, n: u64, reading: u64) -> bool {
        self.shared.take(n, self.shared.since(reading), |_| ()).is_granted()
    }

    /// What a take of `n` would come to at a reading of the clock: none where that takes a closer look, since the quota was
    /// changed once.
    #[inline(always)]
    pub(crate) fn plan(&self, n: u64, reading: u64) -> Option<Decided> {
        self.shared.plan(n, self.shared.since(reading))
    }

    /// Takes what was planned, if nothing has changed since.
    #[inline(always)]
    pub(crate) fn commit(&self, planned: Decided) -> bool {
        self.shared.commit(planned)
    }

    /// What there is to say of what was planned for this `n` at this reading.
    #[inline(always)]
    pub(crate) fn answer(&self, planned: Decided, n: u64, reading: u64) -> Decision {
        self.shared.answer(planned, n, self.shared.since(reading))
    }

    /// Whether a take of `n` would be granted, at a reading of the clock.
    #[inline(always)]
    pub(crate) fn allows(&self, n: u64, reading: u64) -> bool {
        self.shared.has(n, self.shared.since(reading))
    }

    /// As [`put`](Self::put), of what was taken and is not used.
    pub(crate) fn put_back(&self, n: u64, wakes: &mut Wakes) {
        self.shared.attend_into(wakes, None, |attended| attended.put(n));
    }

    /// What a take of `n` would be answered at a reading of the clock if so many others were booked before.
    pub(crate) fn peek_behind(&self, n: u64, behind: u64, reading: u64) -> Decision {
        let now = self.shared.since(reading);
        self.shared.on(|node| {
            let state = node.cell().load()?;
            // What can never be booked is refused for good, whoever comes.
            let behind = node.bucket.book(state, behind, now).map_or(state, |booked| booked.state);
            Ok(node.bucket.take(behind, n, now).0)
        })
    }

    /// A place for `n` tokens in the line, and when it is due, as [`Stand::Waits`] says; none where they are there, and taken.
    /// `waker` is woken when they have come.
    ///
    /// # Errors
    /// The refusal, where `n` is impossible or the line is full.
    pub(crate) fn stand(
        &self,
        n: u64,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Result<Option<(Ticket, Option<u64>)>, Decision> {
        let wish = Wish {
            n,
            until: u64::MAX,
            claim: Claim::Take { until: u64::MAX },
            overdraft: false,
            late: 0,
            home: None,
        };
        let waker = waker.clone();
        self.shared.attend_coming_into(wakes, |attended| match attended.join(wish, None) {
            Joined::Now(Decision::Granted { .. }) => Ok(None),
            Joined::Now(refused) => Err(refused),
            Joined::Waits(ticket, ..) => {
                attended.crowd.listen_on(ticket, waker);
                if let Some(spot) = attended.crowd.line.get_mut(ticket) {
                    // What is granted here is granted by all, or given back.
                    spot.is_take = false;
                    spot.is_of_line = true;
                }
                let due = attended.crowd.line.due_at(&attended.node.bucket, ticket);
                Ok(Some((ticket, due.map(|due| due.saturating_add(self.shared.start)))))
            }
        })
    }

    /// How it is with a place. Once it is due or has left, it is no more.
    pub(crate) fn look_at(&self, ticket: Ticket, wakes: &mut Wakes) -> Stand {
        self.shared.attend_into(wakes, None, |attended| {
            if attended.crowd.line.contains(ticket) {
                let due = attended.crowd.line.due_at(&attended.node.bucket, ticket);
                return Stand::Waits(due.map(|due| due.saturating_add(self.shared.start)));
            }
            match attended.crowd.left.remove(&ticket) {
                Some(_) => Stand::Left,
                None => Stand::Due { late: attended.crowd.late.remove(&ticket) },
            }
        })
    }

    /// Leaves a place, or gives back what came for it.
    pub(crate) fn step_back(&self, ticket: Ticket, n: u64, wakes: &mut Wakes) {
        self.shared.attend_into(wakes, None, |attended| {
            // Who was asked to leave has booked nothing any more.
            if !attended.remove(ticket) && attended.crowd.left.remove(&ticket).is_none() {
                attended.crowd.late.remove(&ticket);
                attended.put(n);
            }
        });
    }
}
