//! Waiting for a buffer, of which only so many bytes may be out.

use std::time::Duration;

use sluicegate::pool::{BoundedPool, Charged, Pool, Settings, Unavailable};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

type Buffers = BoundedPool<ManualTime>;
type Got = Result<Charged<ManualTime, Vec<u8>>, Unavailable>;

/// One buffer, which somebody has.
struct Out {
    time: ManualTime,
    buffers: Buffers,
    held: Option<Charged<ManualTime, Vec<u8>>>,
}

impl Out {
    fn new() -> Self {
        let (time, pool) = (ManualTime::new(), Pool::new(Settings::new(&[100]).unwrap()));
        let buffers = Buffers::new(pool, 100, time.clone()).unwrap();
        let held = Some(buffers.try_get(1).unwrap());
        Self { time, buffers, held }
    }

    /// It comes back at the second step.
    fn step(&mut self, number: usize) -> Turn {
        if number == 1 {
            return Turn::MayWait;
        }
        self.held = None;
        Turn::MustWake
    }

    /// What is out is what somebody has; when nobody has it, the next has it at once.
    fn is_as_found(&mut self, left: &Left<'_, Got>) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
        let got = matches!(left, Left::Output(Ok(_)));
        assert_eq!(self.buffers.outstanding(), if got || self.held.is_some() { 100 } else { 0 });
        assert_eq!(
            self.buffers.pool().counts().outstanding(),
            u64::from(got) + u64::from(self.held.is_some())
        );
        if !got {
            self.held = None;
            assert!(self.buffers.try_get(100).is_ok(), "a buffer that nobody has");
        }
    }
}

#[test]
fn a_buffer_that_comes_back() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let out = Out::new();
            let buffers = out.buffers.clone();
            (out, async move { buffers.get(50).await })
        },
        Out::step,
        |out, left| out.is_as_found(&left),
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn a_buffer_that_is_waited_for_so_long() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let out = Out::new();
            let buffers = out.buffers.clone();
            (out, async move { buffers.get_within(50, Duration::from_secs(1)).await })
        },
        Out::step,
        |out, left| out.is_as_found(&left),
    );
    assert_eq!(seen.polls, 2);
}
