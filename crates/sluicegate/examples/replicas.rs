//! Three replicas, one of which stops for a while now and then: asked one at a time, hedged, and raced.
//!
//! `cargo run -p sluicegate --example replicas`. Each way asks 300 times, and says how long the slowest of a hundred took and how
//! many requests that were.
//!
//! After the replicated requests of "Concurrency in Go", chapter 5. What was wrong there:
//! * Ten copies are sent at once, always: ten times the load, which an overloaded service has least use for. Here it is two, or
//!   a second one only when the first is late, within a budget.
//! * It waits for every loser before it goes on, so all of it takes as long as the slowest. Here losers are dropped and not awaited.
//! * A result is a number, and can't be an error: the first that answers wins, however wrong, and where nobody answers it blocks for
//!   ever. Here an error loses against any result, and all errors come back together.
//! * What it prints as times are the pauses that it made up, and not what each request took. Here a clock is read.
//! * Whether a request may be sent twice is not asked. Here `Idempotent` says so.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::cell::Cell;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::hedge::{Hedge, Settings};
use sluicegate::idempotent::Idempotent;
use sluicegate::race::{Plan, race};
use sluicegate::timer::{Timer, TokioTime};

const MILLI: u64 = 1_000_000;

/// Replicas that count what they are asked.
struct Replicas {
    time: TokioTime,
    asked: Cell<u64>,
}

impl Replicas {
    /// Answers after 2 to 5 ms; one time in thirty after 80.
    async fn read(&self, replica: usize) -> Result<usize, std::convert::Infallible> {
        let number = self.asked.replace(self.asked.get() + 1);
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let millis = if scattered.is_multiple_of(30) { 80 } else { 2 + scattered % 4 };
        self.time.sleep_for(millis * MILLI).await;
        Ok(replica)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let time = TokioTime::new();
    let hedge = Hedge::new(&Settings::tracked(0.95, Duration::from_millis(20))?, time);
    let both = Plan::first_of(2)?;
    for way in ["one at a time", "hedged", "two at once"] {
        let replicas = Replicas { time, asked: Cell::new(0) };
        let ask = |attempt: usize| replicas.read(attempt % 3);
        let read = Idempotent::promise(ask);
        let mut took = Vec::new();
        for _ in 0..300 {
            let start = time.now();
            match way {
                "hedged" => drop(hedge.run(&read).await?),
                "two at once" => drop(race(&time, both, ask).await?),
                _ => drop(ask(0).await?),
            }
            took.push((time.now() - start) / MILLI);
        }
        took.sort_unstable();
        let (p99, asked) = (took[297], replicas.asked.get());
        println!("{way:>14}: {p99:>3} ms for the slowest of a hundred, {asked} requests for 300");
    }
    println!("a hedge is made after {:?}", hedge.delay());
    Ok(())
}
