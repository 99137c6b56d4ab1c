//! A client of an API with limits of several kinds at once: twenty tasks, two tiers, disk and network.
//!
//! `cargo run -p sluicegate --example api_connection` takes no time, since the time is virtual; with `-- --real` it takes
//! a minute.
//!
//! Each request needs two a second and ten a minute of the API, and besides one a second of the disk or three a second of
//! the network. If it waited for one limit after the other, a request that is cancelled or refused while it waits for the
//! second would have spent the first for nothing, and those who come later would pay for it. Here all of them are one
//! decision: who waits is granted everything at one instant, and who leaves has spent nothing. A stock beside the rates
//! keeps the books on that.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use sluicegate::all_of::AllOf;
use sluicegate::cancel::{CancelToken, Cause};
use sluicegate::clock::Clock;
use sluicegate::decision::Denied;
use sluicegate::limiter::TokenBucket;
use sluicegate::quota::QuotaError;
use sluicegate::timer::{Timer, TokioTime};

const SECOND: u64 = 1_000_000_000;

/// The client. Its requests share what they all use.
struct ApiConnection {
    read: AllOf<TokioTime>,
    resolve: AllOf<TokioTime>,
    /// Every request that goes out is charged here too.
    budget: TokenBucket<TokioTime>,
}

/// Why a request did not go out. It has spent nothing.
enum NotSent {
    Denied(Denied),
    Stopped(Cause),
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::Stopped(cause) => cause.fmt(f),
        }
    }
}

impl ApiConnection {
    fn open(time: TokioTime) -> Result<Self, QuotaError> {
        let bucket = |quota: &str| Ok(TokenBucket::with_clock(quota.parse()?, time));
        let budget = bucket("stock 20")?;
        let api = AllOf::new([bucket("2/s")?, bucket("10/m")?]).and(&budget);
        let (disk, network) = (bucket("1/s")?, bucket("3/s")?);
        Ok(Self { read: api.and(disk), resolve: api.and(network), budget })
    }

    async fn read_file(&self, cancel: &CancelToken) -> Result<(), NotSent> {
        admitted(&self.read, cancel).await
        // Here it would go out.
    }

    async fn resolve_address(&self, cancel: &CancelToken) -> Result<(), NotSent> {
        admitted(&self.resolve, cancel).await
        // And here.
    }
}

/// Waits for all limits, as long as the caller wants.
async fn admitted(limits: &AllOf<TokioTime>, cancel: &CancelToken) -> Result<(), NotSent> {
    // The limits know of the deadline as well: a wait that can't be in time need not begin.
    let take = limits.take_by(1, cancel.deadline().unwrap_or(u64::MAX));
    let decision = cancel.run(take).await.map_err(NotSent::Stopped)?;
    decision.ok().map(|_| ()).map_err(NotSent::Denied)
}

async fn twenty() -> Result<(), Box<dyn Error>> {
    let time = TokioTime::new();
    let api = Arc::new(ApiConnection::open(time)?);
    let root = CancelToken::new(time);
    let leaving = root.child();

    let mut tasks = Vec::new();
    for number in 1..=20 {
        let api = Arc::clone(&api);
        let cancel = match number {
            7 => leaving.clone(),
            8 => root.with_deadline(SECOND),
            _ => root.child(),
        };
        tasks.push(tokio::spawn(async move {
            let (what, sent) = if number % 2 == 1 {
                ("read file", api.read_file(&cancel).await)
            } else {
                ("resolve address", api.resolve_address(&cancel).await)
            };
            let is_sent = sent.is_ok();
            let how = sent.err().map_or_else(|| "sent".to_owned(), |error| format!("not sent: {error}"));
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let at = time.now() as f64 / 1e9;
            println!("{at:5.1} s  {number:2}  {what}: {how}");
            is_sent
        }));
    }
    time.sleep_until(5 * SECOND / 2).await;
    leaving.cancel();

    let mut sent = 0;
    for task in tasks {
        sent += u64::from(task.await?);
    }
    let (read, resolve) = (api.read.counts(), api.resolve.counts());
    println!("sent {sent}, spent {}", 20 - api.budget.available());
    println!(
        "granted {}, refused {}, cancelled {}",
        read.granted + resolve.granted,
        read.refused + resolve.refused,
        read.cancelled + resolve.cancelled
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_virtual = !std::env::args().any(|arg| arg == "--real");
    // Virtual time moves on when every task waits.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(is_virtual).build()?;
    runtime.block_on(twenty())
}
