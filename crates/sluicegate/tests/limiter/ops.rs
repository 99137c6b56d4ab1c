//! What may happen to a bucket.

use proptest::prelude::*;
use sluicegate::limiter::Carry;

/// Quotas of every kind, each with few tokens, so that much happens at their edges.
pub(crate) const QUOTAS: &[&str] = &[
    "10/s",
    "10/s burst 3",
    "1/s burst 5",
    "7/s burst 4 initial 1",
    "100/s burst 12",
    "3/7ms burst 6 initial 0",
    "12345/s burst 10",
    "12345/s burst 3 initial 0",
    "999999937/s burst 12",
    "1000003/d burst 17",
    "12345/s",
    "5 every 250ms",
    "3 every 1234567ns burst 7 initial 0",
    "5 every 250ms burst 2",
    "stock 5 max 10",
    "stock 0 max 4",
    "unlimited",
    "ban",
];

/// One step of a history. Small numbers say which of those who wait, or of those who have booked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    TryTake(u64),
    TakeUpTo(u64),
    TakeAll,
    Take {
        n: u64,
        wait: Option<u64>,
    },
    TakeBy {
        n: u64,
        wait: u64,
    },
    Watch {
        n: u64,
        wait: Option<u64>,
    },
    Poll(usize),
    DropWaiter(usize),
    Reserve(u64),
    ReserveWithin(u64, u64),
    Overdraft(u64),
    Delay(usize),
    DropReservation(usize),
    Commit(usize),
    Settle(usize, u64),
    /// Asks for its instant, and forgets that it has asked.
    AskReady(usize),
    /// Waits for its instant.
    Await(usize),
    Put(u64),
    SetQuota(usize, Carry),
    MaxWaiting(usize),
    Advance(u64),
    ToEvent,
    /// To the instant at which so many would be there, or a nanosecond before.
    ToRetry(u64, bool),
    Back(u64),
}

/// A step; all is chosen by three numbers, so that a history is quickly made and shrinks well.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    (0_u8..100, any::<u8>(), any::<u32>()).prop_map(|(kind, small, wide)| {
        // Few tokens, seldom more than a bucket holds, and seldom none.
        let n = match small {
            0..4 => 0,
            4..180 => u64::from(small % 5) + 1,
            180..250 => u64::from(small % 20) + 1,
            _ => u64::from(wide % 30_000),
        };
        let time = (u64::from(wide) << 3) >> (small % 32);
        let wait = (small % 3 == 0).then_some(time);
        let which = usize::from(small);
        match kind {
            0..10 => Op::TryTake(n),
            10..13 => Op::TakeUpTo(n),
            13..14 => Op::TakeAll,
            14..26 => Op::Take { n, wait },
            26..28 => Op::TakeBy { n, wait: time },
            28..32 => Op::Watch { n, wait },
            32..38 => Op::Poll(which),
            38..43 => Op::DropWaiter(which),
            43..48 => Op::Reserve(n),
            48..50 => Op::ReserveWithin(n, time),
            50..52 => Op::Overdraft(if wide % 2 == 0 { n } else { n + u64::from(wide % 40) }),
            52..55 => Op::Delay(which),
            55..58 => Op::DropReservation(which),
            58..60 => Op::Commit(which),
            60..64 => Op::Settle(which, u64::from(wide % 12)),
            64..66 => Op::AskReady(which),
            66..68 => Op::Await(which),
            68..73 => Op::Put(n),
            73..76 => {
                let carry = [Carry::Keep, Carry::Proportional, Carry::Reset][wide as usize % 3];
                Op::SetQuota(which % QUOTAS.len(), carry)
            }
            76..77 => Op::MaxWaiting(which % 6),
            77..84 => Op::Advance(time),
            84..94 => Op::ToEvent,
            94..98 => Op::ToRetry(n, wide % 2 == 0),
            98..99 => Op::Advance(time * 1000),
            _ => Op::Back(time % 10_000_000),
        }
    })
}
