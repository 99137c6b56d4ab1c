//! An HTTP server that allows each client so many requests, counted in a store: in this process, in a file, or in Redis, so that
//! several of these servers allow as much as one. It goes on while the store is away.
//!
//! `cargo run -p sluicegate-server --example limited_server -- redis://127.0.0.1:6379`, then
//! `for i in $(seq 12); do curl -si 127.0.0.1:9002; done`. Ctrl-C ends it. `--help` lists what can be set.

mod stores;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use clap::Parser;
use sluicegate::lease::{self, Leased};
use sluicegate::memory::Memory;
use sluicegate::outage::{self, Guarded, Policy};
use sluicegate::quota::Quota;
use sluicegate::restart;
use sluicegate::store::{Charge, Decided, Store, StoreError, Verdict};
use sluicegate::supervise::Steward;
use sluicegate::timer::TokioTime;
use sluicegate_disk::{Disk, DiskError};
use sluicegate_redis::Redis;
use sluicegate_tower::http::fields::{self, Name, NameError};
use sluicegate_tower::http::problem::{Problem, QUOTA_EXCEEDED, REDUCED_CAPACITY};
use stores::{Address, AddressError};
use thiserror::Error;
use tokio::net::TcpListener;

/// A server that allows each client so many requests.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where requests are counted: memory, disk:PATH or redis://HOST:PORT
    // Read later than by the parser, whose errors would show a password.
    #[arg(default_value = "memory")]
    store: String,
    /// How much each client may have
    #[arg(long, default_value = "5/s burst 10")]
    quota: Quota,
    /// What is answered while the store is away: open, closed or share
    #[arg(long, default_value = "share", value_parser = policy)]
    outage: Policy,
    /// Take tokens of busy clients in advance: fewer calls of the store
    #[arg(long)]
    leased: bool,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
}

fn policy(text: &str) -> Result<Policy, &'static str> {
    match text {
        "open" => Ok(Policy::Open),
        "closed" => Ok(Policy::Closed),
        "share" => Ok(Policy::LocalShare),
        _ => Err("expected open, closed or share"),
    }
}

/// What is limited, and how.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) quota: Quota,
    pub(crate) outage: outage::Settings,
    pub(crate) is_leased: bool,
}

/// Why there is no server.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    #[error("the network: {0}")]
    Network(#[from] io::Error),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Name(#[from] NameError),
}

/// A limit for each client.
struct Limit<S> {
    store: S,
    quota: Quota,
    name: Name,
}

impl<S: Store> Limit<S> {
    /// Charges a request to its client. Dropped before the store has answered, it gives back.
    async fn charge(&self, client: IpAddr) -> Result<Verdict, StoreError> {
        let (v4, v6);
        let key: &[u8] = match client.to_canonical() {
            IpAddr::V4(address) => {
                v4 = address.octets();
                &v4
            }
            // The half that a network is given; its clients choose the other.
            IpAddr::V6(address) => {
                v6 = address.octets();
                &v6[..8]
            }
        };
        self.store.take(&[Charge::new(self.name.as_str(), key, &self.quota)]).await
    }

    /// What a client is told that was not let through.
    fn refusal(&self, verdict: &Verdict) -> Response {
        let problem = match verdict.by {
            // Not the client's doing.
            Decided::Outage(Policy::Closed) => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .kind(REDUCED_CAPACITY, "Temporarily over capacity")
                .detail("Requests can't be counted now."),
            _ => Problem::new(StatusCode::TOO_MANY_REQUESTS)
                .kind(QUOTA_EXCEEDED, "Quota exceeded")
                .detail("There were too many requests.")
                .violated_policies([self.name.as_str()]),
        };
        // None for a stock: nobody knows when.
        let problem = match verdict.decision.retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        };
        problem.response().map(Body::from)
    }
}

/// Stands before all routes.
async fn limited<S: Store + 'static>(
    State(limit): State<Arc<Limit<S>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let verdict = match limit.charge(peer.ip()).await {
        Ok(verdict) => verdict,
        // No outage, which the guard would have answered: a mistake of this program's, such as a quota that Redis can't do.
        Err(_) => return Problem::new(StatusCode::INTERNAL_SERVER_ERROR).response().map(Body::from),
    };
    let mut response = if verdict.is_granted() { next.run(request).await } else { limit.refusal(&verdict) };
    let headers = response.headers_mut();
    if let Some(policy) = fields::policy([(&limit.name, &limit.quota)]) {
        headers.insert(fields::RATELIMIT_POLICY, policy);
    }
    if let Some(standing) = fields::standing([(&limit.name, verdict.decision)]) {
        headers.insert(fields::RATELIMIT, standing);
    }
    response
}

/// Answers requests until `stop`, and those that are on their way then.
async fn answer<S: Store + 'static>(
    store: S,
    quota: Quota,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failed> {
    let limit = Arc::new(Limit { store, quota, name: Name::new("client")? });
    let router = Router::new().route("/", get(|| async { "hello\n" }));
    let router = router.layer(from_fn_with_state(limit, limited::<S>));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).with_graceful_shutdown(stop).await?)
}

/// The server, on any store: before it a guard, and leases if they are wanted. When it has stopped, what they hold is given
/// back and what they owe is paid. The store itself is the caller's to close.
pub(crate) async fn serve<S: Store + 'static>(
    store: S,
    settings: Settings,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failed> {
    store.supports(&settings.quota)?;
    let time = TokioTime::new();
    let (guarded, upkeep) = Guarded::new(store, time, settings.outage);
    let mut steward = Steward::new(restart::Settings::default(), time);
    steward.keep("guard", upkeep);
    let outcome = if settings.is_leased {
        let (leased, upkeep) = Leased::new(guarded.clone(), time, lease::Settings::default());
        steward.keep("leases", upkeep);
        tokio::spawn(steward.run());
        let outcome = answer(leased.clone(), settings.quota, listener, stop).await;
        leased.close().await;
        outcome
    } else {
        tokio::spawn(steward.run());
        answer(guarded.clone(), settings.quota, listener, stop).await
    };
    guarded.close().await;
    outcome
}

async fn run(arguments: Arguments) -> Result<(), Failed> {
    let Arguments { store, quota, outage, leased, listen } = arguments;
    let store = store.parse()?;
    let outage = outage::Settings::new(outage).with_timeout(Duration::from_millis(100));
    let settings = Settings { quota, outage, is_leased: leased };
    let listener = TcpListener::bind(listen).await?;
    let stop = async {
        // An error means that there is no such signal: then it can only be killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    match store {
        Address::Memory => serve(Memory::new(), settings, listener, stop).await,
        Address::Disk(file) => {
            let disk = Disk::open(file)?;
            let outcome = serve(disk.clone(), settings, listener, stop).await;
            disk.close()?;
            outcome
        }
        Address::Redis(address) => {
            let redis = Redis::open(address);
            let outcome = serve(redis.clone(), settings, listener, stop).await;
            redis.close().await;
            outcome
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "an example shows what goes wrong")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
