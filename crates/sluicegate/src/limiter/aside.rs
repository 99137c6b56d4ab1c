//! Tokens that are laid aside until those of other buckets are there too.
//!
//! They are spent, but the room they left is not filled: when they are used, later than they came, what the bucket grants in
//! any span is within its bound all the same.

use std::task::Waker;

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::{Decision, Denied};
use sluicegate_core::line::{Claim, Ticket};
use sluicegate_core::sync::Arc;

use super::TokenBucket;
use super::attended::{Joined, Wish};

/// How it is with tokens that were to be laid aside.
pub(crate) enum Aside {
    /// They are there.
    Ready,
    /// They will be at this instant, in nanoseconds on the bucket's clock; none where only a `put` can bring them.
    Pending(Option<u64>),
    /// A change of quota has made them impossible. Nothing lies aside in the line; it still has to be given back.
    Left(Decision),
}

impl<C: Clock> TokenBucket<C> {
    /// Whether this is the same bucket.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// As [`try_take`](Self::try_take), at a reading of the clock, for a decision that is counted elsewhere.
    #[inline]
    pub(crate) fn take_uncounted(&self, n: u64, reading: u64) -> Decision {
        self.shared.take(n, self.shared.since(reading), |_| ())
    }

    /// Whether a take of `n` would be granted, at a reading of the clock.
    #[inline]
    pub(crate) fn allows(&self, n: u64, reading: u64) -> bool {
        self.shared.has(n, self.shared.since(reading))
    }

    /// As [`peek`](Self::peek), at a reading of the clock.
    pub(crate) fn peek_at(&self, n: u64, reading: u64) -> Decision {
        self.shared.ask_at(n, self.shared.since(reading))
    }

    /// What a take of `n` would be answered if so many others were booked before.
    pub(crate) fn peek_behind(&self, n: u64, behind: u64) -> Decision {
        let now = self.shared.now();
        self.shared.on(|node| {
            let state = node.state(now)?;
            // What can never be booked is refused for good, whoever comes.
            let behind = node.bucket.book(state, behind, now).map_or(state, |booked| booked.state);
            Ok(node.bucket.take(behind, n, now).0)
        })
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &C {
        &self.shared.clock
    }

    /// The clock, as what waits.
    pub(crate) fn timer(&self) -> C
    where
        C: Clone,
    {
        self.shared.clock.clone()
    }

    /// Corrects a booking to what was used.
    pub(crate) fn settle_booking(&self, ticket: Option<Ticket>, booked: u64, actual: u64) {
        self.shared.settle(ticket, booked, actual);
    }

    /// Lays `n` tokens aside, now or, in line, once they come. `waker` is woken when they have come, and when they will come
    /// earlier than was said. No ticket where they are there.
    pub(crate) fn lay_aside(&self, n: u64, claim: Claim, waker: Waker) -> Result<Option<Ticket>, Denied> {
        let wish = Wish { n, until: u64::MAX, claim, overdraft: false };
        self.shared.expect_somebody();
        self.shared.attend(None, |attended| {
            let held = attended.node.held();
            // Said before they are spent, so that nobody fills their room; not yet part of what is spent.
            attended.node.lay_aside(n);
            match attended.join(wish, held, None) {
                Joined::Now(decision) => {
                    decision.ok().map(|_| None).inspect_err(|_| attended.node.no_longer_aside(n))
                }
                Joined::Waits(ticket, _) => {
                    if let Some(spot) = attended.crowd.line.get_mut(ticket) {
                        spot.waker = Some(waker);
                        // What is granted here is granted by all or not at all.
                        spot.is_take = false;
                    }
                    Ok(Some(ticket))
                }
            }
        })
    }

    /// How it is with them.
    pub(crate) fn look_aside(&self, ticket: Ticket) -> Aside {
        self.shared.attend(None, |attended| {
            if attended.crowd.line.contains(ticket) {
                let due = attended.crowd.line.due_at(&attended.node.bucket, ticket);
                return Aside::Pending(due.map(|due| due.saturating_add(self.shared.start)));
            }
            attended.crowd.left.get(&ticket).map_or(Aside::Ready, |decision| Aside::Left(*decision))
        })
    }

    /// They are used now.
    pub(crate) fn use_aside(&self, n: u64) {
        self.shared.attend(None, |attended| {
            // As if they were taken now.
            attended.update(|state| ((), Some(state)));
            attended.node.no_longer_aside(n);
        });
    }

    /// They are not needed, whether they had come or not.
    pub(crate) fn give_back(&self, ticket: Option<Ticket>, n: u64) {
        self.shared.attend(None, |attended| {
            let spot = ticket.and_then(|ticket| attended.crowd.line.remove(ticket));
            attended.wakes.discard(spot.and_then(|spot| spot.waker));
            let never_booked = ticket.is_some_and(|ticket| attended.crowd.left.remove(&ticket).is_some());
            attended.update(|state| ((), Some(state)));
            attended.node.no_longer_aside(n);
            if !never_booked {
                attended.put(n);
            }
        });
    }
}
