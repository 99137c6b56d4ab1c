//! Two instances of a service that share a quota: together they get what one would.
//!
//! `redis-server --port 6399 --save ''` in one terminal; in another
//! `cargo run -p sluicegate-redis --example two_instances -- redis://127.0.0.1:6399`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::quota::Quota;
use sluicegate::store::{Limiter, StoreKey};
use sluicegate::timer::TokioTime;
use sluicegate_redis::{Redis, Settings};

/// Calls as often as it may, for two seconds, and says how often that was.
async fn instance(url: String, quota: Quota) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let (store, time) = (Redis::open(Settings::new(&url)?), TokioTime::new());
    let limiter = Limiter::new(store.clone(), time, StoreKey::new("calls", *b"upstream", quota))?;
    let mut calls = 0;
    while time.now() < 2_000_000_000 {
        // Waits for its turn, but no longer than the two seconds.
        let left = Duration::from_nanos(2_000_000_000_u64.saturating_sub(time.now()));
        if limiter.take_within(1, left).await?.is_granted() {
            calls += 1;
        } else {
            break;
        }
    }
    store.close().await;
    Ok(calls)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let quota: Quota = "50/s burst 10".parse()?;
    let (one, two) = (tokio::spawn(instance(url.clone(), quota)), tokio::spawn(instance(url, quota)));
    let (one, two) = (one.await??, two.await??);
    println!("{one} + {two} = {} calls in two seconds; {quota} allows 10 + 2·50 = 110", one + two);
    Ok(())
}
