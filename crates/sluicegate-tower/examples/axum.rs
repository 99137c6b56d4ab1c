//! An axum service that stays up: a limit for each client, a queue, a deadline. What is refused is answered, with a status,
//! `Retry-After` and a problem body.
//!
//! `cargo run -p sluicegate-tower --features http --example axum`, then
//! `for i in $(seq 8); do curl -si 127.0.0.1:9001/ & done; wait`. Ctrl-C ends it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use sluicegate::permits::Permits;
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::by_key::{ByKey, Key, Limit};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::http::answering::AnsweringLayer;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

/// Who asks. Without an address, as in a test, there is no limit.
fn client<'k>(request: &Request, keys: &'k Limit) -> Option<Key<'k>> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(match peer.ip() {
        IpAddr::V4(address) => keys.key([Some(address.octets().as_slice())]),
        IpAddr::V6(address) => keys.key([Some(address.octets().as_slice())]),
    })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let time = TokioTime::new();
    let limit = ByKey::new("5/s".parse()?, 100_000, client);
    let layers = ServiceBuilder::new()
        // Outermost: no error is left for the router.
        .layer(AnsweringLayer::new())
        // Half a second until the answer begins, waiting included.
        .layer(
            DeadlineLayer::new(After::new(Duration::from_millis(500), time))
                .over_queue()
                .with_error::<Refused>(),
        )
        // Before the queue: who is over quota takes no place in it.
        .layer(RateLimitLayer::new(limit).over_queue().with_error::<Refused>())
        // Two at a time, ten wait. A permit is held until the answer has been sent.
        .layer(QueueLayer::new(Permits::new(2, 10)).until_body_ends().with_error::<Refused>());
    let work = move || async move {
        time.sleep_for(200_000_000).await;
        "done\n"
    };
    // Layers of a router are those of its routes: one limit, one line and one set of permits for all of them.
    let router = Router::new().route("/", get(work)).route("/ping", get(|| async { "pong\n" })).layer(layers);

    let listener = TcpListener::bind("127.0.0.1:9001").await?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, service).with_graceful_shutdown(stop).await?;
    Ok(())
}
