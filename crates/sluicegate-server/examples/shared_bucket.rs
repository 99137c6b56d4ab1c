//! A bucket in a store: take from it, put into it, and watch until there is enough. The same lines for each store; in a file the
//! bucket outlives the process, and in Redis other processes take from it too.
//!
//! `cargo run -p sluicegate-server --example shared_bucket -- memory`, or `disk:/tmp/bucket.redb`, or
//! `redis://127.0.0.1:6379` in place of `memory`.

mod stores;

use std::process::ExitCode;

use clap::Parser;
use sluicegate::decision::{Decision, Denied};
use sluicegate::memory::Memory;
use sluicegate::quota::QuotaError;
use sluicegate::store::{Store, StoreError, StoreKey};
use sluicegate_disk::{Disk, DiskError};
use sluicegate_redis::Redis;
use stores::{Address, AddressError};
use thiserror::Error;

/// A bucket is made, taken from, put into and watched.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the bucket lives: memory, disk:PATH or redis://HOST:PORT
    // Read later than by the parser, whose errors would show a password.
    #[arg(default_value = "memory")]
    store: String,
}

/// Why the program can't go on. That there are too few tokens is among it: who takes some decides what to do then.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    /// The store has answered, and the answer is no.
    #[error(transparent)]
    Refused(#[from] Denied),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no store: the file can't be opened, or not closed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The argument means no store.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The quota is none.
    #[error(transparent)]
    Quota(#[from] QuotaError),
}

/// Takes `n` tokens, or says why not.
async fn take(store: &impl Store, bucket: &StoreKey, n: u64) -> Result<Decision, Failed> {
    Ok(store.take(&[bucket.charge(n)]).await?.decision.ok()?)
}

/// The program, on any store. It says what it does, line by line.
pub(crate) async fn run<S: Store>(store: &S, mut say: impl FnMut(String)) -> Result<(), Failed> {
    // Five tokens and room for ten. None come by themselves: with `5/s burst 10` they would.
    let bucket = StoreKey::new("shared_bucket", *b"example", "stock 5 max 10".parse()?);
    store.supports(bucket.quota())?;
    // There is nothing to create: a key begins as its quota says. This one may be left from the last run.
    store.reset(bucket.space(), bucket.key()).await?;
    let standing = store.peek(&[bucket.charge(0)]).await?.decision;
    say(format!("{}: {standing}", bucket.quota()));

    say(format!("take 5: {}", take(store, &bucket, 5).await?));
    for n in [5, 11] {
        match take(store, &bucket, n).await {
            Ok(decision) => say(format!("take {n}: {decision}")),
            Err(Failed::Refused(denied)) => say(format!("take {n}: {denied}")),
            Err(error) => return Err(error),
        }
    }

    say(format!("put 5: {} had room", store.put(bucket.charge(5)).await?));
    // It waits until ten are there, and takes none. Meanwhile somebody puts the other five; in a file or in Redis it could be
    // another task, and in Redis another process.
    let put = async {
        let put = store.put(bucket.charge(5)).await?;
        say(format!("put 5: {put} had room"));
        Ok(())
    };
    let (there, ()) = tokio::try_join!(store.watch(bucket.charge(10)), put)?;
    say(format!("watch 10: {there}"));
    say(format!("put 1: {} had room", store.put(bucket.charge(1)).await?));
    Ok(())
}

/// The same, on the store that was asked for.
async fn run_on(address: &str, say: impl FnMut(String)) -> Result<(), Failed> {
    match address.parse()? {
        Address::Memory => run(&Memory::new(), say).await,
        Address::Disk(file) => {
            let disk = Disk::open(file)?;
            run(&disk, say).await?;
            // Dropped, it would be closed too, but tell nobody of a failure.
            Ok(disk.close()?)
        }
        Address::Redis(settings) => {
            let redis = Redis::open(settings);
            let outcome = run(&redis, say).await;
            redis.close().await;
            outcome
        }
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]
async fn main() -> ExitCode {
    match run_on(&Arguments::parse().store, |line| println!("{line}")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
