//! A service whose work takes a while from when it has all of a request. It works on as many as come.
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluicegate::timer::{Timer as _, TokioTime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// What it is told and what it has seen.
#[derive(Debug)]
pub(crate) struct Works {
    /// Where it is.
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What it takes, in milliseconds.
    takes: AtomicU64,
    done: AtomicUsize,
}

impl Works {
    /// Whose work takes so many milliseconds.
    pub(crate) async fn start(millis: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let takes = AtomicU64::new(millis);
        let shared = Arc::new(Shared { takes, done: AtomicUsize::new(0) });
        let works = Self { url, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        works
    }

    /// From now on it takes so many milliseconds.
    pub(crate) fn takes(&self, millis: u64) {
        self.shared.takes.store(millis, Ordering::Relaxed);
    }

    /// How many it has answered.
    pub(crate) fn done(&self) -> usize {
        self.shared.done.load(Ordering::Relaxed)
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    TokioTime::new().sleep_for(shared.takes.load(Ordering::Relaxed) * 1_000_000).await;
    shared.done.fetch_add(1, Ordering::Relaxed);
    Ok(Response::new(Full::new("done".into())))
}
