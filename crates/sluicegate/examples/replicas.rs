//! Three replicas, one of which stops for a while now and then: asked one at a time, hedged, and raced.
//!
//! `cargo run -p sluicegate --example replicas`. Each way asks 300 times, and says how long the slowest of a hundred took and how
//! many requests that were.
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
