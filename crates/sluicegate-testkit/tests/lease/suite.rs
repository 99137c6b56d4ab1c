//! What every store promises, of a store with leases, promise by promise; each begins with the leases at work. These are not held:
//!
//! | promise | what is so instead |
//! | --- | --- |
//! | every answer is the bare machine's | `remaining` and `reset_after` are what the store told last, and a refusal that is remembered is of then |
//! | a retry exactly when told passes, *and no earlier* | it passes; the time is computed from that of another number, and up to some nanoseconds late where the rate does not divide |
//! | a booking is settled by what it was, *and seen so at once* | tokens that are on their way to a lease are seen neither there nor in the store |
//! | a changed quota mints nothing, *to the token* | nothing is minted, but what is held goes back first, which takes a moment |

use sluicegate::lease::{Leased, Settings};
use sluicegate::memory::Memory;
use sluicegate::store::{Charge, Decided, Store as _};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::store_suite::{Rig, scenarios};

type Store = Leased<Memory<ManualTime>, ManualTime>;

struct OfLeased {
    store: Store,
    time: ManualTime,
}

impl OfLeased {
    async fn new() -> Self {
        let time = ManualTime::new();
        let (store, upkeep) =
            Leased::new(Memory::with_clock(time.clone()), time.clone(), Settings::default());
        tokio::spawn(upkeep.run());
        let quota = "1/s".parse().unwrap();
        // Until it runs, requests are passed on.
        while store.take(&[Charge::new("warm", b"", &quota)]).await.unwrap().by != Decided::Lease {
            tokio::task::yield_now().await;
        }
        Self { store, time }
    }
}

impl Rig for OfLeased {
    type Store = Store;

    fn store(&self) -> &Store {
        &self.store
    }

    fn time(&self) -> &ManualTime {
        &self.time
    }
}

macro_rules! hold {
    ($($name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                scenarios::$name(&OfLeased::new().await).await;
            }
        )*
    };
}

hold!(
    all_or_nothing,
    each_charge_has_its_own_number,
    the_same_key_twice_is_refused_by_name,
    keys_and_spaces_are_told_apart,
    a_quota_that_flaps_mints_nothing,
    a_booking_is_due_when_its_last_charge_is,
    a_booking_beyond_the_longest_wait_books_nothing,
    what_is_cancelled_is_there_again,
    a_dropped_booking_goes_back_before_its_instant_and_is_spent_after,
    a_put_wakes_who_watches,
    time_wakes_who_watches,
    a_take_waits_for_the_longest,
    a_dropped_take_gives_everything_back,
    a_take_of_a_stock_waits_for_a_put,
    takers_at_once_never_exceed,
    instances_that_are_there_are_counted,
);
