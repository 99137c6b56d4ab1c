//! What every store promises, as tests that a store's own tests run: [`store_suite!`](crate::store_suite!) with a way to set one up.
//!
//! [`random`] does anything in any order and compares each answer with the bare machine's, in a plain map ([`oracle`]).
//! [`scenarios`] are the promises by name.

pub mod oracle;
pub mod random;
pub mod scenarios;

use std::future::Future;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::store::Store;
use sluicegate::timer::ManualTime;

/// A store, empty, and its time, which a test owns.
pub trait Rig: Send + Sync + 'static {
    /// The store. Clones are the same one.
    type Store: Store + Clone + 'static;
    /// The steps in which the store counts time. What it is told, and what it tells of times, is in whole steps: a time to wait
    /// is rounded up.
    const RESOLUTION: Duration = Duration::from_nanos(1);

    /// The steps, since every key's bucket began, in which the store counts how long a key whose quota has changed is not begun
    /// anew: until it would have been full by the old quota, an hour at the most, rounded up.
    const KEPT_STEP: Duration = Duration::from_nanos(1);

    /// Whether the store rounds what the machine has to round: flows that are no small number of units a nanosecond, such as
    /// `12345/s`. Where it is exact instead, its answers are a hair better at times, and random sequences leave such quotas
    /// out. Its own tests then hold it to exact answers for them; the promises by name are kept all the same.
    const ROUNDS: bool = true;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Its time, and what a limiter on it waits by.
    fn time(&self) -> &ManualTime;

    /// Nanoseconds since the instant that every key's bucket began at.
    fn now(&self) -> u64 {
        self.time().now()
    }

    /// Moves the store's time on, by whole steps, and has wake who waits for it.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send {
        self.time().advance(by);
        std::future::ready(())
    }
}

/// The whole suite, a test for each promise, on what an expression of type [`Rig`](crate::store_suite::Rig) sets up anew for
/// each of them. A store that waits for something real at each step may try fewer random sequences than the usual.
///
/// ```text
/// sluicegate_testkit::store_suite!(OfMemory::new());
/// sluicegate_testkit::store_suite!(OnDisk::new(), seeds: 30);
/// ```
#[macro_export]
macro_rules! store_suite {
    ($rig:expr) => {
        $crate::store_suite!($rig, seeds: $crate::store_suite::random::SEEDS);
    };
    ($rig:expr, seeds: $seeds:expr) => {
        $crate::store_suite!(@tests $rig;
            all_or_nothing,
            each_charge_has_its_own_number,
            a_retry_exactly_when_told_passes_and_no_earlier,
            the_same_key_twice_is_refused_by_name,
            keys_and_spaces_are_told_apart,
            a_changed_quota_mints_nothing,
            a_quota_that_flaps_mints_nothing,
            a_booking_is_due_when_its_last_charge_is,
            a_booking_beyond_the_longest_wait_books_nothing,
            what_is_cancelled_is_there_again,
            a_booking_is_settled_by_what_it_was,
            a_dropped_booking_goes_back_before_its_instant_and_is_spent_after,
            a_put_wakes_who_watches,
            time_wakes_who_watches,
            a_take_waits_for_the_longest,
            a_dropped_take_gives_everything_back,
            a_take_of_a_stock_waits_for_a_put,
            takers_at_once_never_exceed,
            instances_that_are_there_are_counted,
        );

        /// Every answer, whatever comes in whatever order.
        #[tokio::test]
        async fn answers_as_the_bare_machine() {
            for seed in 0..$seeds {
                $crate::store_suite::random::run(&$rig, seed).await;
            }
        }
    };
    (@tests $rig:expr; $($name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $crate::store_suite::scenarios::$name(&$rig).await;
            }
        )*
    };
}
