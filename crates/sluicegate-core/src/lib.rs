//! The machines of Sluicegate: pure state machines for overload control.
//!
//! A machine takes time as an argument and holds no clock, lock, task or socket. Whatever drives it (an atomic
//! word, a mutex with wakers, a layer, a simulator) is a *shell*, lives elsewhere, and decides nothing. So a
//! policy can be tested exhaustively in virtual time, and what a simulation predicts is what production runs.
//!
//! From low to high, and nothing imports upward:
//!
//! | module | holds |
//! | --- | --- |
//! | [`clock`] | where time comes from: nanoseconds since a clock's own start |
//! | [`span`] | times as text |
//! | [`mod@units`] | the exact integer arithmetic of a refill |
//! | [`quota`] | how much of something may be used, as a type and as text |
//! | [`decision`] | what a limiter answers |
//! | [`bucket`] | the token bucket as a pure function of (state, quota, n, now) |
//! | [`cell`] | that state in one atomic word, or [`striped`](cell::striped) where many cores contend for it |
//! | [`mod@line`] | who waits for a bucket's tokens, who is next, and when |
//! | [`queue`] | who is served, who waits and in which order, who is turned away or shed |
//! | [`heaviest`] | who weighs most of all, in memory for a few |
//! | [`concurrency`] | how many may be in flight at once, found out while they are |
//! | [`setting`] | why settings can't be |
//! | [`pool`] | which buffers are kept for whoever needs one next |
//! | [`budget`] | how many more requests than were asked for |
//! | [`mod@race`] | who starts, and when a race of several attempts is over |
//! | [`hedge`] | when to ask a second time though the first answer may still come |
//! | [`retry`] | whether to ask again after a failure, and when |
//! | [`throttle`] | when a client refuses itself what would be refused |
//! | [`breaker`] | when to stop asking, and what is answered meanwhile |
//! | [`choice`] | which of several servers a request goes to |
//! | [`lease`] | tokens taken in advance: how many, and when they go back |
//! | [`detector`] | whether somebody lives and gets on with its work, by the signs it gives |
//! | [`shelf`] | what is kept of work that takes long, so that its result can be asked for |
//! | [`restart`] | when it is started again, who else with it, and when that is given up |
//!
//! ```
//! use sluicegate_core::{bucket::Bucket, quota::Quota};
//!
//! let bucket = Bucket::new("10/s burst 2".parse::<Quota>()?);
//! let state = bucket.start();
//! let (first, state) = bucket.take(state, 2, 0);
//! assert!(first.is_granted());
//! let (second, _) = bucket.take(state, 1, 0);
//! assert_eq!(second.retry_after().unwrap().as_millis(), 100);
//! # Ok::<(), sluicegate_core::quota::QuotaError>(())
//! ```

pub mod breaker;
pub mod bucket;
pub mod budget;
pub mod cell;
pub mod choice;
pub mod clock;
pub mod concurrency;
pub mod decision;
pub mod detector;
pub mod heaviest;
pub mod hedge;
pub mod lease;
pub mod line;
#[cfg(test)]
#[expect(unreachable_pub, reason = "the lab has this file too, and shows it")]
mod numbers;
pub mod pool;
pub mod queue;
pub mod quota;
pub mod race;
pub mod restart;
pub mod retry;
pub mod setting;
pub mod shelf;
pub mod span;
#[doc(hidden)]
pub mod sync;
pub mod throttle;
pub mod units;
