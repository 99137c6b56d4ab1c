//! A bucket of five tokens that nothing fills but `put`: take, be refused, put, and watch until ten are there.
//!
//! `cargo run -p sluicegate --example bucket_of_five`. A stock says how many there may be at most; so whoever asks for eleven
//! hears at once that it is no use, instead of waiting for ever.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;

use sluicegate::limiter::TokenBucket;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bucket = TokenBucket::new("stock 5 max 10".parse()?);
    println!("take 5:   {}", bucket.try_take(5));
    println!("take 5:   {}", bucket.try_take(5));
    println!("take 11:  {}", bucket.try_take(11));
    println!("put 5:    {} fit, {} are there", bucket.put(5), bucket.available());

    let watching = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.watch(10).await }
    });
    // The other task's turn: it looks, and stays.
    tokio::task::yield_now().await;
    println!("watch 10: {} waits to see them", bucket.counts().waiting);

    println!("put 5:    {} fit, {} are there", bucket.put(5), bucket.available());
    println!("watch 10: done, {}", watching.await?);
    Ok(())
}
