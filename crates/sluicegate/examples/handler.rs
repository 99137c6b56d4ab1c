//! A handler that serves what it has a token for, and tells everybody else when to come back.
//!
//! `cargo run -p sluicegate --example handler`. A token each 200 ms, 20 at the most. A handler that takes what there is, up to
//! one, and turns away whoever got none can tell the client nothing: it comes again at once. `try_take` decides just as fast,
//! and knows the instant as well. What was taken for a request that needs no work goes back. In virtual time, so that it ends
//! at once and says the same each time; a program says `TokenBucket::new(quota)`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::decision::Decision;
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::{Quota, QuotaError};
use sluicegate::timer::ManualTime;

/// What the handler answers.
struct Response {
    status: u16,
    /// The least time until it is worth coming back.
    retry_after: Option<Duration>,
}

impl Response {
    const fn of(status: u16) -> Self {
        Self { status, retry_after: None }
    }

    /// The field of HTTP: whole seconds, rounded up, since who comes too early is refused again.
    fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

/// Serves requests within a limit.
struct Handler<C: Clock> {
    bucket: TokenBucket<C>,
}

impl<C: Clock> Handler<C> {
    fn handle(&self, path: &str) -> Response {
        match self.bucket.try_take(1) {
            Decision::Granted { .. } => {}
            Decision::Later { retry_after, .. } => return Response { status: 429, retry_after },
            // One token is never more than the bucket holds, unless the quota is a ban.
            Decision::Never { .. } => return Response::of(403),
        }
        if !path.starts_with('/') {
            // No work was done for it, so it costs nothing.
            self.bucket.put(1);
            return Response::of(400);
        }
        Response::of(200)
    }
}

fn main() -> Result<(), QuotaError> {
    let time = ManualTime::new();
    let quota = Quota::every(Duration::from_millis(200))?.burst(20)?;
    let handler = Handler { bucket: TokenBucket::with_clock(quota, time.clone()) };
    println!("{quota}");

    println!("nonsense: {}, {} tokens left", handler.handle("nonsense").status, handler.bucket.available());

    let mut refused = Vec::new();
    let mut served = 0;
    for _ in 0..25 {
        match handler.handle("/work") {
            Response { status: 200, .. } => served += 1,
            response => refused.push(response),
        }
    }
    println!("25 at once: {served} served, {} refused", refused.len());

    // All are told the instant of the next token; who comes to it first has it.
    if let Some(Response { retry_after: Some(wait), .. }) = refused.first() {
        println!("come back after {wait:?} (Retry-After: {})", refused[0].retry_after_seconds().unwrap_or(0));
        time.advance(*wait - Duration::from_nanos(1));
        println!("a nanosecond early: {}", handler.handle("/work").status);
        time.advance(Duration::from_nanos(1));
        println!("at that instant: {}", handler.handle("/work").status);
    }
    let counts = handler.bucket.counts();
    println!("granted {}, refused {}", counts.granted, counts.refused);
    Ok(())
}
