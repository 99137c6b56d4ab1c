//! A service without any HTTP behind a limit, a queue and a deadline: who gets through, and what the others are told.
//!
//! `cargo run -p sluicegate-tower --example service`. Nine jobs of 100 ms come at once, and five more a little later. Eight a
//! second are allowed, two are worked on at a time, five may wait, and nobody waits longer than 250 ms.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::time::Duration;

use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let time = TokioTime::new();
    let (bucket, permits) = (Arc::new(TokenBucket::new("8/s".parse()?)), Permits::new(2, 5));
    let work = service_fn(move |job: u32| async move {
        time.sleep_for(100_000_000).await;
        Ok::<_, BoxError>(format!("job {job} is done"))
    });
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(After::new(Duration::from_millis(250), time)).over_queue())
        .layer(RateLimitLayer::new(OneBucket::new(Arc::clone(&bucket))).over_queue())
        .layer(QueueLayer::new(permits.clone()))
        .service(work);

    let send = |job| tokio::spawn(service.clone().oneshot(job));
    let mut jobs: Vec<_> = (1..=9).map(send).collect();
    time.sleep_for(150_000_000).await;
    jobs.extend((10..=14).map(send));
    for (job, outcome) in (1..).zip(jobs) {
        match outcome.await? {
            Ok(done) => println!("{done}"),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(Refused::Quota(decision)) => println!("job {job}: over the quota, {decision}"),
                Some(Refused::Queue(rejected)) => println!("job {job}: {rejected}"),
                Some(Refused::Late { admitted: Some(false) }) => println!("job {job}: late, and never begun"),
                Some(Refused::Late { .. }) => println!("job {job}: late, and given up"),
                _ => return Err(error),
            },
        }
    }
    println!("in flight {}, waiting {}", permits.in_flight(), permits.waiting());
    Ok(())
}
