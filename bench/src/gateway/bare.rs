//! `bench bare-hyper`: the proxy anybody would write first with hyper's server and hyper-util's pooled client.
//!
//! No limits, no timeouts, no header rules: the floor of what a proxy of these parts costs, and so the mark for ours,
//! which is made of the same parts. Bodies are streamed, nodelay is set on both sides, a task serves a connection.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::error::Error;

/// What it is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where to forward to, like http://127.0.0.1:9000
    #[arg(long, value_name = "URL")]
    upstream: Uri,
    /// How many threads serve
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Where requests go, and over what.
#[derive(Clone)]
struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: Uri,
}

/// Serves until it is killed.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    if args.upstream.scheme() != Some(&Scheme::HTTP) || args.upstream.authority().is_none() {
        return Err(Error::Upstream(args.upstream.to_string()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.workers)
        .enable_io()
        .build()
        .map_err(Error::io("starting the runtime"))?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    runtime.block_on(accept(args.listen, Proxy { client, upstream: args.upstream.clone() }))
}

async fn accept(listen: SocketAddr, proxy: Proxy) -> Result<(), Error> {
    let listener = TcpListener::bind(listen).await.map_err(Error::io(format!("listening on {listen}")))?;
    loop {
        let (stream, _) = listener.accept().await.map_err(Error::io("accepting a connection"))?;
        tokio::spawn(serve(stream, proxy.clone()));
    }
}

async fn serve(stream: TcpStream, proxy: Proxy) {
    // Without it the connection is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| forward(&proxy, request));
    // A client that goes away is none of our business.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(
    proxy: &Proxy,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Incoming, Empty<Bytes>>>, Infallible> {
    *request.uri_mut() = target(&proxy.upstream, request.uri());
    Ok(match proxy.client.request(request).await {
        Ok(response) => response.map(Either::Left),
        Err(_) => {
            let mut refusal = Response::new(Either::Right(Empty::new()));
            *refusal.status_mut() = StatusCode::BAD_GATEWAY;
            refusal
        }
    })
}

/// The upstream's authority with the request's path.
fn target(upstream: &Uri, requested: &Uri) -> Uri {
    let mut parts = upstream.clone().into_parts();
    parts.path_and_query =
        Some(requested.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| upstream.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_kept() {
        let upstream = Uri::from_static("http://127.0.0.1:9000");
        let to = |requested| target(&upstream, &Uri::from_static(requested)).to_string();
        assert_eq!(to("/a/b?c=d"), "http://127.0.0.1:9000/a/b?c=d");
        assert_eq!(to("http://elsewhere/x"), "http://127.0.0.1:9000/x");
        assert_eq!(to("*"), "http://127.0.0.1:9000*");
    }
}
