//! A server that a test scripts, and a client that repeats.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::Request as AxumRequest;
use axum::response::Response as AxumResponse;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::retry::{Retry, Settings};
use sluicegate::timer::ManualTime;
use sluicegate_tower::http::again::ByMethod;
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::ReplayingLayer;
use sluicegate_tower::refused::BoxError;
use sluicegate_tower::retry::RetryLayer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt};

/// A server on a port of its own. It answers by the number of the request.
pub(crate) struct Server {
    pub(crate) address: String,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(usize, AxumRequest) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = AxumResponse> + Send + 'static,
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: AxumRequest| {
            let answered = answer(count.fetch_add(1, Ordering::Relaxed), request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback_service(service);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

pub(crate) fn answer(status: u16, body: impl Into<AxumBody>) -> AxumResponse {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// All of a request's body.
pub(crate) async fn all(request: AxumRequest) -> Bytes {
    request.into_body().collect().await.unwrap().to_bytes()
}

/// A body that a test sends piece by piece.
pub(crate) struct Pieces(mpsc::UnboundedReceiver<Result<Bytes, &'static str>>);

pub(crate) fn pieces() -> (mpsc::UnboundedSender<Result<Bytes, &'static str>>, Pieces) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Pieces(receiver))
}

/// A body of these pieces.
pub(crate) fn of(list: &[&'static str]) -> Pieces {
    let (sender, body) = pieces();
    for piece in list {
        sender.send(Ok((*piece).into())).unwrap();
    }
    body
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece?))))
    }
}

/// Three tries, with waits of 50 and 100 ms.
pub(crate) fn retries(time: &ManualTime) -> Retry<ManualTime> {
    let settings = Settings::new(3, Duration::from_millis(100), Duration::from_secs(1)).unwrap();
    Retry::with_random(settings, time.clone(), || 1 << 63)
}

/// Asks by way of a retry which keeps so many bytes.
pub(crate) async fn ask<B>(
    time: &ManualTime,
    bound: usize,
    request: Request<B>,
) -> Result<Response<Incoming>, BoxError>
where
    B: Body + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let client = ServiceBuilder::new()
        .layer(ReplayingLayer::new(bound))
        .layer(RetryLayer::new(retries(time), ByMethod, Statuses::new()))
        .service(Client::builder(TokioExecutor::new()).build_http());
    settle(time, client.oneshot(request)).await
}

/// The status, and all of the body.
pub(crate) async fn told(response: Result<Response<Incoming>, BoxError>) -> (u16, Bytes) {
    let response = response.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

/// Waits for a future; whatever it sleeps for comes at once.
pub(crate) async fn settle<F: Future>(time: &ManualTime, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending()
            && let Some(at) = time.next()
        {
            time.set(at);
        }
        polled
    })
    .await
}

/// Keeps what came, by the number of the request.
#[derive(Clone, Debug)]
pub(crate) struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Seen<T> {
    pub(crate) fn add(&self, one: T) {
        self.0.lock().unwrap().push(one);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}
